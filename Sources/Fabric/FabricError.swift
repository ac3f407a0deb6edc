/// Why something of a fabric could not be had. It reads as a sentence.
public enum FabricError: Error, Equatable, Sendable, CustomStringConvertible {
    /// This machine, or this process, has no RDMA at all.
    case unavailable(String)
    /// A call failed: which, and the reason of the system.
    case failed(operation: String, reason: String, code: Int32)
    /// A named limit is reached.
    case limitReached(String)
    /// There is no such device (any more).
    case noDevice(String)
    /// The private data is longer than the transport carries.
    case privateDataTooLong(Int, limit: Int)
    /// The connection cannot do that in its state.
    case wrongState(String)

    public var description: String {
        switch self {
        case .unavailable(let reason): reason
        case .failed(let operation, let reason, _): "\(operation): \(reason)"
        case .limitReached(let limit): "the limit of \(limit) is reached"
        case .noDevice(let name): "there is no RDMA device '\(name)'"
        case .privateDataTooLong(let count, let limit):
            "\(count) bytes of private data are more than the \(limit) that the transport carries"
        case .wrongState(let what): what
        }
    }
}
