internal import ISCSI
internal import Initiator
internal import Platform
internal import SCSI

/// What a test works with: connections to the target, within the test's time.
final class Bench {
    let target: ConformanceTarget
    let survey: Survey
    /// When the test must be over.
    let deadline: MonotonicTime
    private var wires: [Wire] = []

    init(target: ConformanceTarget, survey: Survey) {
        self.target = target
        self.survey = survey
        deadline = MonotonicTime.current() + target.testLimit
    }

    /// When an answer that is waited for now must have come.
    var answerDeadline: MonotonicTime { min(MonotonicTime.current() + target.answerLimit, deadline) }

    /// The time that is left for a system call.
    var remaining: Duration { max(answerDeadline - MonotonicTime.current(), .zero) }

    /// A connection without login, of a session of its own or of `session`.
    func connect(of session: SessionState = SessionState()) throws -> Wire {
        do throws(InitiatorError) {
            let connection = try PDUConnection(connectingTo: target.portal, timeout: remaining)
            let wire = Wire(bench: self, connection: connection, session: session)
            wires.append(wire)
            return wire
        } catch {
            throw TestEnd.inconclusive("no connection to the portal: \(error)")
        }
    }

    /// A session in full feature phase. A target that refuses cannot be tested further.
    func logIn(_ plan: LoginPlan = LoginPlan()) throws -> Wire {
        let wire = try connect()
        try Self.needed("the login that the test needs does not succeed") { try wire.logIn(plan) }
        return wire
    }

    /// A session in full feature phase whose unit attentions are taken, so that commands do what they say.
    func logInToUnit(_ plan: LoginPlan = LoginPlan()) throws -> Wire {
        let wire = try logIn(plan)
        try wire.clearUnitAttentions(target.logicalUnitNumber)
        return wire
    }

    /// Runs a login that a test needs; says so when it fails.
    private static func needed(_ what: String, _ login: () throws -> Void) throws {
        do {
            try login()
        } catch TestEnd.failed(let reason) {
            throw TestEnd.failed("\(what): \(reason)")
        } catch let refusal as LoginRefusal {
            throw TestEnd.failed("\(what): status \(Wire.hex(refusal.status)) \(refusal.status)")
        }
    }

    /// Another connection of `wire`'s session, in full feature phase.
    func join(_ wire: Wire, connectionID: UInt16) throws -> Wire {
        let other = try connect(of: wire.session)
        var plan = wire.plan
        plan.targetSessionHandle = wire.session.targetSessionHandle
        plan.connectionID = connectionID
        plan.offers = LoginPlan.connectionOffers(plan.offers)
        try Self.needed("a further connection of the session does not log in") { try other.logIn(plan) }
        return other
    }

    /// Whether a login with `plan` succeeds, and what was negotiated.
    func attemptLogIn(_ plan: LoginPlan) throws -> Wire.LoginOutcome {
        try connect().attemptLogIn(plan)
    }

    /// The target still lets initiators in and answers them.
    func expectTargetServes() throws {
        let wire = try logIn()
        try wire.ping()
        try wire.logOut()
    }

    /// Ends the test's connections.
    func end() {
        wires = []
    }
}
