public import Platform
internal import SCSI

/// The idle and standby power conditions of a logical unit (SPC-5 clause 5.14): idle_a and standby_z.
///
/// They change what is reported, and nothing else: a virtual device has nothing to slow down. What needs the medium
/// makes the unit active again, by a bit of the gates of its nexuses, so that commands of an active unit cost nothing
/// more. The timers cost commands nothing either: while one runs, the unit's count of commands is looked at
/// `checksPerTimer` times as long as it lasts, or each `shortestCheck` or `longestCheck`; so a timer may be late by
/// that. One look is pending at most, whatever starts and stops the timers: the next start waits for it.
final class PowerConditions: Sendable {
    /// The commands that only ask, and leave the timers alone.
    static let passiveCommands: Set<UInt8> = [
        OperationCode.testUnitReady, OperationCode.requestSense, OperationCode.inquiry, OperationCode.modeSense6,
        OperationCode.modeSense10, OperationCode.logSense, OperationCode.reportLUNs, OperationCode.maintenanceIn,
    ]
    /// PAGE CODE of the Power Condition mode page (SPC-5 clause 7.5.15).
    static let modePage: UInt8 = 0x1A
    /// How often the activity of the unit is looked at while a timer runs.
    static let checksPerTimer = 8
    /// But not more often than that.
    static let shortestCheck = Duration.milliseconds(100)
    /// And not less often: what was pending when the timers were started decides anew.
    static let longestCheck = Duration.seconds(60)

    enum Condition: Sendable {
        case active, idle, standby
    }

    /// How long the unit is to be inactive before each condition; nil where the timer is not enabled.
    struct Timers: Equatable, Sendable {
        var idle: Duration?
        var standby: Duration?

        /// Those of the Power Condition page, whose content this is.
        init(_ content: [UInt8]) {
            guard content.count >= 10 else { return }
            func timer(_ enable: UInt8, at offset: Int) -> Duration? {
                guard content[1] & enable != 0 else { return nil }
                let tenths = content[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
                return .milliseconds(100 * tenths)
            }
            idle = timer(0x02, at: 2)
            standby = timer(0x01, at: 6)
        }
    }

    /// How often the unit has changed to a condition.
    struct Transitions: Sendable {
        var active: UInt64 = 0
        var idle: UInt64 = 0
        var standby: UInt64 = 0
        /// How often it was started and stopped by START STOP UNIT.
        var startStops: UInt64 = 0
    }

    private struct State {
        var condition = Condition.active
        var isByTimer = false
        var timers = Timers([])
        /// START STOP UNIT has set the condition: no timer runs until another one, or a reset.
        var isCommanded = false
        var transitions = Transitions()
        var activity: UInt = 0
        var inactiveSince = MonotonicTime(nanoseconds: 0)
        /// Whether the timers run, from `inactiveSince` on.
        var isRunning = false
        /// Whether a look is pending on a reactor.
        var isPending = false
    }
    private let state = Lock(State())

    var transitions: Transitions { state.withLock { $0.transitions } }

    /// What REQUEST SENSE reports of the condition (SPC-5 clause 5.14.2); nil when the unit is active.
    var sense: SenseData? {
        state.withLock { state in
            switch (state.condition, state.isByTimer) {
            case (.active, _): nil
            case (.idle, true): SenseData(.noSense, .idleConditionActivatedByTimer)
            case (.standby, true): SenseData(.noSense, .standbyConditionActivatedByTimer)
            case (.idle, false): SenseData(.noSense, .idleConditionActivatedByCommand)
            case (.standby, false): SenseData(.noSense, .standbyConditionActivatedByCommand)
            }
        }
    }

    /// A nexus is one of `nexuses` from now on.
    func attached(_ nexus: ITLNexus) {
        state.withLock { if $0.condition != .active { nexus.raise(.lowPower) } }
    }

    /// A reset, or another content of the mode page: the unit is active, and its timers are these.
    func configure(_ timers: Timers, isReset: Bool, _ nexuses: AttachedNexuses) {
        state.withLock { state in
            state.timers = timers
            state.isRunning = false
            guard isReset else { return }
            state.isCommanded = false
            Self.change(&state, to: .active, isByTimer: false, nexuses)
        }
    }

    /// Changes to `condition` because of a command, with the timers running or not.
    func command(_ condition: Condition, isCommanded: Bool, _ nexuses: AttachedNexuses) {
        state.withLock { state in
            state.isCommanded = isCommanded
            state.isRunning = false
            Self.change(&state, to: condition, isByTimer: false, nexuses)
        }
    }

    /// The timers run again (LU_CONTROL); the condition stays.
    func release() {
        state.withLock { state in
            state.isCommanded = false
            state.isRunning = false
        }
    }

    /// A timer is to be taken as expired (FORCE_IDLE_0, FORCE_STANDBY_0); false when it is not enabled.
    func expire(_ condition: Condition, _ nexuses: AttachedNexuses) -> Bool {
        state.withLock { state in
            guard (condition == .idle ? state.timers.idle : state.timers.standby) != nil else { return false }
            state.isCommanded = false
            state.isRunning = false
            Self.change(&state, to: condition, isByTimer: true, nexuses)
            return true
        }
    }

    /// The unit was started or stopped; both end idle and standby. A stopped one runs no timers.
    func startStop(isStart: Bool, _ nexuses: AttachedNexuses) {
        state.withLock { $0.transitions.startStops += 1 }
        command(.active, isCommanded: !isStart, nexuses)
    }

    /// A command needs the medium.
    func wake(_ nexuses: AttachedNexuses) {
        state.withLock { state in
            state.isRunning = false
            Self.change(&state, to: .active, isByTimer: false, nexuses)
        }
    }

    private static func change(
        _ state: inout State, to condition: Condition, isByTimer: Bool, _ nexuses: AttachedNexuses
    ) {
        state.isByTimer = isByTimer
        guard state.condition != condition else { return }
        state.condition = condition
        switch condition {
        case .active: state.transitions.active += 1
        case .idle: state.transitions.idle += 1
        case .standby: state.transitions.standby += 1
        }
        for nexus in nexuses.all {
            if condition == .active { nexus.lower(.lowPower) } else { nexus.raise(.lowPower) }
        }
    }

    // MARK: Timers

    /// Starts the timers that are enabled and do not run. On `reactor`.
    func start(_ unit: LogicalUnit, on reactor: Reactor) {
        let delay = state.withLock { state -> Duration? in
            guard !state.isRunning, !state.isCommanded, let delay = Self.delay(state, inactive: .zero) else {
                return nil
            }
            state.activity = unit.commandCount(without: Self.passiveCommands)
            state.inactiveSince = reactor.now
            state.isRunning = true
            guard !state.isPending else { return nil }
            state.isPending = true
            return delay
        }
        if let delay { schedule(delay, unit, reactor) }
    }

    private func schedule(_ delay: Duration, _ unit: LogicalUnit, _ reactor: Reactor) {
        guard reactor.schedule(after: delay, PowerCheck(unit, reactor), token: 0) == nil else { return }
        // A reactor with too many timers: the next command that makes the unit active tries again.
        state.withLock { ($0.isRunning, $0.isPending) = (false, false) }
    }

    /// How long to the next look at the activity; nil when no timer is left to expire.
    private static func delay(_ state: State, inactive: Duration) -> Duration? {
        var left: [Duration] = []
        if state.condition == .active, let idle = state.timers.idle {
            left.append(min(idle - inactive, idle / checksPerTimer))
        }
        if state.condition != .standby, let standby = state.timers.standby {
            left.append(min(standby - inactive, standby / checksPerTimer))
        }
        return left.min().map { min(max($0, shortestCheck), longestCheck) }
    }

    /// Looks at the activity of the unit: a timer may have expired. On `reactor`.
    fileprivate func look(_ unit: LogicalUnit, _ reactor: Reactor) {
        let activity = unit.commandCount(without: Self.passiveCommands)
        let isBusy = unit.hasCommands
        let delay = state.withLock { state -> Duration? in
            state.isPending = false
            guard state.isRunning else { return nil }
            if activity != state.activity || isBusy {
                state.activity = activity
                state.inactiveSince = reactor.now
            }
            let inactive = reactor.now - state.inactiveSince
            if state.condition != .standby, let standby = state.timers.standby, inactive >= standby {
                Self.change(&state, to: .standby, isByTimer: true, unit.attachedNexuses)
            } else if state.condition == .active, let idle = state.timers.idle, inactive >= idle {
                Self.change(&state, to: .idle, isByTimer: true, unit.attachedNexuses)
            }
            let delay = Self.delay(state, inactive: inactive)
            state.isRunning = delay != nil
            state.isPending = delay != nil
            return delay
        }
        if let delay { schedule(delay, unit, reactor) }
    }
}

/// One look at the activity of a unit, later.
private final class PowerCheck: TimerHandler {
    private weak var unit: LogicalUnit?
    private unowned let reactor: Reactor

    init(_ unit: LogicalUnit, _ reactor: Reactor) {
        self.unit = unit
        self.reactor = reactor
    }

    func timerFired(_ token: UInt64) {
        guard let unit else { return }
        unit.power.look(unit, reactor)
    }
}

extension LogicalUnit {
    /// Takes the timers of the Power Condition mode page. With `isReset` false, the condition stays.
    func configurePower(isReset: Bool = true) {
        guard server.hasPowerConditions, let page = server.modePages.page(PowerConditions.modePage) else { return }
        power.configure(PowerConditions.Timers(page.current), isReset: isReset, attachedNexuses)
    }

    /// Has the timers run that are enabled. On `reactor`.
    func startPowerTimers(on reactor: Reactor) {
        guard server.hasPowerConditions else { return }
        power.start(self, on: reactor)
    }

    /// A command needs the medium: the unit is active.
    func leaveLowPower(on reactor: Reactor) {
        power.wake(attachedNexuses)
        startPowerTimers(on: reactor)
    }

    /// What REQUEST SENSE reports when the device server says `sense`.
    func polledSense(_ sense: SenseData, on reactor: Reactor) -> SenseData {
        startPowerTimers(on: reactor)
        guard sense == SenseData(.noSense, .noAdditionalSenseInformation) else { return sense }
        return power.sense ?? sense
    }

    /// The unit was started or stopped by START STOP UNIT with the POWER CONDITION START_VALID (SBC-4 clause 5.31).
    public func noteStartStop(isStart: Bool, on reactor: Reactor) {
        power.startStop(isStart: isStart, attachedNexuses)
        startPowerTimers(on: reactor)
    }

    /// START STOP UNIT with any other POWER CONDITION (SBC-4 table 82): it sets a condition that no timer changes until
    /// another one does, returns the control to the timers, or has one of them expire. False when the unit does not
    /// have that condition, or the timer is not enabled.
    public func changePowerCondition(_ condition: UInt8, modifier: UInt8, on reactor: Reactor) -> Bool {
        guard server.hasPowerConditions, modifier == 0 else { return false }
        switch condition {
        case 0x1: power.command(.active, isCommanded: true, attachedNexuses)
        case 0x2: power.command(.idle, isCommanded: true, attachedNexuses)
        case 0x3: power.command(.standby, isCommanded: true, attachedNexuses)
        case 0x7: power.release()
        case 0xA: guard power.expire(.idle, attachedNexuses) else { return false }
        case 0xB: guard power.expire(.standby, attachedNexuses) else { return false }
        default: return false
        }
        startPowerTimers(on: reactor)
        return true
    }

    /// The Power Condition VPD page from byte 4 on (SPC-5 clause 7.7.12): standby_z and idle_a; recovery times are not
    /// specified.
    var powerConditionPage: [UInt8] { [0x01, 0x01] + [UInt8](repeating: 0, count: 12) }
}
