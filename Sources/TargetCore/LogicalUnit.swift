public import Platform
public import SCSI

/// A logical unit: what SAM and SPC say of all device types, in front of the device server of one type.
///
/// A serial unit is used on one reactor only, and performs one command at a time; commands of sessions on other
/// reactors come by a `Relay`. Any other is used on all reactors at once: its task sets are separate for each I_T nexus
/// (TST 001b, SPC-5 clause 7.5.8), so that ordering needs no agreement between threads.
public final class LogicalUnit: Sendable {
    /// What performs the commands.
    public let server: any DeviceServer
    /// The attributes of its commands.
    let commands: CommandSet
    /// The nexuses that use the unit.
    public let attachedNexuses: AttachedNexuses
    /// The only reactor that a serial unit is used on; nil when the unit is not serial.
    public let homeReactor: Reactor?
    /// Whether one command at a time runs, over all nexuses.
    let isSerial: Bool
    /// The tasks that are at the turn of their nexus, when the unit is serial; on its reactor only.
    let turns: ReactorConfined<TaskSet>
    /// Those whose nexus is gone, and that the medium works on.
    let lostTasks = LostTasks()
    /// What the Control mode page says of tasks.
    let control = TaskControl()
    /// What initiators have set, and is kept.
    let parameters = UnitParameters()
    /// What it counts for its log pages beside its commands.
    let logs = UnitLogs()
    /// Its idle and standby power conditions.
    let power = PowerConditions()
    /// The priorities that SET PRIORITY has given to nexuses.
    let priorities = NexusPriorities()
    /// Its timestamp.
    let clock = DeviceClock()
    /// The buffers of READ BUFFER and WRITE BUFFER.
    let buffers = UnitBuffers()
    /// The microcode that was downloaded to it.
    let microcode = Microcode()
    /// What counts its commands, by reactor; one for each on which it is used.
    private let countersOfReactors = Lock<[ObjectIdentifier: CommandCounters]>([:])
    /// Told of commands that have failed because of the medium or the host.
    private let whenFailed: (@Sendable (CommandFailure) -> Void)?
    /// Told when other microcode is active.
    let whenMicrocodeChanged: (@Sendable (MicrocodeChange) -> Void)?

    /// The logical unit of `server`, which serves no other. `whenFailed` is called on reactors, for each command that
    /// the medium or the host has let fail, and `whenMicrocodeChanged` on any thread, when another revision is active;
    /// they must not wait.
    public init(
        _ server: any DeviceServer, whenFailed: (@Sendable (CommandFailure) -> Void)? = nil,
        whenMicrocodeChanged: (@Sendable (MicrocodeChange) -> Void)? = nil
    ) {
        self.server = server
        self.whenFailed = whenFailed
        self.whenMicrocodeChanged = whenMicrocodeChanged
        commands = server.commands
        attachedNexuses = server.attachedNexuses
        homeReactor = server.homeReactor
        isSerial = homeReactor != nil
        turns = ReactorConfined(TaskSet())
        for page in server.modePages.all { control.take(page) }
    }

    public var identity: DeviceIdentity { server.identity }

    /// Whether ports encode sense data in descriptor format (SPC-5 clause 7.5.10).
    public var usesDescriptorSense: Bool { control.usesDescriptorSense }

    // MARK: Statistics

    /// What was counted of its commands since it was made. On any thread.
    public var statistics: CommandStatistics {
        var statistics = CommandStatistics()
        for counters in countersOfReactors.withLock({ $0 }).values { counters.add(to: &statistics) }
        return statistics
    }

    /// Another number after each command that has begun or ended: when it is the same, so are `statistics` that were
    /// read after it. On any thread.
    public var activity: UInt { countersOfReactors.withLock { $0 }.values.reduce(0) { $0 &+ $1.activity } }

    /// How many commands have ended that were of none of those operation codes. On any thread.
    func commandCount(without excluded: Set<UInt8>) -> UInt {
        countersOfReactors.withLock { $0 }.values.reduce(0) { $0 &+ $1.commandCount(without: excluded) }
    }

    /// Whether a command is in flight. On any thread.
    var hasCommands: Bool {
        countersOfReactors.withLock { $0 }.values.contains { $0.inFlight > 0 }
    }

    /// What counts the commands of all nexuses on `reactor`.
    func counters(on reactor: Reactor) -> CommandCounters {
        countersOfReactors.withLock { counters in
            if let present = counters[ObjectIdentifier(reactor)] { return present }
            let added = CommandCounters()
            counters[ObjectIdentifier(reactor)] = added
            return added
        }
    }

    /// Tells of a task that ends with CHECK CONDITION, if it is the medium's or the host's fault.
    func noteFailure(_ task: SCSITask) {
        logs.noteFailure(task)
        guard let whenFailed, let failure = CommandFailure(task) else { return }
        whenFailed(failure)
    }

    // MARK: Nexuses

    func attach(_ nexus: ITLNexus) {
        attachedNexuses.attach(nexus)
        joinContingentAllegiance(nexus)
        power.attached(nexus)
        nexus.establishUnitAttention(.powerOnOrReset)
        server.nexusEstablished(nexus)
    }

    func detach(_ nexus: ITLNexus) {
        endContingentAllegiance(of: nexus)
        attachedNexuses.detach(nexus)
        server.nexusLost(nexus)
    }

    /// The effects of a logical unit reset besides the end of all tasks and the unit attentions (SAM-5 clause 6.3.3).
    func reset() {
        attachedNexuses.endAllHolds()
        server.modePages.restoreSaved(apply: modePageChanged)
        configurePower()
        priorities.clear()
        server.logicalUnitReset()
    }

    /// A mode page has new current values; called with the lock of the mode pages held.
    func modePageChanged(_ page: ModePage) {
        control.take(page)
        server.modePageChanged(page)
    }
}

/// A logical unit is itself, whatever numbers it has.
extension LogicalUnit: Hashable {
    /// Whether they are the same object.
    public static func == (one: LogicalUnit, other: LogicalUnit) -> Bool { one === other }

    /// Hashes the identity of the object.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(self))
    }
}
