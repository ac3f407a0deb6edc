public import Platform
public import SCSI
internal import Synchronization

/// One I_T nexus: an initiator port that is logged in to a target port, and its logical units.
///
/// It belongs to the reactor of its session: tasks are submitted and aborted there.
public final class ITNexus: Sendable {
    /// The name of the initiator port: for iSCSI the initiator's name with its ISID, as SAM-5 annex A gives it.
    public let initiatorPortName: String
    /// The target.
    public let target: Target
    /// The reactor on which everything of this nexus happens.
    public let reactor: Reactor
    /// The logical units by number. An initiator sees only what this table holds.
    private let units: ReactorConfined<[LogicalUnitNexus?]>
    private let absent: ReactorConfined<LogicalUnitNexus?>
    private let isLost = Atomic<Bool>(false)
    /// The port's side, which knows the tasks.
    ///
    /// A strong reference that `lose` drops: a weak one would slow down every reference count of the port's object.
    private let mover: ReactorConfined<(any DataMover)?>

    /// The nexus of `initiatorPortName` with `target`: every logical unit of `logicalUnits` (the target's own when nil) is
    /// attached, with the unit attention of a new nexus. On `reactor`.
    public init(
        initiatorPortName: String, target: Target, logicalUnits: LogicalUnitMap? = nil, reactor: Reactor,
        mover: any DataMover
    ) {
        self.initiatorPortName = initiatorPortName
        self.target = target
        self.reactor = reactor
        self.mover = ReactorConfined(mover)
        units = ReactorConfined([])
        absent = ReactorConfined(nil)
        let map = (logicalUnits ?? target.logicalUnits).all
        var table = [LogicalUnitNexus?](repeating: nil, count: (map.keys.max() ?? -1) + 1)
        for (number, unit) in map {
            let nexus = LogicalUnitNexus(
                iTNexus: self, logicalUnit: unit, logicalUnitNumber: LogicalUnitNumber(number))
            table[number] = nexus
            unit.attach(nexus)
        }
        units.value = table
        absent.value = LogicalUnitNexus(
            iTNexus: self, logicalUnit: AbsentLogicalUnit(), logicalUnitNumber: LogicalUnitNumber(rawValue: 0))
        target.attach(self)
    }

    /// The part of the nexus for a logical unit number, nil when the initiator sees no such unit.
    public func logicalUnitNexus(_ logicalUnitNumber: LogicalUnitNumber) -> LogicalUnitNexus? {
        guard let number = logicalUnitNumber.number, number < units.value.count else { return nil }
        return units.value[number]
    }

    /// All attached logical units.
    public var logicalUnitNexuses: [LogicalUnitNexus] { units.value.compactMap(\.self) }

    /// Takes a prepared task. Its outcome comes by the port's `taskEnded`, perhaps before this returns.
    public func submit(_ task: SCSITask) {
        if let nexus = logicalUnitNexus(task.logicalUnitNumber) {
            task.bind(nexus)
            nexus.logicalUnit.admit(task, nexus)
        } else {
            guard let nexus = absent.value else { preconditionFailure("a task came after the loss of its nexus") }
            task.bind(nexus)
            nexus.logicalUnit.admit(task, nexus)
        }
    }

    /// Calls `body` with every task that has not ended.
    func forEachTask(_ body: (SCSITask) -> Void) {
        mover.value?.forEachTask(body)
    }

    /// Aborts the tasks that `isMeant` selects and that wait for others; whether there was one. It comes before the abort of
    /// those that they wait for, which would start them.
    @discardableResult
    func abortWaiting(where isMeant: (SCSITask) -> Bool) -> Bool {
        var hadTask = false
        forEachTask { task in
            guard task.state == .blocked, isMeant(task) else { return }
            hadTask = true
            task.abort()
        }
        return hadTask
    }

    /// Ends the nexus: its tasks are aborted, reservations and preventions that end with it are released
    /// (SAM-5 clause 6.3.4). The port calls it once, on the reactor.
    public func lose() {
        guard isLost.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        abortWaiting { _ in true }
        forEachTask { $0.abort() }
        for case .some(let nexus) in units.value { nexus.logicalUnit.detach(nexus) }
        target.detach(self)
        units.value = []
        mover.value = nil
    }
}

/// What a logical unit number answers that has no unit (SPC-5 clause 6.6.1, SAM-5 clause 5.9.4).
final class AbsentLogicalUnit: LogicalUnit, @unchecked Sendable {
    private static let table = CommandTable<AbsentLogicalUnit>([
        CommonCommands.inquiry(), CommonCommands.reportLUNs(), CommonCommands.requestSense(),
    ])

    init() {
        super.init(
            identity: DeviceIdentity(vendor: "", product: "", revision: "", serialNumber: "", naa: 0),
            traits: InquiryTraits(type: .unknown, isPresent: false), commands: Self.table.commands)
    }

    override func begin(_ command: Int, _ task: SCSITask) -> CommandProgress {
        Self.table.begin(command, self, task)
    }

    override func polledSense(_ nexus: LogicalUnitNexus) -> SenseData {
        SenseData(.illegalRequest, .logicalUnitNotSupported)
    }

    override func standardInquiryData() -> [UInt8] {
        // Peripheral qualifier 011b: no device can be here.
        var bytes = super.standardInquiryData()
        bytes[0] = 0x7F
        return bytes
    }

    override func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        task.fail(.illegalRequest, .logicalUnitNotSupported)
    }
}
