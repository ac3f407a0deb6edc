/// Keeps the registration of a daemon with an iSNS server up to date: what to send next, and what an answer means.
///
/// It neither waits nor sends: its owner calls a function for everything that happens, with the present moment of a
/// clock that never goes back, then takes the actions that `nextAction()` gives, and calls `timePassed(_:)` when
/// `deadline` has come. One request is under way at a time.
///
/// The first registration replaces whatever the server has of an earlier run (RFC 4171 section 5.6.5.1). After that
/// only differences are sent. Every third of the registration period the server is asked whether it still knows
/// everything, which also renews the period; what it has lost is registered again.
public struct Registrar: Sendable {
    /// Limits and intervals.
    public enum Limit {
        /// How long the server may take to accept the connection or to answer.
        public static let answer = Duration.seconds(10)
        /// How long deregistration may take at the end.
        public static let stop = Duration.seconds(3)
        /// The shortest and the longest pause after a failure; it doubles from one to the other.
        public static let pauses = (shortest: Duration.seconds(1), longest: Duration.seconds(60))
        /// How often the registration is confirmed when the server's period is long or endless.
        public static let confirmation = Duration.seconds(60)
        /// How often the initiators of each target are asked for without a notification: not all servers tell that a
        /// node has left a discovery domain.
        public static let access = Duration.seconds(15)
        /// The shortest time between two rounds of questions that notifications cause.
        public static let round = Duration.milliseconds(500)
        /// How many bytes of targets go into one registration.
        public static let registrationLength = 48 << 10
        /// How many objects are taken out with one message.
        public static let deregistrationCount = 64
        /// The most initiators of a target; more are taken as if the server did not name them.
        public static let initiators = 16_384
    }

    /// What does not change while the registrar runs.
    public struct Settings: Sendable {
        /// The Entity Identifier, the same in every run.
        public var entityIdentifier: String
        /// Whether the initiators of the targets are asked for.
        public var followsAccess: Bool
        /// The seconds for which the server is to keep the registration without hearing from it; it may choose another
        /// time.
        public var registrationPeriod: UInt32 = 300
        /// The seconds between two questions of the server whether portals are there; it may choose another time.
        public var inquiryInterval: UInt32 = 60

        /// Settings for the entity of that name.
        public init(entityIdentifier: String, followsAccess: Bool) {
            self.entityIdentifier = entityIdentifier
            self.followsAccess = followsAccess
        }
    }

    /// What the owner of the connection carries out, in this order.
    public enum Action: Hashable, Sendable {
        /// Open a connection to the server, then call `connected(_:)` or `connectionEnded(_:_:)`.
        case connect
        /// Send it on the connection.
        case send(Message)
        /// Close the connection, or give up opening it; `connectionEnded(_:_:)` is not to be called for it.
        case disconnect
        /// These initiators share a discovery domain with the target.
        case initiators(target: String, Set<String>)
        /// Worth a line in the log.
        case notice(Notice)
        /// All is done after `stop(_:)`.
        case stopped
    }

    /// What an operator may want to know.
    public enum Notice: Hashable, Sendable {
        /// Everything is registered: how many targets and portals, and the server's registration period in seconds.
        case registered(targets: Int, portals: Int, period: UInt32)
        /// The server did not know the entity any more; it is registered again.
        case forgotten
        /// The server has lost an object; everything is registered again.
        case lost(String)
        /// The server sends no Entity Status Inquiries (ESI Not Available).
        case noStatusInquiries
        /// The server tells of no changes; the periodic queries find them.
        case noNotifications(ResponseStatus)
        /// It did not work; it is tried again after the pause.
        case failed(String, pause: Duration)
        /// The target has more initiators than the limit.
        case tooManyInitiators(target: String)
    }

    enum Connection: Hashable {
        case none
        case waiting(until: Duration)
        case connecting(until: Duration)
        case open
    }

    enum Operation: Hashable {
        /// With the version of the portals that the message speaks of.
        case register(portals: [Portal], targets: [TargetNode], version: Int)
        case deregisterTargets([String])
        case deregisterPortals([PortalKey])
        case deregisterEntity
        case notifications(source: String, NotificationBitmap)
        case confirmEntity
        case confirmTarget(String)
        case askInitiators(String)
    }

    /// What the server has confirmed of a target: the node, and which portals it was told of.
    struct Confirmed: Hashable {
        let node: TargetNode
        let portalsVersion: Int
    }

    let settings: Settings
    var connection = Connection.none
    var outstanding: (operation: Operation, request: Message, deadline: Duration)?
    var transactionID: UInt16 = 0
    var actions: [Action] = []
    var pause = Limit.pauses.shortest
    var stopDeadline: Duration?
    var isStopped = true
    var hasEnded = false

    // What is desired, and what the server is known to have.
    var desired = NetworkEntity(portals: [], targets: [])
    var portalsVersion = 0
    var portals: [PortalKey: Portal] = [:]
    var targets: [String: Confirmed] = [:]
    /// What the server may have, whether it has confirmed it or not.
    var suspectedPortals: Set<PortalKey> = []
    var suspectedTargets: Set<String> = []
    /// Whether the server may have the entity.
    var mayHaveEntity = false
    /// In whose name it was registered last.
    var lastSource: String?
    var isReplaced = false
    /// Whether the two may differ.
    var isDirty = true
    /// Whether everything desired is registered.
    public internal(set) var isRegistered = false
    var period: UInt32 = 0
    var statusInquiriesAreRefused = false

    // Notifications: of one node that stands for all, or of each.
    var managementIsRefused = false
    var notificationsAreRefused = false
    var notified: Set<String> = []

    // Questions.
    var confirmationDue = Duration.zero
    var accessDue = Duration.zero
    var isChangeAnnounced = false
    var lastRound: Duration?
    var confirmsEntity = false
    var toConfirm: [String] = []
    var toAsk: [String] = []
    var lastForgotten: Duration?

    /// A registrar that does nothing before `start(_:)`.
    public init(_ settings: Settings) { self.settings = settings }

    // MARK: What happens

    /// Starts: asks for a connection to the server.
    public mutating func start(_ now: Duration) {
        guard isStopped, stopDeadline == nil else { return }
        isStopped = false
        connect(now)
    }

    /// Makes `entity` what is registered from now on; the difference is sent.
    public mutating func update(_ entity: NetworkEntity, _ now: Duration) {
        guard entity != desired else { return }
        if entity.portals != desired.portals { portalsVersion += 1 }
        desired = entity
        isDirty = true
        isRegistered = false
        work(now)
    }

    /// Tells that the connection is open; registration begins.
    public mutating func connected(_ now: Duration) {
        guard case .connecting = connection else { return }
        connection = .open
        // The server may be another process than before the connection.
        portals = [:]
        targets = [:]
        notified = []
        managementIsRefused = false
        notificationsAreRefused = false
        statusInquiriesAreRefused = false
        isDirty = true
        isRegistered = false
        work(now)
    }

    /// The connection could not be opened, or has ended: why.
    public mutating func connectionEnded(_ reason: String, _ now: Duration) {
        switch connection {
        case .none, .waiting: return
        case .connecting, .open:
            connection = .none
            fail(reason, now)
        }
    }

    /// A message came in on the connection.
    public mutating func received(_ message: Message, _ now: Duration) {
        guard connection == .open else { return }
        guard message.function.isResponse else {
            actions.append(.send(message.answer()))
            if message.function == .stateChangeNotification { stateChanged(now) }
            return
        }
        guard let (operation, request, _) = outstanding, message.function == request.function.response,
            message.transactionID == request.transactionID
        else { return fail("the server answered what was not asked", now) }
        outstanding = nil
        handle(message, to: operation, now)
        work(now)
    }

    /// Tells that the server has notified of a change, on any connection.
    public mutating func stateChanged(_ now: Duration) {
        isChangeAnnounced = true
        work(now)
    }

    /// Tells the time: what is due is done.
    public mutating func timePassed(_ now: Duration) {
        guard !hasEnded else { return }
        if let stopDeadline, now >= stopDeadline { return end() }
        switch connection {
        case .waiting(let until) where now >= until: connect(now)
        case .connecting(let until) where now >= until: fail("the server does not accept the connection", now)
        case .open:
            if let outstanding, now >= outstanding.deadline {
                fail("the server does not answer \(outstanding.request.function)", now)
            } else {
                work(now)
            }
        case .none, .waiting, .connecting: break
        }
    }

    /// Withdraws the registration and ends; `Action.stopped` tells when that is done.
    public mutating func stop(_ now: Duration) {
        guard stopDeadline == nil else { return }
        stopDeadline = now + Limit.stop
        guard connection == .open, mayHaveEntity else { return end() }
        work(now)
    }

    /// What to do next; nil when there is nothing more now.
    public mutating func nextAction() -> Action? {
        actions.isEmpty ? nil : actions.removeFirst()
    }

    /// When `timePassed(_:)` is to be called; nil when nothing is due.
    public var deadline: Duration? {
        guard !isStopped else { return nil }
        var moments: [Duration] = []
        if let stopDeadline { moments.append(stopDeadline) }
        switch connection {
        case .none: break
        case .waiting(let until), .connecting(let until): moments.append(until)
        case .open:
            if let outstanding {
                moments.append(outstanding.deadline)
            } else if stopDeadline == nil, !targets.isEmpty {
                moments.append(confirmationDue)
                if settings.followsAccess { moments.append(accessDue) }
                if isChangeAnnounced, let lastRound { moments.append(lastRound + Limit.round) }
            }
        }
        return moments.min()
    }

    // MARK: Connection

    mutating func connect(_ now: Duration) {
        connection = .connecting(until: now + Limit.answer)
        actions.append(.connect)
    }

    /// Gives the connection up and tries again after a pause.
    mutating func fail(_ reason: String, _ now: Duration) {
        if connection != .none { actions.append(.disconnect) }
        outstanding = nil
        isRegistered = false
        guard stopDeadline == nil else {
            connection = .none
            return end()
        }
        actions.append(.notice(.failed(reason, pause: pause)))
        connection = .waiting(until: now + pause)
        pause = min(pause * 2, Limit.pauses.longest)
    }

    mutating func end() {
        guard !hasEnded else { return }
        hasEnded = true
        switch connection {
        case .connecting, .open: actions.append(.disconnect)
        case .none, .waiting: break
        }
        connection = .none
        outstanding = nil
        isStopped = true
        isRegistered = false
        actions.append(.stopped)
    }
}
