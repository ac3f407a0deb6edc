public import SCSI
internal import Synchronization

/// A logical unit: what SAM and SPC say of all device types. Device types are its subclasses.
///
/// A serial unit (`isSerial`) is used on one reactor only, and runs one command at a time. Any other is used on all
/// reactors at once: its task sets are separate for each I_T nexus (TST 001b, SPC-5 clause 7.5.8), so that ordering
/// needs no agreement between threads.
open class LogicalUnit: @unchecked Sendable {
    /// What the unit says it is.
    public let identity: DeviceIdentity
    /// The fields of standard INQUIRY data that are not the identity.
    public let traits: InquiryTraits
    /// The attributes of its commands.
    public let commands: CommandSet
    /// Whether one command at a time runs, over all nexuses.
    public let isSerial: Bool
    /// The mode pages.
    public let modePages: ModePages

    private let nexuses = Mutex<[ITLNexus]>([])
    let reservation = Reservation()
    /// The task set of a serial unit.
    private var serialTaskSet = TaskSet()

    /// A unit with its type's commands and mode pages.
    public init(
        identity: DeviceIdentity, traits: InquiryTraits, commands: CommandSet, isSerial: Bool = false,
        modePages: ModePages = ModePages([])
    ) {
        self.identity = identity
        self.traits = traits
        self.commands = commands
        self.isSerial = isSerial
        self.modePages = modePages
    }

    // MARK: What a device type implements

    /// Runs the first handler of a row of the type's table: `table.begin(command, self, task)`.
    open func begin(_ command: Int, _ task: SCSITask) -> CommandProgress {
        preconditionFailure("a device type must run its commands")
    }

    /// Runs the second handler of a row: `table.execute(command, self, task)`.
    open func execute(_ command: Int, _ task: SCSITask) -> CommandProgress {
        preconditionFailure("a device type whose commands take data must run them")
    }

    /// Goes on with a pending task whose file operation is complete (`task.fileRequest` has its result).
    open func fileCompleted(_ task: SCSITask) -> CommandProgress {
        preconditionFailure("a device type that starts file operations must finish them")
    }

    /// Lets go of what an aborted task holds when its file operation is complete; `fileCompleted` is not called then.
    open func fileAbandoned(_ task: SCSITask) {}

    /// Why commands that need a ready unit cannot be processed now; nil when the unit is ready.
    open func notReadySense(_ task: SCSITask) -> SenseData? { nil }

    /// Whether ports encode sense data in descriptor format: D_SENSE of the Control mode page (SPC-5 clause 7.5.10).
    open var usesDescriptorSense: Bool { false }

    /// Why commands that change the medium cannot be processed now; nil when it may be written.
    open func writeProtectionSense(_ task: SCSITask) -> SenseData? { nil }

    /// What REQUEST SENSE reports when no unit attention waits.
    open func polledSense(_ nexus: ITLNexus) -> SenseData {
        SenseData(.noSense, .noAdditionalSenseInformation)
    }

    /// The bytes of a VPD page from byte 4 on; nil when the page is not supported. Pages 00h, 80h and 83h are made by
    /// the base class.
    open func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? { nil }

    /// The codes of the VPD pages that `vitalProductData` makes.
    open var vitalProductDataPages: [UInt8] { [] }

    /// DEVICE-SPECIFIC PARAMETER of the mode parameter header.
    open func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 { 0 }

    /// MEDIUM TYPE of the mode parameter header.
    open func modeMediumType(_ nexus: ITLNexus) -> UInt8 { 0 }

    /// The mode parameter block descriptor, 8 bytes (or 16 when `isLong`), or none.
    open func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] { [] }

    /// A mode page as this nexus sees it: a chance to fill in fields that are not stored in the page.
    open func modePageContent(_ page: ModePage, control: ModePageControl, nexus: ITLNexus) -> [UInt8] {
        page.content(control)
    }

    /// Takes the header's device-specific parameter and the block descriptor (empty when there is none) of a MODE
    /// SELECT. Called with `isCommitting` false first, to check everything before anything changes. The answer is a
    /// sense value when they are refused.
    open func selectModeHeader(
        deviceSpecificParameter: UInt8, blockDescriptor: [UInt8], blockDescriptorOffset: Int, task: SCSITask,
        isCommitting: Bool
    ) -> SenseData? { nil }

    /// Checks a changed mode page, which already satisfied its changeable mask; `offset` is the page's place in the
    /// parameter list.
    open func checkModePage(_ page: ModePage, newContent: [UInt8], offset: Int, task: SCSITask) -> SenseData? { nil }

    /// Tells that a mode page has changed.
    open func modePageChanged(_ page: ModePage, nexus: ITLNexus) {}

    /// The log parameters of a log page, from byte 4 on; nil when there is no such page.
    open func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? { nil }

    /// The codes of the log pages that `logPage` makes, sorted, without page 00h.
    open var logPages: [UInt8] { [] }

    /// Tells that a nexus has been added.
    open func nexusEstablished(_ nexus: ITLNexus) {}

    /// Tells that a nexus is gone.
    open func nexusLost(_ nexus: ITLNexus) {}

    /// The effects of a logical unit reset that are the type's own (SAM-5 clause 6.3.3).
    open func reset() {}

    /// The outcome of a command that the table does not have.
    open func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        lookup == .unknownServiceAction
            ? task.failInvalidField(byte: 1, bit: 4)
            : task.fail(
                SenseData(
                    .illegalRequest, .invalidCommandOperationCode,
                    fieldPointer: FieldPointer(isInCommand: true, byte: 0)))
    }

    /// Standard INQUIRY data.
    open func standardInquiryData() -> [UInt8] { traits.standardData(identity) }

    // MARK: Nexuses

    /// The nexuses that use the unit.
    public var attachedNexuses: [ITLNexus] { nexuses.withLock { $0 } }

    func attach(_ nexus: ITLNexus) {
        nexuses.withLock { list in
            nexus.listPosition = list.count
            list.append(nexus)
        }
        nexus.establishUnitAttention(.powerOnOrReset)
        nexusEstablished(nexus)
    }

    func detach(_ nexus: ITLNexus) {
        nexuses.withLock { list in
            let position = nexus.listPosition
            guard position >= 0, let last = list.popLast() else { return }
            if last !== nexus {
                list[position] = last
                last.listPosition = position
            }
            nexus.listPosition = -1
        }
        nexus.preventsMediumRemoval = false
        reservation.release(by: nexus)
        nexusLost(nexus)
    }

    /// Lets a unit attention wait for all nexuses, or for all but one.
    public func establishUnitAttention(_ code: AdditionalSenseCode, except: ITLNexus? = nil) {
        for nexus in attachedNexuses where nexus !== except { nexus.establishUnitAttention(code) }
    }

    /// Establishes a deferred error for every nexus whose buffered writes may be lost. Any thread.
    public func establishDeferredError(_ sense: SenseData) {
        for nexus in attachedNexuses where nexus.hasBufferedWrites { nexus.establishDeferredError(sense) }
    }

    /// Whether any nexus prevents the removal of the medium.
    public var isMediumRemovalPrevented: Bool {
        nexuses.withLock { $0.contains(where: \.preventsMediumRemoval) }
    }

    // MARK: The way of a task

    /// Takes a task from its nexus: finds its command, orders it, starts it.
    final func admit(_ task: SCSITask, _ nexus: ITLNexus) {
        let block = task.commandDescriptorBlock
        let lookup = commands.find(operationCode: block.operationCode, serviceAction: block.serviceAction)
        if case .command(let command) = lookup {
            task.fields.command = command
            let ordering = commands.attributes[command].ordering
            task.fields.orderingClass =
                ordering == .immediate
                ? .immediate : isSerial || task.attribute == .ordered ? .exclusive : ordering
        } else {
            task.fields.command = -1
            task.fields.orderingClass = .immediate
        }
        task.fields.state = .running
        let mayStart = isSerial ? serialTaskSet.admit(task) : nexus.taskSet.admit(task)
        if mayStart { start(task, nexus) }
    }

    /// Runs the checks that come before the command's own (SPC-5 clause 4.5), then its first handler.
    private func start(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fields.state = .running
        guard task.command >= 0 else {
            if let attention = nexus.takeUnitAttention() {
                return proceed(task, task.fail(.unitAttention, attention))
            }
            let block = task.commandDescriptorBlock
            let lookup = commands.find(operationCode: block.operationCode, serviceAction: block.serviceAction)
            return proceed(task, unknownCommand(lookup, task))
        }
        // A copy of all attributes would count references.
        let conditions = commands.attributes[task.command].conditions
        if nexus.hasUnitAttention, !conditions.contains(.allowedWithUnitAttention),
            let attention = nexus.takeUnitAttention()
        {
            return proceed(task, task.fail(.unitAttention, attention))
        }
        if nexus.hasDeferredError, !conditions.contains(.allowedWithUnitAttention),
            let sense = nexus.takeDeferredError()
        {
            return proceed(task, task.fail(sense))
        }
        if reservation.conflicts(with: nexus), !conditions.contains(.allowedWhenReserved) {
            return proceed(task, task.end(.reservationConflict))
        }
        if let field = commands.attributes[task.command].invalidField(of: task.commandDescriptorBlock) {
            return proceed(task, task.failInvalidField(byte: field.byte, bit: field.bit))
        }
        if !conditions.contains(.allowedWhenNotReady), let sense = notReadySense(task) {
            return proceed(task, task.fail(sense))
        }
        if conditions.contains(.writesMedium), let sense = writeProtectionSense(task) {
            return proceed(task, task.fail(sense))
        }
        proceed(task, begin(task.command, task))
    }

    /// Does what a handler asked for.
    private func proceed(_ task: SCSITask, _ progress: CommandProgress) {
        switch progress {
        case .complete: end(task)
        case .pending: task.fields.state = .pending
        case .awaitDataOut(let length, let blockLength):
            task.fields.requestedDataOutLength = length
            let offered = min(length, task.expectedDataOutLength)
            guard offered == length || blockLength > 0 && offered % blockLength == 0 else {
                // An incomplete parameter list or block is of no use: nothing is taken.
                return proceed(task, task.fail(.illegalRequest, .invalidFieldInCommandInformationUnit))
            }
            guard offered > 0 else {
                // Data that came with the command unasked is not for it.
                task.dataOut = nil
                return proceed(task, execute(task.command, task))
            }
            task.fields.state = .awaitingDataOut
            task.port.requestDataOut(task, length: offered)
        }
    }

    final func dataOutArrived(_ task: SCSITask) {
        precondition(task.state == .awaitingDataOut, "data arrived for a task that did not ask for it")
        task.fields.state = .running
        proceed(task, execute(task.command, task))
    }

    final func fileRequestCompleted(_ task: SCSITask) {
        if task.isAborted {
            fileAbandoned(task)
            return end(task)
        }
        task.fields.state = .running
        proceed(task, fileCompleted(task))
    }

    /// Ends a task and starts those that waited for it.
    final func end(_ task: SCSITask) {
        guard let nexus = task.nexus else { preconditionFailure("a task ends once") }
        task.fields.state = .ended
        let wasAborted = task.isAborted
        let hasWaiting = isSerial ? serialTaskSet.leave(task) : nexus.taskSet.leave(task)
        if wasAborted {
            let whenAborted = task.whenAborted.take()
            endAborted(task)
            whenAborted?()
        } else {
            task.port.taskEnded(task)
        }
        if hasWaiting { startWaiting(nexus) }
    }

    /// Tells the port of the end of an aborted task.
    private func endAborted(_ task: SCSITask) {
        guard task.fields.isUnitGone else { return task.port.taskAborted(task) }
        task.dataIn = nil
        _ = task.fail(.illegalRequest, .logicalUnitNotSupported)
        task.port.taskEnded(task)
    }

    private func startWaiting(_ nexus: ITLNexus) {
        while let next = isSerial ? serialTaskSet.nextToStart() : nexus.taskSet.nextToStart() {
            guard let nextNexus = next.nexus else { preconditionFailure("a waiting task has a nexus") }
            start(next, nextNexus)
        }
    }

    /// Aborts a task: at once when it waits, and when it comes back from the medium otherwise. The initiator gets no answer, unless
    /// it is the unit that is gone.
    final func abort(_ task: SCSITask, isUnitGone: Bool = false) {
        guard let nexus = task.nexus else { return }
        guard !task.isAborted else {
            if !isUnitGone { task.fields.isUnitGone = false }
            return
        }
        task.fields.isUnitGone = isUnitGone
        switch task.state {
        case .idle, .ended, .running: return
        case .pending: task.fields.isAborted = true
        case .blocked:
            task.fields.isAborted = true
            if isSerial { serialTaskSet.removeBlocked(task) } else { nexus.taskSet.removeBlocked(task) }
            task.fields.state = .ended
            endAborted(task)
        case .awaitingDataOut:
            task.fields.isAborted = true
            end(task)
        }
    }
}

extension SCSITask {
    /// Aborts the task. The port's `taskAborted` follows, perhaps before this returns.
    public func abort() {
        nexus?.logicalUnit.abort(self)
    }
}
