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
    public let commands: CommandSet
    public let modePages: ModePages
    public let attachedNexuses = AttachedNexuses()

    /// The medium.
    public let image: any DiskImage
    /// The logical block length is two to this power.
    let blockShift: UInt64
    /// What it says of itself.
    let attributes: DiskAttributes
    /// The type of its protection information, if it has any, and the variant of its commands: 0 for none. It changes
    /// at the end of a format operation, before commands are processed again.
    let presentProtection: Atomic<UInt8>
    /// Its commands, in a variant for each type of protection information.
    let table: CommandTable<DiskDeviceServer>
    /// What keeps the type of protection information, if anything does.
    let protectionKeeper: (any DiskProtectionKeeper)?
    /// Called when something has become of an operation on all blocks.
    let operationWatcher: (@Sendable (DiskOperationNotice) -> Void)?
    /// Keeps COMPARE AND WRITE and ORWRITE atomic against all other commands that change the medium.
    let writeGate = WriteGate()
    /// Odd while an atomic write is under way: reads that were there before, or during it, are repeated (`DiskReads`).
    let atomicWriteCount = Atomic<UInt64>(0)
    /// The ROD tokens that represent blocks of this disk.
    let representedBlocks: RepresentedBlocks
    /// What the copy manager of this disk shares with those of others.
    let copyManager: CopyManager

    /// NUMBER OF LOGICAL BLOCKS. It only grows, unless the content is replaced.
    private let blockTotal: Atomic<UInt64>
    /// `Conditions`.
    private let conditionWord: Atomic<UInt32>
    /// The operation on all blocks, if there is one.
    let operations = Lock(MediumOperationState())
    /// Counts the ejections that have begun, and the contents that have come: `mediumGeneration`.
    let ejectionCount = Atomic<UInt32>(0)
    /// Whether the medium is being ejected or loaded.
    let isMoving = Atomic<Bool>(false)
    /// What keeps the state of the medium, if anything does.
    let mediumKeeper = Lock<(any DiskMediumKeeper)?>(nil)
    /// How much may be used before initiators are told.
    let thresholdState = Lock(DiskThreshold())
    /// Why the medium may not be written, `WriteProtection`; nothing when it may.
    private let writeProtection: Atomic<UInt8>

    // Bits of mode pages that the data path needs.
    private let writeCache: Atomic<Bool>
    private let ignoresProtection = Atomic<Bool>(false)

    /// A disk over `image`, of a removable one also with its medium ejected. Whether data go past the page cache is
    /// the image's matter here (`DiskImage.setDirect`), and `setCachePolicy`'s later. Copies find the disks of
    /// `copyManager`. When an operation on all blocks changes the type of protection information, also one that goes on
    /// from now, `protectionKeeper` keeps it. `operationWatcher` is told of such operations, on a thread that must not
    /// be kept.
    public init(
        image: any DiskImage, identity: DeviceIdentity, attributes: DiskAttributes = DiskAttributes(),
        isReadOnly: Bool = false, isEjected: Bool = false, cache: DiskCachePolicy = .writeBack,
        copyManager: CopyManager = CopyManager(), protectionKeeper: (any DiskProtectionKeeper)? = nil,
        operationWatcher: (@Sendable (DiskOperationNotice) -> Void)? = nil
    ) {
        self.identity = identity
        self.image = image
        self.attributes = attributes
        presentProtection = Atomic(image.protection?.rawValue ?? 0)
        table = Self.table(
            isRemovable: attributes.isRemovable, isEncrypted: image.isEncrypted,
            changesProtection: image.canChangeProtection)
        commands = table.commands
        blockShift = UInt64(image.blockSize.trailingZeroBitCount)
        blockTotal = Atomic(image.blockCount)
        modePages = DiskModePage.all(cache, isProtected: image.protection != nil)
        writeCache = Atomic(cache != .writeThrough)
        conditionWord = Atomic(isEjected && attributes.isRemovable ? Conditions.ejected.rawValue : 0)
        let reasons: WriteProtection = isReadOnly ? .readOnly : []
        writeProtection = Atomic(reasons.union(image.isReadOnly ? .image : []).rawValue)
        self.copyManager = copyManager
        self.protectionKeeper = protectionKeeper
        self.operationWatcher = operationWatcher
        representedBlocks = RepresentedBlocks(writeGate)
        whenLosing {}
        image.observeReplacement { [weak self] in self?.contentReplaced() }
        resumeOperation()
    }

    deinit {
        if case .running(_, let runner) = operations.withLock({ $0.phase }) { runner.stopSoon() }
    }

    // MARK: State

    /// NUMBER OF LOGICAL BLOCKS.
    public var blockCount: UInt64 { blockTotal.load(ordering: .acquiring) }
    /// The logical block length in bytes.
    public var blockSize: Int { 1 << Int(blockShift) }
    /// Whether START STOP UNIT has stopped the unit.
    var isStopped: Bool {
        get { conditions.contains(.stopped) }
        set { replaceConditions(.stopped, with: newValue ? .stopped : []) }
    }
    /// What keeps commands from being processed.
    var conditions: Conditions { Conditions(rawValue: conditionWord.load(ordering: .acquiring)) }

    /// Replaces the conditions in `mask`, and no others.
    func replaceConditions(_ mask: Conditions, with new: Conditions) {
        // In this order, so that no command finds none of two that follow one another.
        conditionWord.bitwiseOr(new.rawValue, ordering: .acquiringAndReleasing)
        conditionWord.bitwiseAnd(~mask.subtracting(new).rawValue, ordering: .acquiringAndReleasing)
    }
    /// WCE: whether a write may end before its data are durable.
    var isWriteCacheEnabled: Bool { writeCache.load(ordering: .relaxed) }
    /// DPICZ: whether protection information is not checked for commands that say nothing of it.
    var isProtectionIgnored: Bool { ignoresProtection.load(ordering: .relaxed) }
    /// Whether the medium may not be written now.
    var isWriteProtected: Bool { writeProtection.load(ordering: .relaxed) != 0 }
    /// Whether an operator forbids writes, whatever mode parameters say.
    var isReadOnly: Bool {
        WriteProtection(rawValue: writeProtection.load(ordering: .relaxed)).contains(.readOnly)
    }

    /// Permits writes, or forbids them, whatever mode parameters say. All nexuses are told that mode parameters (WP)
    /// have changed; writes that have begun end as ever.
    public func setReadOnly(_ isReadOnly: Bool) {
        guard writeProtection.set(WriteProtection.readOnly, isReadOnly) else { return }
        attachedNexuses.establishUnitAttention(.modeParametersChanged)
    }

    /// Whether the host has lost written data and nobody has acknowledged that: until then everything that writes, or
    /// makes durable, ends with MEDIUM ERROR (DATA PROTECT where the host was full).
    public var hasLostData: Bool { image.loss != nil }
    /// Why and since when that is so; nil when it is not.
    public var lossReport: LossReport? { image.lossReport }

    /// Permits writes again after a loss of written data, on an operator's word: nobody else knows what was lost. What
    /// is read from then on is what the host has. It waits for the file system; the answer is nil, or why nothing has
    /// changed.
    public func acknowledgeLoss() -> MediaFailure? {
        if let failure = image.acknowledgeLoss() { return failure }
        // Nobody knows which blocks are still what they represent.
        representedBlocks.cancelAll()
        return nil
    }

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
        replaceThresholdPage()
        attachedNexuses.establishUnitAttention(.capacityDataHasChanged)
    }

    /// Tells every nexus that the disk has another content, of another capacity perhaps: commands that have begun with
    /// the former one do not go on with this one. The image says so by itself (`DiskImage.observeReplacement`).
    public func contentReplaced() {
        let count = image.blockCount
        let hasOtherCapacity = blockTotal.exchange(count, ordering: .acquiringAndReleasing) != count
        // Commands that have looked at it before find another number later, and reads that are under way are repeated.
        ejectionCount.wrappingAdd(1, ordering: .acquiringAndReleasing)
        atomicWriteCount.wrappingAdd(2, ordering: .acquiringAndReleasing)
        representedBlocks.cancelAll()
        _ = writeProtection.set(WriteProtection.image, image.isReadOnly)
        if hasOtherCapacity { replaceThresholdPage() }
        attachedNexuses.establishUnitAttention(.mediumMayHaveChanged)
        if hasOtherCapacity { attachedNexuses.establishUnitAttention(.capacityDataHasChanged) }
    }

    // MARK: Commands

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.noteMediumGeneration(mediumGeneration)
        return table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        // The medium may have gone since the Data-Out was asked for, or have another content.
        if !commands.conditions(command).contains(.allowedWhenNotReady),
            let sense = attributes.isRemovable ? notReadySense ?? otherMediumSense(task) : otherMediumSense(task)
        {
            task.dataOut.lease = nil
            return task.fail(sense)
        }
        guard changesMedium(command) else { return executeCommand(task, nexus) }
        return executeInGate(task, nexus)
    }

    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard task.step == DiskStep.atGate.rawValue else {
            let progress = stepCompleted(task, nexus)
            return changesMedium(task.command) ? settle(task, progress) : progress
        }
        guard changesMedium(task.command) else {
            if isThirdPartyCopy(task) { return copyPassesGate(task) }
            return isStartStop(task) ? ejectionPassesGate(task) : readInGate(task, isWoken: true)
        }
        guard isInsideGate(task) else { return executeInGate(task, nexus, isWoken: true) }
        if writeGate.isWatched { sayChange(task) }
        return settle(task, executeFirstStep(task, nexus))
    }

    public func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fileRequest.payload.lease = nil
        stepAbandoned(task, nexus)
        guard changesMedium(task.command) else {
            if isThirdPartyCopy(task) {
                copyAbandoned(task)
            } else if isStartStop(task) {
                if task.step == DiskStep.atGate.rawValue { ejectionAbandonedAtGate(task) }
            } else if task.step == DiskStep.atGate.rawValue {
                writeGate.wakeNext()
            }
            return
        }
        if isInsideGate(task) { leaveGate(task) } else { writeGate.wakeNext() }
    }

    public var notReadySense: SenseData? {
        conditions.isEmpty ? nil : conditionSense()
    }

    /// One more with each ejection that begins, and each content that takes the place of another.
    public var mediumGeneration: UInt32 { ejectionCount.load(ordering: .acquiring) }

    public var writeProtectionSense: SenseData? {
        let reasons = WriteProtection(rawValue: writeProtection.load(ordering: .relaxed))
        guard !reasons.isEmpty else { return nil }
        return SenseData(.dataProtect, reasons == .software ? .softwareWriteProtected : .writeProtected)
    }

    // MARK: Mode pages

    /// Takes the bits that the data path needs from a page's current values.
    public func modePageChanged(_ page: ModePage) {
        switch page.code {
        case DiskModePage.caching:
            writeCache.store(page.current[0] & DiskModePage.writeCacheEnable != 0, ordering: .relaxed)
        case ControlModePage.code where page.subpage == 0:
            _ = writeProtection.set(
                WriteProtection.software, page.current[2] & ControlModePage.softwareWriteProtect != 0)
            ignoresProtection.store(
                page.current[0] & ControlModePage.disablesProtectionCheck != 0, ordering: .relaxed)
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

    /// Whether the command is one of a copy manager.
    private func isThirdPartyCopy(_ task: SCSITask) -> Bool {
        task.commandDescriptorBlock.operationCode == OperationCode.thirdPartyCopyOut
    }

    /// Whether the command is START STOP UNIT, which passes the gate when it ejects the medium.
    private func isStartStop(_ task: SCSITask) -> Bool {
        task.commandDescriptorBlock.operationCode == OperationCode.startStopUnit
    }

    func changesMedium(_ command: Int) -> Bool {
        commands.conditions(command).contains(.writesMedium)
    }

    private func needsMediumAlone(_ task: SCSITask) -> Bool {
        switch task.commandDescriptorBlock.operationCode {
        case OperationCode.compareAndWrite, OperationCode.orWrite16, OperationCode.writeAtomic16,
            OperationCode.sanitize, OperationCode.formatUnit:
            true
        default: false
        }
    }

    private func beginsOperation(_ task: SCSITask) -> Bool {
        let code = task.commandDescriptorBlock.operationCode
        return code == OperationCode.sanitize || code == OperationCode.formatUnit
    }

    /// Whether a command that changes the medium, and comes back from a step or from the gate, has been let in.
    func isInsideGate(_ task: SCSITask) -> Bool {
        task.step != DiskStep.atGate.rawValue || task.fileRequest.context == WriteGate.GateAnswer.entered
    }

    func leaveGate(_ task: SCSITask) {
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

    /// Why a command that has passed the gate is not performed any more; nil when it is. It may have been admitted
    /// before the operation that it has waited for at the gate, or before an ejection.
    func senseBehindGate(_ task: SCSITask) -> SenseData? {
        if !conditions.isDisjoint(with: [.ofOperations, .ejected]), !beginsOperation(task), let sense = conditionSense()
        {
            return sense
        }
        return hasMedium ? otherMediumSense(task) : nil
    }

    /// Notes that a command is about to change blocks; what it ends with when the medium, or its content, is not the
    /// one any more that it has begun with.
    func beginWriting(_ task: SCSITask) -> SenseData? {
        image.beginWriting(task.fileRequest)
        // In this order: a content that comes from now on is one of which the image knows that the command is not for
        // it.
        return otherMediumSense(task)
    }

    /// What a command ends with that has begun with a medium which was ejected since, or with a content that was
    /// replaced; its data are not for this one.
    func otherMediumSense(_ task: SCSITask) -> SenseData? {
        task.mediumGeneration == mediumGeneration ? nil : SenseData(.unitAttention, .mediumMayHaveChanged)
    }

    private func executeFirstStep(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.step = DiskStep.none.rawValue
        if let sense = senseBehindGate(task) {
            task.dataOut.lease = nil
            return task.fail(sense)
        }
        return executeCommand(task, nexus)
    }

    /// Runs a command whose Data-Out is there: when that has protection information, after a look at it.
    private func executeCommand(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        if carriesProtection(task) {
            if let sense = formerProtectionSense(task) {
                task.dataOut.lease = nil
                return task.fail(sense)
            }
            if let progress = checkDataOut(task) { return progress }
        }
        return table.execute(task.command, self, task, nexus)
    }
}
