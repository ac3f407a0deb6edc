internal import CFabric
internal import Platform

/// The fabric of this machine's RDMA devices, by libibverbs and librdmacm, which are opened at run time.
///
/// Handles are the addresses of the libraries' objects.
@safe public final class VerbsFabric: FabricProvider {
    /// The most inline data that is asked of a device, in bytes: no device tells how much it takes, and all take that.
    public static let inlineLength = 64
    /// The most asynchronous events of a domain that wait; more are dropped.
    static let eventLimit = 1 << 10

    public let name = "verbs"
    /// The domains that are open, with the events that wait for them.
    let domains = Lock<[FabricHandle: [AsynchronousEvent]]>([:])

    /// Fails with one sentence where RDMA cannot be used: a library is missing, there is no device, or this process may
    /// not use it.
    public init() throws(FabricError) {
        try Self.check()
    }

    private static func check() throws(FabricError) {
        if let missing = unsafe cfabric_load() {
            let library = unsafe String(cString: missing)
            throw .unavailable(
                "RDMA is not available: the library \(library) cannot be opened"
                    + " (Debian packages: libibverbs1, ibverbs-providers, librdmacm1)")
        }
        let status = cfabric_check()
        if status == 0 { return }
        let reason =
            switch -status {
            case Errno.noSuchDevice: "this machine has no RDMA device"
            case Errno.noSuchFile: "there is no /dev/infiniband/rdma_cm; the kernel's module is rdma_ucm"
            default: SystemError(code: -status, operation: "open", path: "/dev/infiniband/rdma_cm").description
            }
        throw .unavailable("RDMA is not available: \(reason)")
    }

    public func devices() throws(FabricError) -> [FabricDevice] {
        var found = [cfabric_device](repeating: cfabric_device(), count: Int(CFABRIC_DEVICES_MAX))
        let count = unsafe found.withUnsafeMutableBufferPointer { buffer in
            // Safe: there are as many elements as the call fills in.
            unsafe cfabric_devices(buffer.baseAddress!)
        }
        let filled = try Self.check(count, "list the RDMA devices")
        return found.prefix(Int(filled)).map(Self.device)
    }

    private static func device(_ found: cfabric_device) -> FabricDevice {
        var limits = DeviceLimits()
        limits.workRequests = Int(found.work_requests)
        limits.entries = Int(found.entries)
        limits.readEntries = Int(found.read_entries)
        limits.completions = Int(found.completions)
        limits.messageLength = Int(found.message_length)
        limits.inlineLength = inlineLength
        limits.responderResources = Int(found.responder_resources)
        limits.initiatorDepth = Int(found.initiator_depth)
        limits.queuePairs = Int(found.queue_pairs)
        limits.regions = Int(found.regions)
        let transport: FabricTransport =
            switch found.transport {
            case 3: .iWARP
            case 2: .roce
            default: .infiniBand
            }
        return FabricDevice(
            name: text(found.name), transport: transport, limits: limits,
            hasInvalidation: found.has_invalidation != 0, guid: found.guid)
    }

    /// The characters of a C array up to its zero.
    static func text<Characters>(_ characters: Characters) -> String {
        // Safe: an array of characters has no other bytes than these.
        unsafe withUnsafeBytes(of: characters) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// The value of a call, which is negative when it has failed.
    static func check(_ value: Int32, _ operation: @autoclosure () -> String) throws(FabricError) -> Int32 {
        if value >= 0 { return value }
        throw .failed(
            operation: operation(), reason: SystemError(code: -value, operation: "").reason, code: -value)
    }
}

extension FabricHandle {
    /// The handle of a library's object.
    init(_ pointer: OpaquePointer?) {
        // Safe: only the number is kept.
        self.init(word: UInt64(UInt(bitPattern: pointer)))
    }

    /// The library's object. The classes that use a provider name none that is gone.
    var object: OpaquePointer {
        guard let pointer = unsafe OpaquePointer(bitPattern: UInt(word)) else {
            preconditionFailure("a handle of this provider names an object")
        }
        return unsafe pointer
    }
}
