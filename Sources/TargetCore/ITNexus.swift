public import Platform
public import SCSI
internal import Synchronization

/// One I_T nexus: an initiator port that is logged in to a target port, and its logical units.
///
/// It belongs to the reactor of its session: tasks are submitted and aborted there.
public final class ITNexus: Sendable {
    /// The initiator's end.
    public let initiatorPort: InitiatorPort
    /// The target's end.
    public let targetPort: TargetPort
    /// The target device that the port belongs to.
    public let target: Target
    /// The reactor on which everything of this nexus happens.
    public let reactor: Reactor
    /// The logical units that the initiator sees.
    public let logicalUnits: LogicalUnitMap
    /// Who is at the initiator's end; nil when nobody can say.
    public let owner: NexusOwner?
    /// Who the nexus is for persistent reservations.
    let registrant: Registrant
    /// The ports that the target has now. Any thread.
    let knownTargetPorts: @Sendable () -> [TargetPort]
    /// Counts the commands of the nexus; nil in what stands for a nexus of another reactor.
    let counters: CommandCounters?
    /// The I_T_L nexuses of the numbers that the initiator has addressed.
    private let table: ReactorConfined<LogicalUnitTable<ITLNexus>>
    private let absent: ReactorConfined<ITLNexus?>
    /// Those of the well known logical units that the initiator has addressed.
    private let wellKnown: ReactorConfined<[ITLNexus]>
    /// The unit of all numbers that have none: it keeps nothing.
    private static let absentUnit = LogicalUnit(AbsentDevice())
    private let isLost = Atomic<Bool>(false)
    /// The functions that have not ended; as many as the port lets begin.
    private let functions: ReactorConfined<[ObjectIdentifier: Join]>
    /// Whether the map has changed since the last REPORT LUNS.
    private let hasNewInventory = Atomic<Bool>(false)
    /// Whether the map has changed and the I_T_L nexuses have not learned of it.
    private let hasUntoldChange = Atomic<Bool>(false)
    /// The port's side, which knows the tasks.
    ///
    /// A strong reference that `lose` drops: a weak one would slow down every reference count of the port's object.
    let port: ReactorConfined<(any TaskPort)?>
    /// The ways to the units that live on other reactors.
    private let relays: ReactorConfined<[Relay]>
    /// The way by which this nexus stands for one of another reactor; nil for a session's own.
    private let origin: Relay?

    /// The nexus of two ports, for the logical units of a map (the target's own when nil). On `reactor`.
    ///
    /// It costs the same whatever is in the map: an I_T_L nexus comes into being when the initiator first addresses its
    /// number. Its commands are counted in `counters`, which is for no other nexus. `owner` says who is behind the
    /// initiator port. `knownTargetPorts` gives all ports that the target has by then (only this one when nil):
    /// persistent reservations reach others too, and target port groups are made of them. It is called on any thread,
    /// for few commands.
    public convenience init(
        initiatorPort: InitiatorPort, targetPort: TargetPort, target: Target, logicalUnits: LogicalUnitMap? = nil,
        reactor: Reactor, port: any TaskPort, counters: CommandCounters = CommandCounters(),
        owner: NexusOwner? = nil, knownTargetPorts: (@Sendable () -> [TargetPort])? = nil
    ) {
        self.init(
            initiatorPort: initiatorPort, targetPort: targetPort, target: target, logicalUnits: logicalUnits,
            reactor: reactor, port: port, counters: counters, owner: owner,
            knownTargetPorts: knownTargetPorts ?? { [targetPort] }, origin: nil)
    }

    /// The nexus of a session, or with `origin` what stands for one on the reactor of units that live there.
    init(
        initiatorPort: InitiatorPort, targetPort: TargetPort, target: Target, logicalUnits: LogicalUnitMap?,
        reactor: Reactor, port: any TaskPort, counters: CommandCounters?, owner: NexusOwner?,
        knownTargetPorts: @escaping @Sendable () -> [TargetPort], origin: Relay?
    ) {
        self.initiatorPort = initiatorPort
        self.targetPort = targetPort
        self.target = target
        self.knownTargetPorts = knownTargetPorts
        registrant = Registrant(
            TransportID(bytes: initiatorPort.transportID), target: target.name,
            targetPort: targetPort.relativeIdentifier)
        self.reactor = reactor
        self.port = ReactorConfined(port)
        self.counters = counters
        self.owner = owner
        self.logicalUnits = logicalUnits ?? target.logicalUnits
        table = ReactorConfined(LogicalUnitTable())
        absent = ReactorConfined(nil)
        wellKnown = ReactorConfined([])
        relays = ReactorConfined([])
        self.origin = origin
        functions = ReactorConfined([:])
        absent.value = ITLNexus(
            iTNexus: self, logicalUnit: Self.absentUnit, logicalUnitNumber: LogicalUnitNumber(rawValue: 0))
        if origin == nil { target.attach(self) }
        self.logicalUnits.attach(self)
    }

    /// The part of the nexus for a logical unit number, nil when the initiator sees no such unit. It begins with the
    /// unit attention of a new nexus (SAM-5 clause 5.14) when the number is met for the first time.
    public func unitNexus(_ logicalUnitNumber: LogicalUnitNumber) -> ITLNexus? {
        if hasUntoldChange.load(ordering: .acquiring) { tellOfChange() }
        guard let number = logicalUnitNumber.number else { return wellKnownNexus(logicalUnitNumber) }
        return table.value[number] ?? establish(number)
    }

    private func wellKnownNexus(_ number: LogicalUnitNumber) -> ITLNexus? {
        guard !isLost.load(ordering: .relaxed), let unit = WellKnownDevice.unit(number) else { return nil }
        if let present = wellKnown.value.first(where: { $0.logicalUnit === unit }) { return present }
        let nexus = ITLNexus(iTNexus: self, logicalUnit: unit, logicalUnitNumber: number)
        nexus.establishUnitAttention(.powerOnOrReset)
        if hasNewInventory.load(ordering: .acquiring) { nexus.establishUnitAttention(.reportedLUNsDataHasChanged) }
        wellKnown.change(leaving: []) { $0.append(nexus) }
        return nexus
    }

    /// A reset of a well known unit, or of all (nil), for this nexus: they have no tasks that a reset could meet.
    func resetWellKnownUnits(_ unit: LogicalUnit?) {
        for nexus in wellKnown.value where unit == nil || nexus.logicalUnit === unit {
            nexus.establishUnitAttention(.busDeviceResetOccurred)
        }
    }

    private func establish(_ number: Int) -> ITLNexus? {
        guard !isLost.load(ordering: .relaxed), let unit = logicalUnits[number] else { return nil }
        // The other end of a relay serves the units of its reactor, and has no relays of its own.
        guard origin == nil || unit.homeReactor === reactor else { return nil }
        let relay = unit.homeReactor.flatMap { $0 === reactor ? nil : self.relay(to: $0) }
        let nexus = ITLNexus(
            iTNexus: self, logicalUnit: unit, logicalUnitNumber: LogicalUnitNumber(number), relay: relay,
            unitCounters: relay == nil ? unit.counters(on: reactor) : nil)
        table.change(leaving: LogicalUnitTable()) { $0[number] = nexus }
        // What the unit remembers of the nexus, it remembers at the other end.
        guard relay == nil else { return nexus }
        unit.attach(nexus)
        if hasNewInventory.load(ordering: .acquiring) {
            nexus.establishUnitAttention(.reportedLUNsDataHasChanged)
        }
        return nexus
    }

    /// The I_T_L nexuses of the numbers that the initiator has addressed, in their order.
    public var unitNexuses: [ITLNexus] {
        var nexuses: [ITLNexus] = []
        nexuses.reserveCapacity(table.value.count)
        table.value.forEach { nexuses.append($0) }
        return nexuses
    }

    /// How many I_T_L nexuses the table has room for: a measure of the memory that the nexus costs.
    var tableCapacity: Int { table.value.capacity }

    /// Takes a prepared task. Its outcome comes by the port's `taskEnded`, perhaps before this returns.
    public func submit(_ task: SCSITask) {
        if let nexus = unitNexus(task.logicalUnitNumber) {
            task.bind(nexus)
            nexus.countBegin(task, at: reactor.now)
            if let relay = nexus.relay { return relay.submit(task) }
            nexus.logicalUnit.admit(task, nexus)
        } else {
            guard let nexus = absent.value else { preconditionFailure("a task came after the loss of its nexus") }
            task.bind(nexus)
            nexus.countBegin(task, at: reactor.now)
            nexus.logicalUnit.admit(task, nexus)
        }
    }

    // MARK: Changes of the map

    /// Has REPORTED LUNS DATA HAS CHANGED established at every logical unit (SPC-5 clause 6.33) before the next command
    /// or task management function. On any thread, after the change.
    func inventoryHasChanged() {
        hasNewInventory.store(true, ordering: .releasing)
        hasUntoldChange.store(true, ordering: .releasing)
    }

    private func tellOfChange() {
        guard hasUntoldChange.exchange(false, ordering: .acquiringAndReleasing) else { return }
        guard hasNewInventory.load(ordering: .acquiring) else { return }
        table.value.forEach { $0.establishUnitAttention(.reportedLUNsDataHasChanged) }
        for nexus in wellKnown.value { nexus.establishUnitAttention(.reportedLUNsDataHasChanged) }
    }

    /// Forgets the changes until now: the initiator is about to learn of them by REPORT LUNS, from any of its logical
    /// units.
    func inventoryWillBeReported() {
        forgetInventoryChanges()
        for relay in relays.value { relay.inventoryWillBeReported() }
        origin?.inventoryWillBeReportedFar()
    }

    /// The initiator has learned of the changes at the other end of `relay`.
    func inventoryIsReported(by relay: Relay) {
        forgetInventoryChanges()
        for other in relays.value where other !== relay { other.inventoryWillBeReported() }
    }

    func forgetInventoryChanges() {
        guard hasNewInventory.exchange(false, ordering: .acquiringAndReleasing) else { return }
        table.value.forEach { $0.clearUnitAttention(.reportedLUNsDataHasChanged) }
        for nexus in wellKnown.value { nexus.clearUnitAttention(.reportedLUNsDataHasChanged) }
    }

    /// Ends the I_T_L nexus of a unit that is no longer in the map: its tasks end, and `countdown` waits for those that
    /// are with the medium. On the reactor.
    func withdraw(_ unit: LogicalUnit, at number: Int, _ countdown: Countdown) {
        guard let nexus = table.value[number], nexus.logicalUnit === unit else {
            // The nexus may have been lost since the change, with tasks.
            return countdown.wait(for: unit.lostTasks)
        }
        table.change(leaving: LogicalUnitTable()) { $0[number] = nil }
        abortTasks(.unitIsGone, where: { $0.nexus === nexus }, whenPending: Self.noteLost)
        countdown.wait(for: unit.lostTasks)
        if nexus.relay == nil { unit.detach(nexus) }
    }

    // MARK: Units of other reactors

    /// The way to the units on `home`.
    private func relay(to home: Reactor) -> Relay {
        if let relay = relays.value.first(where: { $0.far === home }) { return relay }
        let relay = Relay(self, to: home, hasNewInventory: hasNewInventory.load(ordering: .acquiring))
        relays.change(leaving: []) { $0.append(relay) }
        return relay
    }

    /// The ways to all units of the map that live on other reactors, addressed or not, or to those that have been
    /// addressed.
    func relays(forAllUnits: Bool) -> [Relay] {
        // What stands for a session has none: each of the session's does its own.
        guard origin == nil else { return [] }
        if forAllUnits {
            logicalUnits.table.forEach { unit in
                if let home = unit.homeReactor, home !== reactor { _ = relay(to: home) }
            }
        }
        return relays.value
    }

    /// Whether tasks of the session for the unit are performed by this nexus.
    func performs(_ unit: LogicalUnit) -> Bool {
        unit.homeReactor == nil ? origin == nil : unit.homeReactor === reactor
    }

    // MARK: Functions

    /// A function begins, on the reactor.
    func begin(_ function: Join) {
        guard !isLost.load(ordering: .relaxed) else { return function.withdraw() }
        functions.change(leaving: [:]) { $0[ObjectIdentifier(function)] = function }
    }

    /// It is complete.
    func end(_ function: Join) {
        functions.change(leaving: [:]) { $0[ObjectIdentifier(function)] = nil }
    }

    // MARK: End

    /// Ends the nexus: its tasks are aborted, reservations and preventions that end with it are released
    /// (SAM-5 clause 6.3.4), and its functions are not completed. The port calls it once, on the reactor.
    public func lose() {
        guard isLost.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        // Before the map forgets the nexus: one of them knows of its tasks.
        abortTasks(where: { _ in true }, whenPending: Self.noteLost)
        logicalUnits.detach(self)
        table.value.forEach { if $0.relay == nil { $0.logicalUnit.detach($0) } }
        for relay in relays.value { relay.lose() }
        relays.value = []
        target.detach(self)
        table.value = LogicalUnitTable()
        for function in functions.value.values { function.withdraw() }
        functions.value = [:]
        // They refer to this object.
        absent.value = nil
        wellKnown.value = []
        port.value = nil
    }
}

/// What a logical unit number answers that has no unit (SPC-5 clause 6.6.1, SAM-5 clause 5.9.4).
private final class AbsentDevice: DeviceServer {
    private static let table = CommandTable<AbsentDevice>([
        CommonCommands.inquiry(), CommonCommands.reportLUNs(), CommonCommands.requestSense(),
    ])

    let identity = DeviceIdentity(vendor: "", product: "", revision: "", serialNumber: "", naa: 0)
    let traits = InquiryTraits(type: .unknown, isPresent: false)
    let commands = AbsentDevice.table.commands
    let modePages = ModePages([])
    let attachedNexuses = AttachedNexuses()

    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }

    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.execute(command, self, task, nexus)
    }

    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        task.fail(.hardwareError, .internalTargetFailure)
    }

    func polledSense(_ nexus: ITLNexus) -> SenseData {
        SenseData(.illegalRequest, .logicalUnitNotSupported)
    }

    func standardInquiryData(_ standard: [UInt8]) -> [UInt8] {
        // Peripheral qualifier 011b: no device can be here.
        [0x7F] + standard.dropFirst()
    }

    func unknownCommand(_ lookup: CommandLookup, _ task: SCSITask) -> CommandProgress {
        task.fail(.illegalRequest, .logicalUnitNotSupported)
    }
}
