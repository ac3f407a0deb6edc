/// How a work request ended: the completion return status of InfiniBand (volume 1, clause 11.6.2), numbered as
/// libibverbs does (`enum ibv_wc_status`).
public enum CompletionStatus: UInt8, Sendable, CaseIterable {
    case success = 0
    /// The message is longer than the receive, or than a queue pair can send.
    case localLengthError = 1
    /// The queue pair itself cannot perform the request.
    case localQueuePairOperationError = 2
    case localEEContextOperationError = 3
    /// A local key does not exist, or a scatter entry lies outside its region or lacks the access right.
    case localProtectionError = 4
    /// The queue pair came into the error state before the request was done, which may have had its effect.
    case workRequestFlushedError = 5
    /// A memory window cannot be bound so, or a local key cannot be invalidated.
    case memoryWindowBindError = 6
    /// The peer answered with what it must not answer.
    case badResponseError = 7
    case localAccessError = 8
    /// The peer refuses the message: longer than its receive, or more RDMA Reads than it takes.
    case remoteInvalidRequestError = 9
    /// The remote key does not exist, or does not permit the access.
    case remoteAccessError = 10
    /// The peer could not do it: its receive names memory that it may not write.
    case remoteOperationError = 11
    /// The peer did not answer: it, the path, or its queue pair is gone.
    case transportRetryCounterExceeded = 12
    /// The peer had no receive posted, each time.
    case rnrRetryCounterExceeded = 13
    case localRDDViolationError = 14
    case remoteInvalidRDRequest = 15
    case remoteAbortedError = 16
    case invalidEEContextNumber = 17
    case invalidEEContextState = 18
    /// The device has failed.
    case fatalError = 19
    case responseTimeoutError = 20
    /// Another error, or a number that libibverbs did not have.
    case generalError = 21
}

extension CompletionStatus: CustomStringConvertible {
    /// The standard's name in lower case: "remote access error".
    public var description: String {
        switch self {
        case .success: "success"
        case .localLengthError: "local length error"
        case .localQueuePairOperationError: "local QP operation error"
        case .localEEContextOperationError: "local EE context operation error"
        case .localProtectionError: "local protection error"
        case .workRequestFlushedError: "work request flushed error"
        case .memoryWindowBindError: "memory window bind error"
        case .badResponseError: "bad response error"
        case .localAccessError: "local access error"
        case .remoteInvalidRequestError: "remote invalid request error"
        case .remoteAccessError: "remote access error"
        case .remoteOperationError: "remote operation error"
        case .transportRetryCounterExceeded: "transport retry counter exceeded"
        case .rnrRetryCounterExceeded: "RNR retry counter exceeded"
        case .localRDDViolationError: "local RDD violation error"
        case .remoteInvalidRDRequest: "remote invalid RD request"
        case .remoteAbortedError: "remote aborted error"
        case .invalidEEContextNumber: "invalid EE context number"
        case .invalidEEContextState: "invalid EE context state"
        case .fatalError: "fatal error"
        case .responseTimeoutError: "response timeout error"
        case .generalError: "general error"
        }
    }
}
