import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite("The service manager")
struct ServiceManagerTests {
    /// A datagram socket with the name, abstract when it begins with '@'.
    private func receiver(_ name: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { path in
            for (index, byte) in bytes.enumerated() { unsafe path[index] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count + (bytes[0] == 0 ? 0 : 1))
        let status = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, length) }
        }
        try #require(status == 0)
        return descriptor
    }

    private func received(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 1000)
        let count = unsafe recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    @Test(
        "the state arrives at a socket with a path and at an abstract one",
        arguments: ["/tmp/carousel-notify-", "@carousel-notify-"])
    func notify(prefix: String) throws {
        let name = prefix + "\(getpid())-\(Int.random(in: 0..<1_000_000))"
        let descriptor = try receiver(name)
        defer {
            close(descriptor)
            _ = unsafe unlink(name)
        }
        let manager = ServiceManager(environment: ["NOTIFY_SOCKET": name], processID: getpid())
        manager.tell("READY=1", "STATUS=é")
        #expect(received(descriptor) == "READY=1\nSTATUS=é\n")
        manager.tell("STOPPING=1")
        #expect(received(descriptor) == "STOPPING=1\n")
    }

    @Test(
        "nobody to tell, or a name that is none, changes nothing",
        arguments: [nil, "", "relative", "/nowhere/socket", "@" + String(repeating: "x", count: 500), "vsock:1:2"])
    func nobody(name: String?) {
        let environment = name.map { ["NOTIFY_SOCKET": $0] } ?? [:]
        ServiceManager(environment: environment, processID: getpid()).tell("READY=1")
    }

    @Test("the watchdog's interval is for this process only")
    func watchdog() {
        func interval(_ environment: [String: String]) -> Duration? {
            ServiceManager(environment: environment, processID: 7).watchdogInterval
        }
        #expect(interval(["WATCHDOG_USEC": "2000000"]) == .seconds(2))
        #expect(interval(["WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"]) == .seconds(2))
        for environment in [
            [:], ["WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "x"],
            ["WATCHDOG_USEC": "-1"],
        ] { #expect(interval(environment) == nil) }
    }

    @Test("sockets for another process, or none, are left alone")
    func noSockets() throws {
        for environment in [
            [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "8", "LISTEN_FDS": "1"], ["LISTEN_PID": "7"],
            ["LISTEN_PID": "7", "LISTEN_FDS": "0"], ["LISTEN_PID": "7", "LISTEN_FDS": "-3"],
            ["LISTEN_PID": "x", "LISTEN_FDS": "1"],
        ] { #expect(try ServiceManager(environment: environment, processID: 7).takeSockets().isEmpty) }
    }

    @Test("a socket that listens is taken over, non-blocking; anything else is refused")
    func inherited() throws {
        let address = try #require(SocketAddress("127.0.0.1:0"))
        let original = try ListenSocket(listeningOn: address)
        let taken = try ListenSocket(inherited: dup(original.fileDescriptor), "portal")
        #expect(taken.address == original.address)
        #expect(fcntl(taken.fileDescriptor, F_GETFD) & FD_CLOEXEC == FD_CLOEXEC)
        let client = try StreamSocket.connect(to: taken.address)
        #expect(client.peerAddress == taken.address)
        var found = false
        while !found { if case .accepted = taken.accept() { found = true } }

        let (first, second) = try StreamSocket.pair()
        #expect(throws: SystemError.self) { try ListenSocket(inherited: first.fileDescriptor, "stream") }
        #expect(throws: SystemError.self) { try ListenSocket(inherited: 9999, "none") }
        let datagrams = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        #expect(throws: SystemError.self) { try ListenSocket(inherited: datagrams, "datagram") }
        close(datagrams)
        _ = second
    }
}
