public import ISCSI

/// A key of the login that iSER adds: its default, its values, and where it may appear (RFC 7145 section 6).
///
/// `OperationalKey.table` of module `ISCSI` is what negotiations follow; this table is what the RFC says.
public struct ISERKey: Sendable {
    /// How a value comes about.
    public enum Rule: Hashable, Sendable {
        /// A boolean that is Yes when both sides want it.
        case booleanAnd(default: Bool)
        /// A number: the smaller of both sides'.
        case minimum(default: Int, ClosedRange<Int>)
        /// A number that each side states for itself, without an answer: 0, or one of a range.
        case declaredNumber(default: Int, zeroOr: ClosedRange<Int>)
        /// A boolean that the initiator states, without an answer.
        case declaredBoolean(default: Bool)
    }

    /// The key's name on the wire.
    public let name: String
    /// How its value comes about.
    public let rule: Rule
    /// When it may be used.
    public let use: OperationalKey.Use
    /// Who may send it.
    public let senders: OperationalKey.Senders
    /// When it has no meaning.
    public let irrelevance: OperationalKey.Irrelevance
    /// The section of RFC 7145 that defines it.
    public let section: StaticString

    init(
        _ name: String, _ rule: Rule, _ use: OperationalKey.Use, _ section: StaticString,
        senders: OperationalKey.Senders = .both, irrelevant: OperationalKey.Irrelevance = .withoutRDMAExtensions
    ) {
        self.name = name
        self.rule = rule
        self.use = use
        self.senders = senders
        self.irrelevance = irrelevant
        self.section = section
    }

    /// The limits of data segment lengths, in bytes.
    static let dataLengths = 512...16_777_215
    /// The limits of numbers that may also be 0.
    static let declaredNumbers = 2...4_294_967_295

    /// All keys of RFC 7145 section 6.
    public static let table: [ISERKey] = [
        // The session goes over to iSER at the end of the login; it also stands for all that follow.
        ISERKey("RDMAExtensions", .booleanAnd(default: false), .leadingLogin, "6.3", irrelevant: .inDiscovery),
        // The longest data segment of a control-type PDU that the target receives, in bytes.
        ISERKey("TargetRecvDataSegmentLength", .minimum(default: 8192, dataLengths), .login, "6.4"),
        // The longest data segment of a control-type PDU that the initiator receives, in bytes.
        ISERKey("InitiatorRecvDataSegmentLength", .minimum(default: 8192, dataLengths), .login, "6.5"),
        // How many unexpected control-type PDUs a side can have received; 0 says nothing about it.
        ISERKey(
            "MaxOutstandingUnexpectedPDUs", .declaredNumber(default: 0, zeroOr: declaredNumbers), .leadingLogin,
            "6.7"),
        // The longest additional header that a side receives, in bytes.
        ISERKey("MaxAHSLength", .declaredNumber(default: 256, zeroOr: declaredNumbers), .leadingLogin, "6.8"),
        // Whether the buffers of writes that the initiator advertises leave out what is sent unsolicited.
        ISERKey(
            "TaggedBufferForSolicitedDataOnly", .declaredBoolean(default: false), .leadingLogin, "6.9",
            senders: .initiator),
        // Whether the initiator sends Hello first.
        ISERKey(
            "iSERHelloRequired", .declaredBoolean(default: false), .leadingLogin, "6.10", senders: .initiator),
    ]

    /// Whether `value` is one that the key may have, as text of a login.
    public func isValid(_ value: String) -> Bool {
        switch rule {
        case .booleanAnd, .declaredBoolean:
            return value == "Yes" || value == "No"
        case .minimum(default: _, let range):
            return Self.number(value).map(range.contains) ?? false
        case .declaredNumber(default: _, zeroOr: let range):
            return Self.number(value).map { $0 == 0 || range.contains($0) } ?? false
        }
    }

    private static func number(_ value: String) -> Int? { TextCodec.number(value).flatMap(Int.init(exactly:)) }
}
