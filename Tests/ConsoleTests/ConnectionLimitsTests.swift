import Foundation
import Management
import ManagementTestSupport
import NIOCore
import Platform
import Resources
import Testing

@testable import Console

extension ConsoleTests {
    @Test("connections that say nothing, or half of something, keep no command out")
    func silentConnections() async throws {
        try await withServer { _, fixture in
            let address = SocketAddress(path: fixture.path + "/control.sock")
            var silent: [StreamSocket] = []
            for number in 0..<(2 * ControlServer.maximumConnections) {
                let socket = try StreamSocket.connect(to: address)
                if number.isMultiple(of: 2) {
                    try FileHandle(fileDescriptor: socket.fileDescriptor, closeOnDealloc: false)
                        .write(contentsOf: Data("GET /v1/status HTTP/1.1\r\n".utf8))
                }
                silent.append(socket)
            }
            // Less than the daemon has patience with them.
            var limits = ControlClient.Limits()
            limits.query = .seconds(20)
            let status: DaemonStatus = try await ControlClient(stateFolder: fixture.path, limits: limits).get("status")
            #expect(status.disks == 0 && !silent.isEmpty)
        }
    }
}

@Suite("How many connections there may be")
struct ConnectionLimitsTests {
    @Test("all addresses of an IPv6 network of 64 bits are one")
    func networks() {
        let limits = ConnectionLimits(maximum: 10, maximumPerAddress: 2)
        #expect(limits.admit("2001:db8::1") && limits.admit("2001:db8:0:0:1::2") && !limits.admit("2001:db8::3"))
        #expect(limits.admit("2001:db8:0:1::1"))
        #expect(limits.admit("192.0.2.1") && limits.admit("192.0.2.1") && !limits.admit("::ffff:192.0.2.1"))
        limits.leave("2001:db8::9")
        #expect(limits.admit("2001:db8::3"))
    }

    @Test("one address cannot take all, and all together no more than there may be")
    func limits() {
        let limits = ConnectionLimits(maximum: 5, maximumPerAddress: 2)
        #expect((0..<4).map { _ in limits.admit("a") } == [true, true, false, false])
        #expect(limits.admit("b"))
        limits.leave("a")
        #expect(limits.admit("a") && !limits.admit("a"))
        #expect(limits.admit("b") && limits.admit("c"))
        #expect(!limits.admit("d"), "there are five")
        for address in ["a", "a", "b", "b", "c", "c", "nobody"] { limits.leave(address) }
        #expect((0..<3).map { limits.admit("d\($0)") } == [true, true, true])
        #expect(limits.admit("d0") && limits.admit("d1") && !limits.admit("d2"))
    }
}
