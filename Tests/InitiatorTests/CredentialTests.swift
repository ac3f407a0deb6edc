import ISCSI
import Initiator
import Platform
import Testing

@Suite("Credentials in URLs")
struct CredentialTests {
    @Test("USER%SECRET before the host is the initiator's credential, and is not shown")
    func credential() throws {
        let url = try #require(ISCSIURL("iscsi://user%12345678@bcd@127.0.0.1:3261/iqn.2026-11.dev.carousel:disk/5"))
        #expect(url.credential == CHAPCredential(name: "user", secret: Array("12345678@bcd".utf8)))
        #expect(url.portal == SocketAddress("127.0.0.1:3261"))
        #expect(url.description == "iscsi://127.0.0.1:3261/iqn.2026-11.dev.carousel:disk/5")
        let open = try #require(ISCSIURL("iscsi://127.0.0.1/iqn.2026-11.dev.carousel:disk"))
        #expect(open.credential == nil)
    }

    @Test(
        "A part is missing",
        arguments: ["iscsi://user@127.0.0.1/x", "iscsi://%s@127.0.0.1/x", "iscsi://u%@127.0.0.1/x"])
    func missing(text: String) {
        #expect(ISCSIURL(text) == nil)
    }

    @Test("A deadline ends the wait for a PDU and for the end of a connection")
    func deadline() throws {
        let (own, other) = try StreamSocket.pair()
        let connection = PDUConnection(socket: own, timeout: .seconds(60))
        #expect(throws: InitiatorError.timedOut) {
            try connection.receive(by: MonotonicTime.current() + .milliseconds(5))
        }
        #expect(throws: InitiatorError.timedOut) {
            try connection.waitUntilClosed(by: MonotonicTime.current() + .milliseconds(5))
        }
        other.shutdownWriting()
        try connection.waitUntilClosed(by: MonotonicTime.current() + .seconds(10))
    }
}
