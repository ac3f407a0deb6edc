public import Bytes
internal import CPlatform

/// A socket that listens for stream connections, non-blocking.
public final class ListenSocket: Sendable {
    /// The default number of connections that wait to be accepted.
    public static let defaultBacklog: Int32 = 1024

    /// What `accept` found.
    public enum AcceptResult {
        /// A new connection.
        case accepted(StreamSocket)
        /// None waits.
        case wouldBlock
        /// The connection had failed before it was accepted; the next one may be there.
        case lost
        /// The error number: the system has no descriptor or memory left for a connection (EMFILE, ENFILE, ENOMEM,
        /// ENOBUFS), or accepts none for another reason. The connection still waits, so asking again at once gives the
        /// same.
        case failed(Int32)
    }

    /// The descriptor, for `Reactor.register`.
    public let fileDescriptor: Int32
    /// The address, with the port that the system chose when 0 was asked for.
    public let address: SocketAddress

    /// Listens on `address`. `bufferSize` is for both socket buffers of each connection, in bytes; 0 leaves the
    /// system's default.
    ///
    /// The path of a Unix socket must not exist; removing a stale one is the caller's decision.
    public init(
        listeningOn address: SocketAddress, backlog: Int32 = defaultBacklog, bufferSize: Int = 0
    ) throws(SystemError) {
        fileDescriptor = try check(
            unsafe address.host.withCString {
                unsafe cplatform_listen($0, address.portOrPath, backlog, Int32(bufferSize))
            }, "listen on", address.description)
        self.address = SocketAddress.of(fileDescriptor, peer: false) ?? address
    }

    /// Takes a socket that another process made and listens on.
    ///
    /// - Throws: `SystemError` when it is no listening stream socket, or one of IPv6 that takes IPv4 connections too.
    init(inherited fileDescriptor: Int32, _ name: String) throws(SystemError) {
        _ = try check(cplatform_adopt_listener(fileDescriptor), "take inherited socket", "'\(name)'")
        self.fileDescriptor = fileDescriptor
        address = SocketAddress.of(fileDescriptor, peer: false) ?? SocketAddress(path: "")
    }

    deinit {
        _ = cplatform_close(fileDescriptor)
    }

    /// Accepts one connection.
    public func accept() -> AcceptResult {
        let status = cplatform_accept(fileDescriptor)
        return status >= 0 ? .accepted(StreamSocket(fileDescriptor: status)) : Self.failure(-status)
    }

    /// What an error number of accept(2) means.
    static func failure(_ code: Int32) -> AcceptResult {
        if code == Errno.wouldBlock { return .wouldBlock }
        return Errno.ofConnectionsBeforeAcceptance.contains(code) ? .lost : .failed(code)
    }
}

/// A connected stream socket, non-blocking; closed when it is released.
///
/// It belongs to one thread at a time.
public final class StreamSocket: Sendable {
    /// The socket buffers that suit storage traffic, in bytes.
    public static let storageBufferSize = 4 << 20

    /// What a reception found.
    public enum ReceiveResult: Equatable {
        /// The number of bytes, at least one.
        case received(Int)
        /// Nothing there yet.
        case wouldBlock
        /// The peer has ended its stream.
        case closed
        /// The error number; the connection is of no more use.
        case failed(Int32)
    }

    /// The descriptor, for `Reactor.register`.
    public let fileDescriptor: Int32

    init(fileDescriptor: Int32) {
        self.fileDescriptor = fileDescriptor
    }

    deinit {
        _ = cplatform_close(fileDescriptor)
    }

    /// Connects to `address`; waits at most `timeout` on the calling thread (tools and tests, never a reactor).
    public static func connect(
        to address: SocketAddress, timeout: Duration = .seconds(10), bufferSize: Int = 0
    ) throws(SystemError) -> StreamSocket {
        let milliseconds = Int32(clamping: timeout.wholeNanoseconds / 1_000_000)
        let status = try check(
            unsafe address.host.withCString {
                unsafe cplatform_connect($0, address.portOrPath, milliseconds, Int32(bufferSize))
            }, "connect to", address.description)
        let socket = StreamSocket(fileDescriptor: status)
        socket.setNoDelay()
        return socket
    }

    /// Two sockets connected to each other.
    public static func pair() throws(SystemError) -> (StreamSocket, StreamSocket) {
        var first: Int32 = -1
        var second: Int32 = -1
        _ = try check(unsafe cplatform_socketpair(&first, &second), "create socket pair")
        return (StreamSocket(fileDescriptor: first), StreamSocket(fileDescriptor: second))
    }

    /// Sends small segments at once (TCP_NODELAY).
    public func setNoDelay() { cplatform_set_no_delay(fileDescriptor) }

    /// Has the system probe a peer that is silent for `idleSeconds`.
    public func setKeepAlive(idleSeconds: Int32) { cplatform_set_keep_alive(fileDescriptor, idleSeconds) }

    /// The own address.
    public var localAddress: SocketAddress? { SocketAddress.of(fileDescriptor, peer: false) }

    /// The peer's address.
    public var peerAddress: SocketAddress? { SocketAddress.of(fileDescriptor, peer: true) }

    /// Ends the own stream; the peer's can still be read.
    public func shutdownWriting() { _ = cplatform_shutdown_write(fileDescriptor) }

    /// Waits on the calling thread until there is something to read (or, with `writing`, room to write); false after
    /// `timeout`.
    public func waitUntilReady(writing: Bool = false, timeout: Duration) -> Bool {
        let milliseconds = Int32(clamping: timeout.wholeNanoseconds / 1_000_000)
        return cplatform_wait_ready(fileDescriptor, writing ? 1 : 0, milliseconds) != 0
    }

    /// Receives at most `limit` bytes after the data in `buffer`: one system call.
    public func receive(into buffer: ReceiveBuffer, limit: Int = .max) -> ReceiveResult {
        let target = unsafe buffer.unusedMemory(limit: limit)
        precondition(unsafe !target.isEmpty, "receiving needs room")
        // Safe: `target` is memory of `buffer`, which lives on.
        let status = unsafe cplatform_receive(fileDescriptor, nil, 0, target.baseAddress, target.count)
        buffer.counters.countReceive(bytes: max(status, 0))
        if status > 0 { buffer.extend(by: status) }
        return Self.result(status)
    }

    /// Receives the next `count` bytes of the stream into `lease` from `offset` on, and what follows, at most `limit`
    /// bytes, after the data in `buffer`: one system call.
    ///
    /// Of `.received(n)`, `min(n, count)` bytes are in the lease, whose `count` grows to cover them.
    public func receive(
        into lease: inout BufferLease, at offset: Int, count: Int, then buffer: ReceiveBuffer, limit: Int = .max
    ) -> ReceiveResult {
        precondition(offset >= 0 && count > 0 && offset + count <= lease.capacity, "a payload fits its lease")
        let rest = unsafe buffer.unusedMemory(limit: limit)
        let status = unsafe lease.withUnsafeMutableMemory { memory in
            // Safe: the precondition keeps the first piece in the lease; the second is memory of `buffer`.
            unsafe cplatform_receive(
                fileDescriptor, memory.baseAddress! + offset, count, rest.baseAddress, rest.count)
        }
        buffer.counters.countReceive(bytes: max(status, 0))
        if status > 0 {
            let direct = min(status, count)
            if offset + direct > lease.count { lease.setCount(offset + direct) }
            buffer.extend(by: status - direct)
        }
        return Self.result(status)
    }

    private static func result(_ status: Int) -> ReceiveResult {
        if status > 0 { return .received(status) }
        if status == 0 { return .closed }
        return status == -Int(Errno.wouldBlock) ? .wouldBlock : .failed(Int32(-status))
    }
}
