public import Media
internal import Platform
internal import TargetCore

/// What SANITIZE or FORMAT UNIT does to all blocks of a disk, or has failed to do, as those see it who are no
/// initiators.
public struct DiskOperation: Equatable, Sendable {
    /// Which command asked for it.
    public enum Method: Sendable {
        case overwrite, blockErase, cryptographicErase
        /// FORMAT UNIT, or an operation whose note nobody can read.
        case format
    }

    /// What has become of it.
    public enum State: Equatable, Sendable {
        /// It goes on; so much is done, in 65536ths.
        case running(progress: UInt16)
        /// It has failed, or was broken off: until an initiator has ended that, the disk does little else.
        case failed
    }

    public let method: Method
    public let state: State
}

/// Something that has happened to an operation on all blocks.
public struct DiskOperationNotice: Equatable, Sendable {
    public enum Change: Equatable, Sendable {
        /// It has begun, and is kept over restarts.
        case begun
        /// All blocks are done; with FORMAT UNIT that may have given them other protection information.
        case ended(changesProtection: Bool)
        /// It has failed, for that reason.
        case failed(MediaFailure)
        /// EXIT FAILURE MODE has ended the failure.
        case exited
    }

    public let method: DiskOperation.Method
    public let change: Change
    /// The initiator port that has asked for it; nil where that is not known any more, after a restart.
    public let initiatorPort: String?
}

extension DiskOperation.Method {
    init(_ kind: MediumOperation.Kind) {
        switch kind {
        case .overwrite: self = .overwrite
        case .blockErase: self = .blockErase
        case .cryptographicErase: self = .cryptographicErase
        case .format: self = .format
        }
    }
}

extension DiskDeviceServer {
    /// The operation on all blocks that goes on, or has failed; nil when there is none.
    public var operation: DiskOperation? {
        // There is none as a rule, which needs no lock.
        guard !conditions.isDisjoint(with: .ofOperations) else { return nil }
        return operations.withLock { state in
            switch state.phase {
            case .none: nil
            case .keeping(let operation, _):
                DiskOperation(method: .init(operation.kind), state: .running(progress: 0))
            case .running(let operation, let runner):
                DiskOperation(method: .init(operation.kind), state: .running(progress: runner.progress))
            case .failed(let operation), .exiting(let operation):
                DiskOperation(method: .init(operation.kind), state: .failed)
            }
        }
    }

    /// Tells who watches what has become of an operation.
    func tell(_ operation: MediumOperation, _ change: DiskOperationNotice.Change, by initiatorPort: String?) {
        operationWatcher?(
            DiskOperationNotice(method: .init(operation.kind), change: change, initiatorPort: initiatorPort))
    }
}
