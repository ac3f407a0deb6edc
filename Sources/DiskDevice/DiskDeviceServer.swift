internal import Bytes
public import Media
internal import Platform
public import SCSI
internal import Synchronization
public import TargetCore

/// The device server of a direct access block device (SBC-4) over an image.
///
/// It is used on every reactor at the same time. What commands share is immutable or one atomic word; only mode
/// parameters, unit attentions and commands that wait for COMPARE AND WRITE are behind locks.
public final class DiskDeviceServer: DeviceServer, Sendable {
    /// The most bytes that one command moves: the largest lease.
    public static let maximumTransferLength = 16 << 20
    /// The longest READ, in bytes, that is answered on the reactor when the page cache holds it.
    static let inlineReadLimit = 1 << 20
    /// The longest WRITE, in bytes, that goes to the page cache on the reactor.
    static let inlineWriteLimit = 1 << 20

    public let identity: DeviceIdentity
    public let traits = DiskDeviceServer.inquiryTraits
    public let commands = DiskDeviceServer.table.commands
    public let modePages = DiskModePage.all
    public let attachedNexuses = AttachedNexuses()

    /// The medium.
    public let image: any DiskImage
    /// The logical block length is two to this power.
    let blockShift: UInt64
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    let physicalBlockExponent: UInt8
    /// Whether nothing may be written, whatever mode parameters say.
    let isReadOnly: Bool
    /// Keeps COMPARE AND WRITE and ORWRITE atomic against all other commands that change the medium.
    let writeGate = WriteGate()
    /// The ROD tokens that represent blocks of this disk.
    let representedBlocks: RepresentedBlocks
    /// What the copy manager of this disk shares with those of others.
    let copyManager: CopyManager

    /// NUMBER OF LOGICAL BLOCKS. It only grows.
    private let blockTotal: Atomic<UInt64>
    private let stopped = Atomic<Bool>(false)

    // Bits of mode pages that the data path needs.
    private let writeCache = Atomic<Bool>(true)
    private let softwareWriteProtection = Atomic<Bool>(false)
    private let descriptorSense = Atomic<Bool>(false)

    /// A disk over `image`. With 512-byte blocks, `physicalBlockExponent` 3 tells initiators that the medium prefers
    /// aligned 4 KiB (512e), 0 that it has no preference. Copies find the disks of `copyManager`.
    public init(
        image: any DiskImage, identity: DeviceIdentity, physicalBlockExponent: UInt8 = 0, isReadOnly: Bool = false,
        copyManager: CopyManager = CopyManager()
    ) {
        self.identity = identity
        self.image = image
        self.physicalBlockExponent = physicalBlockExponent
        self.isReadOnly = isReadOnly
        blockShift = UInt64(image.blockSize.trailingZeroBitCount)
        blockTotal = Atomic(image.blockCount)
        self.copyManager = copyManager
        representedBlocks = RepresentedBlocks(writeGate)
        whenLosing {}
    }

    // MARK: State

    /// NUMBER OF LOGICAL BLOCKS.
    public var blockCount: UInt64 { blockTotal.load(ordering: .acquiring) }
    /// The logical block length in bytes.
    public var blockSize: Int { 1 << Int(blockShift) }
    /// Whether START STOP UNIT has stopped the unit.
    var isStopped: Bool {
        get { stopped.load(ordering: .acquiring) }
        set { stopped.store(newValue, ordering: .releasing) }
    }
    /// WCE: whether a write may end before its data are durable.
    var isWriteCacheEnabled: Bool { writeCache.load(ordering: .relaxed) }
    /// Whether the medium may not be written now.
    var isWriteProtected: Bool { isReadOnly || softwareWriteProtection.load(ordering: .relaxed) }

    /// Whether the host has lost written data and nobody has acknowledged that: until then everything that writes, or
    /// makes durable, ends with MEDIUM ERROR (DATA PROTECT where the host was full).
    public var hasLostData: Bool { image.loss != nil }
    /// Why and since when that is so; nil when it is not.
    public var lossReport: LossReport? { image.lossReport }

    /// Permits writes again after a loss of written data, on an operator's word: nobody else knows what was lost. What
    /// is read from then on is what the host has. It waits for the file system; the answer is nil, or why nothing has
    /// changed.
    public func acknowledgeLoss() -> MediaFailure? { image.acknowledgeLoss() }

    /// Sets what is called at each loss, when `hasLostData` says so already, on a thread that must not be kept.
    public func whenLosing(_ handler: @escaping @Sendable () -> Void) {
        image.observeLosses { [attachedNexuses, representedBlocks] failure in
            // What is read from now on may be older.
            representedBlocks.cancelAll()
            attachedNexuses.establishDeferredError(Self.writeFailure(failure, block: nil))
            handler()
        }
    }

    /// Sets what is called after each loss, on a thread that may wait: with the cause, the time, and why the image
    /// could not be marked, if so, which makes its next opening permit writes.
    public func whenDataLost(_ handler: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        image.observeLossNotes(handler)
    }

    /// Makes the disk larger, and tells every nexus by CAPACITY DATA HAS CHANGED. It waits for the file system.
    ///
    /// A disk does not become smaller: commands that already passed the check of their addresses would reach beyond
    /// its end, and initiators have no way to agree to losing blocks.
    public func resize(to capacity: Int64) throws(DiskResizeError) {
        guard capacity >= image.capacity else { throw .smaller(capacity: image.capacity) }
        guard capacity > image.capacity else { return }
        do throws(DiskImageError) {
            try image.resize(to: capacity)
        } catch {
            throw .image(error)
        }
        blockTotal.store(image.blockCount, ordering: .releasing)
        attachedNexuses.establishUnitAttention(.capacityDataHasChanged)
    }

    // MARK: Commands

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard changesMedium(command) else { return Self.table.execute(command, self, task, nexus) }
        return executeInGate(task, nexus)
    }

    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard task.step == DiskStep.atGate.rawValue else {
            let progress = stepCompleted(task, nexus)
            return changesMedium(task.command) ? settle(task, progress) : progress
        }
        guard changesMedium(task.command) else { return copyPassesGate(task) }
        guard isInsideGate(task) else { return executeInGate(task, nexus, isWoken: true) }
        if writeGate.isWatched { sayChange(task) }
        return settle(task, executeFirstStep(task, nexus))
    }

    public func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fileRequest.payload.lease = nil
        stepAbandoned(task, nexus)
        guard changesMedium(task.command) else { return copyAbandoned(task) }
        if isInsideGate(task) { leaveGate(task) } else { writeGate.wakeNext() }
    }

    public var notReadySense: SenseData? {
        isStopped ? SenseData(.notReady, .initializingCommandRequired) : nil
    }

    public var writeProtectionSense: SenseData? {
        guard isWriteProtected else { return nil }
        return SenseData(.dataProtect, isReadOnly ? .writeProtected : .softwareWriteProtected)
    }

    // MARK: Mode pages

    public var usesDescriptorSense: Bool { descriptorSense.load(ordering: .relaxed) }

    /// Takes the bits that the data path needs from a page's current values.
    public func modePageChanged(_ page: ModePage) {
        switch page.code {
        case DiskModePage.caching:
            writeCache.store(page.current[0] & DiskModePage.writeCacheEnable != 0, ordering: .relaxed)
        case DiskModePage.control:
            descriptorSense.store(page.current[0] & DiskModePage.descriptorSense != 0, ordering: .relaxed)
            softwareWriteProtection.store(
                page.current[2] & DiskModePage.softwareWriteProtect != 0, ordering: .relaxed)
        default: break
        }
    }

    /// A write cache that is disabled leaves nothing behind in it, because an initiator that knows of no cache never
    /// synchronises it.
    public func modeSelectEnding(
        _ task: SCSITask, _ nexus: ITLNexus, changed pages: [ModePage]
    ) -> CommandProgress {
        guard pages.contains(where: { $0.code == DiskModePage.caching }), !isWriteCacheEnabled else {
            return task.good()
        }
        image.beginWriting(task.fileRequest)
        // Not refused: the pages have changed.
        return synchronizeWritten(task, .synchronize)
    }

    // MARK: Events

    public func logicalUnitReset() {
        isStopped = false
        copyManager.forgetResults(of: attachedNexuses.all)
    }

    public func nexusLost(_ nexus: ITLNexus) {
        copyManager.forgetResults(of: [nexus])
    }

    // MARK: The write gate

    func changesMedium(_ command: Int) -> Bool {
        commands.conditions(command).contains(.writesMedium)
    }

    private func needsMediumAlone(_ task: SCSITask) -> Bool {
        let code = task.commandDescriptorBlock.operationCode
        return code == OperationCode.compareAndWrite || code == OperationCode.orWrite16
    }

    /// Whether a command that changes the medium, and comes back from a step or from the gate, has been let in.
    func isInsideGate(_ task: SCSITask) -> Bool {
        task.step != DiskStep.atGate.rawValue || task.fileRequest.context == WriteGate.GateAnswer.entered
    }

    private func leaveGate(_ task: SCSITask) {
        if needsMediumAlone(task) { writeGate.leaveAlone() } else { writeGate.leave() }
    }

    /// Leaves the gate when the command is over.
    private func settle(_ task: SCSITask, _ progress: CommandProgress) -> CommandProgress {
        if progress == .complete { leaveGate(task) }
        return progress
    }

    /// Runs a command that changes the medium when the gate lets it in; `isWoken` when it was parked there.
    private func executeInGate(_ task: SCSITask, _ nexus: ITLNexus, isWoken: Bool = false) -> CommandProgress {
        let entry =
            needsMediumAlone(task)
            ? writeGate.enterAlone(task, isWoken: isWoken) : writeGate.enter(task, isWoken: isWoken)
        switch entry {
        case .parked: return .pending
        case .entered: break
        case .enteredWatched: sayChange(task)
        }
        return settle(task, executeFirstStep(task, nexus))
    }

    /// Makes the ROD tokens invalid that represent blocks which a command in the gate is about to change.
    private func sayChange(_ task: SCSITask) {
        representedBlocks.willChange(changedExtents(task), copyManager.tokens.now)
    }

    private func executeFirstStep(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.step = DiskStep.none.rawValue
        return Self.table.execute(task.command, self, task, nexus)
    }
}

/// Why a disk keeps its size.
public enum DiskResizeError: Error, Equatable, CustomStringConvertible {
    /// The new size is below the present one.
    case smaller(capacity: Int64)
    /// The image could not be resized.
    case image(DiskImageError)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .smaller(let capacity): "a disk cannot become smaller than it is (\(capacity) bytes)"
        case .image(let error): error.description
        }
    }
}
