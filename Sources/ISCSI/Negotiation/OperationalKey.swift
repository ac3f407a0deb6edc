/// One key of the login and text negotiation: how its value comes about, and where it may appear.
///
/// `OperationalKey.table` is the one place that knows this; the negotiation only follows it.
public struct OperationalKey: Sendable {
    /// How the value comes about (RFC 7143 section 6.2).
    public enum Rule: Sendable {
        /// A list: the first value of the offer, in the offerer's order, that the other side accepts.
        case list(
            any WritableKeyPath<NegotiatedParameters, String> & Sendable,
            acceptable: any KeyPath<OperationalSettings, [String]> & Sendable)
        /// A boolean that is Yes when both sides want it.
        case booleanAnd(any WritableKeyPath<NegotiatedParameters, Bool> & Sendable)
        /// A boolean that is Yes when one side wants it.
        case booleanOr(any WritableKeyPath<NegotiatedParameters, Bool> & Sendable)
        /// A number: the smaller of both sides'.
        case minimum(any WritableKeyPath<NegotiatedParameters, Int> & Sendable, ClosedRange<Int>)
        /// A number: the larger of both sides'.
        case maximum(any WritableKeyPath<NegotiatedParameters, Int> & Sendable, ClosedRange<Int>)
        /// A number that each side states for itself, without an answer.
        case declaredNumber(
            own: any WritableKeyPath<NegotiatedParameters, Int> & Sendable,
            peer: any WritableKeyPath<NegotiatedParameters, Int> & Sendable, ClosedRange<Int>)
        /// A text that one side states, without an answer: names, aliases and addresses, which the login itself reads.
        case declaredText
        /// A statement that means nothing to this suite and has no answer.
        case ignored
        /// A key that RFC 7143 withdrew: the answer is Reject (section 13.25).
        case obsolete
    }

    /// When a key may be used (the "Use" line of each key in RFC 7143 section 13).
    public enum Use: Sendable {
        /// LO: only in the login of a session's first connection.
        case leadingLogin
        /// IO: only in logins.
        case login
        /// FFPO: only in full feature phase.
        case fullFeature
        /// ALL: in both.
        case always
    }

    /// Who may send a key.
    public enum Senders: Sendable {
        /// Both sides.
        case both
        case initiator
        case target
    }

    /// When a key has no meaning, so that its answer is Irrelevant.
    public struct Irrelevance: OptionSet, Sendable {
        /// One bit for each condition.
        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// In discovery sessions.
        public static let inDiscovery = Self(rawValue: 1)
        /// When InitialR2T is Yes and ImmediateData is No.
        public static let withoutUnsolicitedData = Self(rawValue: 2)
        /// When RDMAExtensions is No.
        public static let withoutRDMAExtensions = Self(rawValue: 4)
    }

    /// What a second appearance in the same negotiation means (section 6.2).
    public enum Repetition: Sendable {
        /// It ends the negotiation.
        case fails
        /// The same value again is harmless: initiators in use repeat their identity in every stage.
        case sameValue
        case allowed
    }

    /// The key's name on the wire, as in `MaxBurstLength`.
    public let name: String
    /// How its value comes about.
    public let rule: Rule
    /// When it may be used.
    public let use: Use
    /// Who may send it.
    public let senders: Senders
    /// When it has no meaning.
    public let irrelevance: Irrelevance
    /// What a second appearance means.
    public let repetition: Repetition
    /// Whether it may appear in the SecurityNegotiation stage (RFC 7143 section 12).
    public let isAllowedInSecurityStage: Bool
    /// The RFC and section that define it.
    public let reference: StaticString

    init(
        _ name: String, _ rule: Rule, _ use: Use, _ reference: StaticString, senders: Senders = .both,
        irrelevant: Irrelevance = [], repetition: Repetition = .fails, security: Bool = false
    ) {
        self.name = name
        self.rule = rule
        self.use = use
        self.senders = senders
        self.irrelevance = irrelevant
        self.repetition = repetition
        self.isAllowedInSecurityStage = security
        self.reference = reference
    }

    /// The limits of data segment lengths, in bytes.
    static let dataLengths = 512...16_777_215

    /// All keys of RFC 7143 section 13 and RFC 7145 section 6, in the order in which an initiator offers them.
    /// FirstBurstLength comes after the keys that decide on its relevance and limit.
    public static let table: [OperationalKey] = [
        // MARK: Identity
        OperationalKey(
            "InitiatorName", .declaredText, .login, "RFC 7143 13.5", senders: .initiator, repetition: .sameValue,
            security: true),
        OperationalKey(
            "InitiatorAlias", .declaredText, .always, "RFC 7143 13.7", senders: .initiator, repetition: .sameValue,
            security: true),
        OperationalKey(
            "TargetName", .declaredText, .login, "RFC 7143 13.4", repetition: .sameValue, security: true),
        OperationalKey(
            "TargetAlias", .declaredText, .always, "RFC 7143 13.6", senders: .target, repetition: .sameValue,
            security: true),
        OperationalKey(
            "TargetAddress", .declaredText, .always, "RFC 7143 13.8", senders: .target, repetition: .allowed,
            security: true),
        OperationalKey(
            "TargetPortalGroupTag", .declaredText, .login, "RFC 7143 13.9", senders: .target,
            repetition: .sameValue, security: true),
        // Initiators in use say it in the login of further connections too.
        OperationalKey(
            "SessionType", .declaredText, .login, "RFC 7143 13.21", senders: .initiator, repetition: .sameValue,
            security: true),
        OperationalKey("SendTargets", .declaredText, .fullFeature, "RFC 7143 13.3", senders: .initiator),

        // MARK: Of the connection
        OperationalKey(
            "HeaderDigest", .list(\.headerDigestName, acceptable: \.headerDigestNames), .login, "RFC 7143 13.1"),
        OperationalKey(
            "DataDigest", .list(\.dataDigestName, acceptable: \.dataDigestNames), .login, "RFC 7143 13.1"),
        OperationalKey(
            "MaxRecvDataSegmentLength",
            .declaredNumber(own: \.maxRecvDataSegmentLength, peer: \.maxSendDataSegmentLength, dataLengths),
            .always, "RFC 7143 13.12"),

        // MARK: Of the session
        OperationalKey(
            "MaxConnections", .minimum(\.maxConnections, 1...65_535), .leadingLogin, "RFC 7143 13.2",
            irrelevant: .inDiscovery),
        OperationalKey(
            "InitialR2T", .booleanOr(\.initialR2T), .leadingLogin, "RFC 7143 13.10", irrelevant: .inDiscovery),
        OperationalKey(
            "ImmediateData", .booleanAnd(\.immediateData), .leadingLogin, "RFC 7143 13.11", irrelevant: .inDiscovery),
        OperationalKey(
            "MaxBurstLength", .minimum(\.maxBurstLength, dataLengths), .leadingLogin, "RFC 7143 13.13",
            irrelevant: .inDiscovery),
        OperationalKey(
            "FirstBurstLength", .minimum(\.firstBurstLength, dataLengths), .leadingLogin, "RFC 7143 13.14",
            irrelevant: [.inDiscovery, .withoutUnsolicitedData]),
        OperationalKey(
            "DefaultTime2Wait", .maximum(\.defaultTime2Wait, 0...3600), .leadingLogin, "RFC 7143 13.15"),
        OperationalKey(
            "DefaultTime2Retain", .minimum(\.defaultTime2Retain, 0...3600), .leadingLogin, "RFC 7143 13.16"),
        OperationalKey(
            "MaxOutstandingR2T", .minimum(\.maxOutstandingR2T, 1...65_535), .leadingLogin, "RFC 7143 13.17",
            irrelevant: .inDiscovery),
        OperationalKey(
            "DataPDUInOrder", .booleanOr(\.dataPDUInOrder), .leadingLogin, "RFC 7143 13.18",
            irrelevant: .inDiscovery),
        OperationalKey(
            "DataSequenceInOrder", .booleanOr(\.dataSequenceInOrder), .leadingLogin, "RFC 7143 13.19",
            irrelevant: .inDiscovery),
        OperationalKey(
            "ErrorRecoveryLevel", .minimum(\.errorRecoveryLevel, 0...2), .leadingLogin, "RFC 7143 13.20"),
        OperationalKey(
            "TaskReporting", .list(\.taskReportingName, acceptable: \.taskReportingNames), .leadingLogin,
            "RFC 7143 13.23", irrelevant: .inDiscovery),
        OperationalKey(
            "iSCSIProtocolLevel", .minimum(\.iSCSIProtocolLevel, 0...31), .leadingLogin, "RFC 7143 13.24",
            irrelevant: .inDiscovery),

        // MARK: iSER
        OperationalKey("RDMAExtensions", .booleanAnd(\.rdmaExtensions), .leadingLogin, "RFC 7145 6.3"),
        OperationalKey(
            "TargetRecvDataSegmentLength", .minimum(\.targetRecvDataSegmentLength, dataLengths), .login,
            "RFC 7145 6.4", irrelevant: .withoutRDMAExtensions),
        OperationalKey(
            "InitiatorRecvDataSegmentLength", .minimum(\.initiatorRecvDataSegmentLength, dataLengths), .login,
            "RFC 7145 6.5", irrelevant: .withoutRDMAExtensions),
        OperationalKey(
            "MaxOutstandingUnexpectedPDUs",
            .declaredNumber(
                own: \.maxOutstandingUnexpectedPDUs, peer: \.peerMaxOutstandingUnexpectedPDUs, 0...4_294_967_295),
            .login, "RFC 7145 6.7", irrelevant: .withoutRDMAExtensions),
        OperationalKey("MaxAHSLength", .ignored, .login, "RFC 7145 6.8"),
        OperationalKey("TaggedBufferForSolicitedDataOnly", .ignored, .login, "RFC 7145 6.9"),
        OperationalKey("iSERHelloRequired", .ignored, .login, "RFC 7145 6.10"),

        // MARK: Withdrawn
        OperationalKey("IFMarker", .obsolete, .always, "RFC 7143 13.25"),
        OperationalKey("OFMarker", .obsolete, .always, "RFC 7143 13.25"),
        OperationalKey("IFMarkInt", .obsolete, .always, "RFC 7143 13.25"),
        OperationalKey("OFMarkInt", .obsolete, .always, "RFC 7143 13.25"),
    ]

    /// The rows of `table` by their key.
    public static let byName = Dictionary(uniqueKeysWithValues: table.map { ($0.name, $0) })
}
