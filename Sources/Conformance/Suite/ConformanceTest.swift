/// One rule of the standard, and how to determine whether a target keeps it.
public struct ConformanceTest: Sendable {
    /// GROUP.SUBJECT.CASE: `FullFeature.CommandNumbering.BelowWindow`.
    public let name: String
    /// Where the rule stands: `RFC 7143 section 4.2.2.1`.
    public let clause: String
    /// What the target must do, in one sentence.
    public let rule: String
    /// What the target must offer, or the user allow, for the test to make sense.
    let requirements: [Requirement]
    /// Ends normally when the target keeps the rule, else with a `TestEnd`.
    let body: @Sendable (Bench) throws -> Void

    init(
        _ name: String, _ clause: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Bench) throws -> Void
    ) {
        self.name = name
        self.clause = "RFC 7143 section \(clause)"
        self.rule = rule
        self.requirements = requirements
        self.body = body
    }

    /// A test of a rule outside RFC 7143.
    init(
        _ name: String, standard: String, _ rule: String, _ requirements: Requirement...,
        body: @escaping @Sendable (Bench) throws -> Void
    ) {
        self.init(name, standard: standard, rule, requirements, body: body)
    }

    /// The same, with requirements that come as a list.
    init(
        _ name: String, standard: String, _ rule: String, _ requirements: [Requirement],
        body: @escaping @Sendable (Bench) throws -> Void
    ) {
        self.name = name
        clause = standard
        self.rule = rule
        self.requirements = requirements
        self.body = body
    }

    /// The parts of the name.
    private var parts: [Substring] { name.split(separator: ".") }

    /// GROUP: `FullFeature`.
    public var group: String { parts.first.map(String.init) ?? name }

    /// GROUP.SUBJECT: `FullFeature.CommandNumbering`.
    public var subject: String { parts.prefix(2).joined(separator: ".") }
}

/// What a test needs beyond a target that can be logged in to.
enum Requirement: Hashable, Sendable {
    /// A direct-access block device with at least `Survey.minimumBlockCount` blocks.
    case disk
    /// The user allows that data on the logical unit is lost, and that other initiators are disturbed.
    case dataLoss
    /// The user allows that all data on the logical unit is destroyed, by SANITIZE and FORMAT UNIT.
    case erasure
    /// A CHAP credential of the initiator.
    case credential
    /// A CHAP credential of the target.
    case mutualCredential
    /// A login without authentication.
    case openAccess
    /// An ErrorRecoveryLevel of at least that.
    case errorRecoveryLevel(Int)
    /// A MaxConnections of at least that.
    case connections(Int)
    /// CRC32C as HeaderDigest.
    case headerDigest
    /// CRC32C as DataDigest.
    case dataDigest
    /// An iSCSIProtocolLevel of at least that.
    case protocolLevel(Int)
    /// A second disk behind the same target.
    case secondDisk
}

/// How a test ended.
public enum Verdict: Sendable, Hashable {
    /// The target keeps the rule.
    case passed
    /// The target does not; what was expected and what came.
    case failed(String)
    /// The rule does not apply to this target, or the user has not allowed the test.
    case skipped(String)
    /// The test came to no result; it never counts as passed.
    case inconclusive(String)
}

/// Why a test's body ends early.
enum TestEnd: Error {
    /// The target breaks the rule.
    case failed(String)
    /// The rule does not apply.
    case skipped(String)
    /// Something else came in between.
    case inconclusive(String)

    /// The target breaks the rule: `expected` was due, `got` came.
    static func failed(expected: String, got: String) -> TestEnd { .failed("expected \(expected); got \(got)") }

    var verdict: Verdict {
        switch self {
        case .failed(let reason): .failed(reason)
        case .skipped(let reason): .skipped(reason)
        case .inconclusive(let reason): .inconclusive(reason)
        }
    }
}

/// Ends the test as failed unless `condition` holds.
func require(_ condition: Bool, _ expected: @autoclosure () -> String, got: @autoclosure () -> String) throws {
    guard condition else { throw TestEnd.failed(expected: expected(), got: got()) }
}
