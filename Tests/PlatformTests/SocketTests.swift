import Bytes
import TestSupport
import Testing

@testable import Platform

@Suite("Socket addresses")
struct SocketAddressTests {
    @Test(
        "Addresses are read and written in the form of TargetAddress",
        arguments: [
            ("127.0.0.1:3260", "127.0.0.1:3260"), ("[::1]:3260", "[::1]:3260"), ("0.0.0.0", "0.0.0.0:3260"),
            ("[fe80::1]", "[fe80::1]:3260"), ("::1", "[::1]:3260"), ("/run/x.sock", "/run/x.sock"),
        ])
    func forms(text: String, canonical: String) throws {
        let address = try #require(SocketAddress(text, defaultPort: 3260))
        #expect(address.description == canonical)
        #expect(address.isIPv6 == canonical.hasPrefix("["))
    }

    @Test(
        "What is no address is refused",
        arguments: [
            "", "localhost:1", "1.2.3:80", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:+1", "[::1", "[1.2.3.4]:1", "::1:x",
            "1.2.3.4:-1", "[::1]3260",
        ])
    func refused(text: String) {
        #expect(SocketAddress(text, defaultPort: 3260) == nil)
    }

    @Test("A port is needed without a default")
    func portNeeded() {
        #expect(SocketAddress("127.0.0.1") == nil)
    }
}

@Suite("Stream sockets")
struct SocketTests {
    @Test("What accept(2) tells of one connection is told from what the system lacks for all")
    func acceptFailures() {
        for code in [Errno.connectionAborted, Errno.notSupported] {
            guard case .lost = ListenSocket.failure(code) else {
                Issue.record("\(code) is of that connection")
                continue
            }
        }
        for code in [
            Errno.tooManyOpenFiles, Errno.tooManyOpenFilesInSystem, Errno.noMemory, Errno.noBuffers, Errno.inputOutput,
        ] {
            guard case .failed(code) = ListenSocket.failure(code) else {
                Issue.record("\(code) is of all connections")
                continue
            }
        }
        guard case .wouldBlock = ListenSocket.failure(Errno.wouldBlock) else {
            Issue.record("none waits")
            return
        }
    }

    @Test("A connection over TCP knows both its ends", arguments: ["127.0.0.1:0", "[::1]:0"])
    func connection(text: String) throws {
        let listener = try ListenSocket(listeningOn: #require(SocketAddress(text)), bufferSize: 1 << 20)
        let client = try StreamSocket.connect(to: listener.address)
        guard case .accepted(let server) = listener.accept() else {
            Issue.record("nothing to accept")
            return
        }
        server.setNoDelay()
        server.setKeepAlive(idleSeconds: 60)
        #expect(server.localAddress == listener.address)
        #expect(server.peerAddress == client.localAddress)
        guard case .wouldBlock = listener.accept() else {
            Issue.record("a connection too many")
            return
        }
    }

    @Test("A busy port is a clear sentence")
    func busyPort() throws {
        let first = try ListenSocket(listeningOn: #require(SocketAddress("127.0.0.1:0")))
        let error = #expect(throws: SystemError.self) { _ = try ListenSocket(listeningOn: first.address) }
        #expect(error?.description == "listen on \(first.address): Address already in use")
        #expect(error?.code == Errno.addressInUse)
    }

    @Test("Payload goes into the lease, what follows into the shared buffer")
    func directReception() throws {
        let (near, far) = try StreamSocket.pair()
        let pool = BufferPool(limit: 1 << 20)
        var lease = try pool.required(4096)
        let buffer = ReceiveBuffer()
        buffer.begin(with: [9].rawSpan)
        #expect(near.receive(into: buffer) == .wouldBlock)

        let output = OutputQueue()
        let queued = output.append(copying: [1, 2, 3, 4, 5].rawSpan)
        #expect(queued)
        #expect(output.flush(to: far) == .drained)
        let result = near.receive(into: &lease, at: 10, count: 3, then: buffer)
        #expect(result == .received(5))
        let direct = lease.bytes.extracting(10..<13).copyToArray()
        #expect(direct == [1, 2, 3])
        #expect(lease.count == 13)
        #expect(buffer.bytes.copyToArray() == [9, 4, 5])

        far.shutdownWriting()
        #expect(near.receive(into: buffer, limit: 1) == .closed)
    }
}

@Suite("Output queue")
struct OutputQueueTests {
    /// Reads all that is there.
    private func drain(_ socket: StreamSocket, into bytes: inout [UInt8]) {
        let buffer = ReceiveBuffer()
        while true {
            buffer.begin(with: [UInt8]().rawSpan)
            guard case .received = socket.receive(into: buffer) else { return }
            bytes.append(contentsOf: buffer.bytes.copyToArray())
        }
    }

    @Test("Headers and payload arrive in order through partial sends, and every lease returns")
    func partialSends() throws {
        let (near, far) = try StreamSocket.pair()
        let pool = BufferPool(limit: 64 << 20)
        let output = OutputQueue()
        var random = SeededRandom(seed: 1)
        var expected: [UInt8] = []
        var received: [UInt8] = []
        var blocked = 0
        for round in 0..<300 {
            let header = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 48)
            let payloadCount = Int.random(in: 1...60000, using: &random)
            let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: round &* 7), count: payloadCount)
            while output.freePieces < 4 || output.freeLeases == 0 || output.queuedBytes > 1 << 20 {
                if output.flush(to: near) == .blocked { blocked += 1 }
                drain(far, into: &received)
            }
            let headed = output.append(copying: header.rawSpan)
            #expect(headed)
            var lease = try pool.required(payloadCount)
            lease.assign(payload)
            let holding = output.hold(lease)
            let held = try #require(holding)
            let half = payloadCount / 2
            let first = output.append(held, offset: 0, count: half, release: false)
            let middle = output.appendHeader(count: 4) { $0.storeBE32(0x0102_0304, at: 0) }
            let second = output.append(held, offset: half, count: payloadCount - half, release: round % 2 == 0)
            let third = round % 2 == 0 || output.release(held)
            #expect(first && middle && second && third)
            expected += header + payload[..<half] + [1, 2, 3, 4] + payload[half...]
        }
        while output.flush(to: near) == .blocked { drain(far, into: &received) }
        drain(far, into: &received)
        #expect(received == expected)
        #expect(blocked > 0)
        #expect(output.isEmpty && output.queuedBytes == 0)
        #expect(pool.leasedBytes == 0)
        #expect(output.freeLeases == output.leaseLimit)
    }

    @Test("A full queue refuses, and is whole again after sending")
    func bounds() throws {
        let (near, far) = try StreamSocket.pair()
        let output = OutputQueue()
        var count = 0
        while output.append(copying: [UInt8](repeating: 7, count: 100).rawSpan) { count += 1 }
        #expect(count == output.headerCapacity / 100)
        #expect(output.freePieces == output.pieceLimit - 1, "successive headers are one piece")
        var bytes: [UInt8] = []
        while output.flush(to: near) == .blocked { drain(far, into: &bytes) }
        drain(far, into: &bytes)
        #expect(bytes.count == count * 100)
        let again = output.append(copying: [1].rawSpan)
        #expect(again)
    }

    @Test("Header memory is a ring: it never overwrites what waits")
    func ring() throws {
        let (near, far) = try StreamSocket.pair()
        let pool = BufferPool(limit: 1 << 20)
        let output = OutputQueue()
        var received: [UInt8] = []
        var expected: [UInt8] = []
        for round in 0..<4000 {
            let header = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 40 + round % 61)
            while !output.append(copying: header.rawSpan) {
                _ = output.flush(to: near)
                drain(far, into: &received)
            }
            expected += header
            if round % 5 == 0, output.freeLeases > 0, var lease = pool.lease(capacity: 1) {
                lease.assign([0xFF])
                let holding = output.hold(lease)
                let held = try #require(holding)
                if output.append(held, offset: 0, count: 1, release: true) {
                    expected.append(0xFF)
                } else {
                    _ = output.release(held)
                }
            }
        }
        while output.flush(to: near) == .blocked { drain(far, into: &received) }
        drain(far, into: &received)
        #expect(received == expected)
        #expect(pool.leasedBytes == 0)
    }

    @Test("What is discarded releases its leases")
    func discard() throws {
        let pool = BufferPool(limit: 1 << 20)
        let output = OutputQueue()
        var lease = try pool.required(4096)
        lease.setCount(4096)
        let holding = output.hold(lease)
        let held = try #require(holding)
        let appended = output.append(held, offset: 0, count: 4096, release: true)
        #expect(appended)
        output.discard()
        #expect(pool.leasedBytes == 0)
        #expect(output.isEmpty)
    }

    @Test("A peer that is gone is an error, not a signal")
    func brokenPipe() throws {
        let output = OutputQueue()
        let near = try StreamSocket.pair().0
        _ = output.append(copying: [1].rawSpan)
        guard case .failed = output.flush(to: near) else {
            Issue.record("sent to nobody")
            return
        }
    }
}
