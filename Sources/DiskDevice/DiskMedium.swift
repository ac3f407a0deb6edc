internal import Bytes
internal import Glibc
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
    /// The medium is on its way, an operation on all blocks keeps it, or commands that write have not ended in time.
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
        beginEjection()
        return ejectInGate(task)
    }

    /// From now on no command that comes to the medium is performed.
    private func beginEjection() {
        replaceConditions(.ejected, with: .ejected)
        // After that: who begins before finds another number when its data come.
        ejectionCount.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }

    /// Waits until all have left the write gate who entered before the ejection began: what they write is made durable.
    private func ejectInGate(_ task: SCSITask, isWoken: Bool = false) -> CommandProgress {
        writeGate.enterAlone(task, isWoken: isWoken) == .parked ? .pending : ejectAlone(task)
    }

    /// The command was parked at the gate.
    func ejectionPassesGate(_ task: SCSITask) -> CommandProgress {
        isInsideGate(task) ? ejectAlone(task) : ejectInGate(task, isWoken: true)
    }

    /// The command is alone inside the gate, which it leaves when the medium is synchronized.
    private func ejectAlone(_ task: SCSITask) -> CommandProgress {
        task.step = DiskStep.none.rawValue
        // One may have begun before the ejection did; it keeps the medium.
        let progress = operationInProgressRefusal(task) ?? synchronizeBuffered(task, .synchronizeBeforeEject)
        if progress != .pending {
            takeBackEjection()
            writeGate.leaveAlone()
        }
        return progress
    }

    /// The command was aborted while it was parked at the gate, and has come back from there.
    func ejectionAbandonedAtGate(_ task: SCSITask) {
        takeBackEjection()
        if isInsideGate(task) { writeGate.leaveAlone() } else { writeGate.wakeNext() }
    }

    func synchronizedBeforeEject(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        // Who enters from now on finds no medium.
        writeGate.leaveAlone()
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
        finishEjection()
        return task.good()
    }

    /// The medium has gone, and with it what ROD tokens represent.
    private func finishEjection() {
        representedBlocks.cancelAll()
        endMove()
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
        case .keepEjected where isDone: finishEjection()
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
        beginEjection()
        // One may have begun meanwhile; whoever of the two comes second finds the other.
        guard waitForWriters(), !conditions.contains(.operationInProgress) else {
            takeBackEjection()
            return .moving
        }
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
        finishEjection()
        return nil
    }

    /// How long an operator's ejection waits for commands that are writing, in milliseconds, and how often it looks.
    private static let writersLimit = 10_000
    private static let writersInterval = 10

    /// Waits until all have left the write gate who entered before the ejection began; false when some are still there
    /// at the limit.
    private func waitForWriters() -> Bool {
        for _ in 0..<Self.writersLimit / Self.writersInterval {
            if writeGate.isEmpty { return true }
            usleep(UInt32(Self.writersInterval * 1000))
        }
        return writeGate.isEmpty
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
