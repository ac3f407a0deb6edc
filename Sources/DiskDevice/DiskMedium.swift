internal import Bytes
public import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// What keeps whether the medium of a removable disk is loaded, beyond the life of the process.
public protocol DiskMediumKeeper: Sendable {
    /// Keeps it, on behalf of an initiator port; durable when the answer is true. It may wait.
    func keep(isLoaded: Bool, initiatorPort: String) -> Bool
}

/// Why the medium of a disk stays where it is.
public enum DiskMediumError: Error, Equatable, Sendable {
    /// The disk is not removable.
    case fixed
    /// It is ejected already, or loaded.
    case noChange
    /// The medium is on its way.
    case moving
    /// These initiator ports prevent the removal of the medium.
    case prevented(by: [String])
    /// What was written could not be made durable.
    case image(MediaFailure)
}

/// Removable media: START STOP UNIT, and what an operator does (SBC-4 clause 4.4).
///
/// While the medium moves, `isMoving` keeps other moves away. It counts as ejected from the beginning of an ejection,
/// so that nothing is written behind what the ejection makes durable, to the end of a load.
extension DiskDeviceServer {
    /// Whether there is a medium.
    var hasMedium: Bool { !conditions.contains(.ejected) }
    /// Whether the medium of a removable disk is ejected.
    public var isEjected: Bool { !hasMedium }

    /// Has `keeper` keep where the medium is when initiators move it. Before the unit is offered.
    public func keepMedium(with keeper: any DiskMediumKeeper) {
        mediumKeeper.withLock { $0 = keeper }
    }

    // MARK: By initiators

    /// Ejects the medium. What the cache holds goes to it first, also with NO_FLUSH: it leaves the drive.
    func eject(_ task: SCSITask) -> CommandProgress {
        guard beginMove() else { return task.end(.busy) }
        guard hasMedium else {
            endMove()
            return task.good()
        }
        guard !attachedNexuses.isMediumRemovalPrevented else {
            endMove()
            return task.fail(.illegalRequest, .mediumRemovalPrevented)
        }
        replaceConditions(.ejected, with: .ejected)
        let progress = synchronizeBuffered(task, .synchronizeBeforeEject)
        if progress != .pending { takeBackEjection() }
        return progress
    }

    func synchronizedBeforeEject(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        if let failure = synchronizationFailure(task) {
            takeBackEjection()
            return failure
        }
        return keep(task, nexus, isLoaded: false, .keepEjected)
    }

    func ejectionKept(_ task: SCSITask) -> CommandProgress {
        guard case .done = task.fileRequest.result else {
            takeBackEjection()
            return task.fail(.hardwareError, .mediaLoadOrEjectFailed)
        }
        endMove()
        return task.good()
    }

    /// The medium stays. Commands may have found none meanwhile, so everybody looks at it again.
    private func takeBackEjection() {
        // First, so that no command finds the medium whose nexus was not told.
        attachedNexuses.establishUnitAttention(.mediumMayHaveChanged)
        replaceConditions(.ejected, with: [])
        endMove()
    }

    /// Loads the medium, unless a nexus has it locked out: PREVENT holds the mechanism, and not the medium alone.
    func load(_ task: SCSITask) -> CommandProgress {
        guard beginMove() else { return task.end(.busy) }
        guard !hasMedium else {
            isStopped = false
            endMove()
            return task.good()
        }
        guard !attachedNexuses.isMediumRemovalPrevented else {
            endMove()
            return task.fail(.illegalRequest, .mediumRemovalPrevented)
        }
        guard let nexus = task.nexus else { preconditionFailure("a running task has a nexus") }
        let progress = keep(task, nexus, isLoaded: true, .keepLoaded)
        if progress != .pending { endMove() }
        return progress
    }

    func loadKept(_ task: SCSITask) -> CommandProgress {
        guard case .done = task.fileRequest.result else {
            endMove()
            return task.fail(.hardwareError, .mediaLoadOrEjectFailed)
        }
        finishLoad(except: task.nexus)
        return task.good()
    }

    /// Every nexus learns of the medium but the one that has loaded it, which knows.
    private func finishLoad(except loader: ITLNexus? = nil) {
        attachedNexuses.establishUnitAttention(.mediumMayHaveChanged, except: loader)
        replaceConditions([.ejected, .stopped], with: [])
        endMove()
    }

    /// Has the keeper keep where the medium is, on a thread that may wait.
    private func keep(_ task: SCSITask, _ nexus: ITLNexus, isLoaded: Bool, _ step: DiskStep) -> CommandProgress {
        let keeper = mediumKeeper.withLock { $0 }
        let port = nexus.iTNexus.initiatorPort.name
        task.fileRequest.operation = .call {
            keeper?.keep(isLoaded: isLoaded, initiatorPort: port) == false ? Errno.cancelled : 0
        }
        task.fileRequest.medium = image
        return submit(task, step)
    }

    /// Ends the move of an aborted command, which goes as far as it has come.
    func mediumMoveAbandoned(_ task: SCSITask) {
        let isDone = if case .done = task.fileRequest.result { true } else { false }
        switch DiskStep(rawValue: task.step) {
        case .keepEjected where isDone: endMove()
        case .keepLoaded where isDone: finishLoad()
        case .keepLoaded: endMove()
        default: takeBackEjection()
        }
    }

    private func beginMove() -> Bool { !isMoving.exchange(true, ordering: .acquiringAndReleasing) }
    private func endMove() { isMoving.store(false, ordering: .releasing) }

    // MARK: By an operator

    /// Ejects the medium: makes what was written durable, and has `keep` keep that it is ejected. When `isForced`, also
    /// if initiators prevent that. It waits for the file system; when it throws, the medium is where it was.
    public func ejectMedium<Failure>(
        isForced: Bool, keep: () throws(Failure) -> Void
    ) throws(Failure) -> DiskMediumError? {
        guard attributes.isRemovable else { return .fixed }
        // An operation on all blocks keeps the medium too.
        guard !conditions.contains(.operationInProgress), beginMove() else { return .moving }
        guard hasMedium else {
            endMove()
            return .noChange
        }
        let preventers = attachedNexuses.all.filter(\.preventsMediumRemoval).map(\.iTNexus.initiatorPort.name)
        guard isForced || preventers.isEmpty else {
            endMove()
            return .prevented(by: Set(preventers).sorted())
        }
        replaceConditions(.ejected, with: .ejected)
        if let failure = image.synchronize() {
            takeBackEjection()
            return .image(failure)
        }
        do {
            try keep()
        } catch {
            takeBackEjection()
            throw error
        }
        endMove()
        return nil
    }

    /// Loads the medium, after `keep` has kept that it is loaded. When it throws, the medium is where it was.
    public func loadMedium<Failure>(keep: () throws(Failure) -> Void) throws(Failure) -> DiskMediumError? {
        guard attributes.isRemovable else { return .fixed }
        guard beginMove() else { return .moving }
        guard !hasMedium else {
            endMove()
            return .noChange
        }
        do {
            try keep()
        } catch {
            endMove()
            throw error
        }
        finishLoad()
        return nil
    }
}
