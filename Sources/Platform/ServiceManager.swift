internal import CPlatform

/// The service manager that started the process (systemd): it is told of the process's state, and asked for sockets
/// that it listens on already, as in sd_notify(3) and sd_listen_fds(3).
public struct ServiceManager: Sendable {
    /// The first descriptor that is passed (SD_LISTEN_FDS_START).
    private static let firstDescriptor: Int32 = 3
    /// The most sockets that are taken.
    static let maximumSocketCount: Int32 = 64

    /// A socket that the service manager listens on, under the name that its unit gives it; empty without one.
    public struct InheritedSocket: Sendable {
        /// FileDescriptorName= of the socket's unit.
        public let name: String
        public let socket: ListenSocket
    }

    private let environment: [String: String]
    private let processID: Int32

    /// The service manager that the variables in `environment` tell of; it may be that there is none.
    public init(environment: [String: String], processID: Int32) {
        self.environment = environment
        self.processID = processID
    }

    /// Tells the state: lines such as `READY=1`. Does nothing when nobody wants to know; an error of the service
    /// manager's socket is nobody's to handle.
    public func tell(_ lines: String...) {
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else { return }
        let text = Array(lines.map { $0 + "\n" }.joined().utf8)
        let address = Array(path.utf8)
        // Safe: both pointers are of arrays with the counts that are passed, for the time of the call.
        _ = unsafe address.withUnsafeBufferPointer { address in
            unsafe text.withUnsafeBufferPointer { text in
                unsafe cplatform_notify(address.baseAddress!, address.count, text.baseAddress!, text.count)
            }
        }
    }

    /// How long the service manager waits for `WATCHDOG=1` before it ends the process; nil when it does not.
    public var watchdogInterval: Duration? {
        if let other = environment["WATCHDOG_PID"], Int32(other) != processID { return nil }
        guard let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init), microseconds > 0 else { return nil }
        return .microseconds(microseconds)
    }

    /// Takes the sockets that are passed to this process. Call it once, before anything opens a descriptor.
    ///
    /// - Throws: `SystemError` when one of them is no listening stream socket, or takes IPv4 connections on an IPv6
    ///   address, which would be seen as IPv6 ones.
    public func takeSockets() throws(SystemError) -> [InheritedSocket] {
        guard let owner = environment["LISTEN_PID"], Int32(owner) == processID,
            let count = environment["LISTEN_FDS"].flatMap(Int32.init), count > 0
        else { return [] }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        var sockets: [InheritedSocket] = []
        for index in 0..<min(count, Self.maximumSocketCount) {
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            sockets.append(
                InheritedSocket(name: name, socket: try ListenSocket(inherited: Self.firstDescriptor + index, name)))
        }
        return sockets
    }
}
