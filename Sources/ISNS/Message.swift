internal import Bytes

/// What a message asks for, or answers (RFC 4171 section 4.1.3).
public struct Function: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The 16 bits of the Function ID field.
    public let rawValue: UInt16

    /// The function with that number, known or not.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// DevAttrReg: registers objects, or changes their attributes.
    public static let deviceAttributeRegistration = Function(rawValue: 0x0001)
    /// DevAttrQry: asks for attributes.
    public static let deviceAttributeQuery = Function(rawValue: 0x0002)
    /// DevDereg: removes objects from the server's database.
    public static let deviceDeregistration = Function(rawValue: 0x0004)
    /// SCNReg: asks to be told of changes.
    public static let notificationRegistration = Function(rawValue: 0x0005)
    /// SCN: the server tells of a change.
    public static let stateChangeNotification = Function(rawValue: 0x0008)
    /// ESI: the server asks whether the entity is there.
    public static let entityStatusInquiry = Function(rawValue: 0x000D)

    private static let responseBit: UInt16 = 0x8000

    /// Whether it is a response, which begins with a status.
    public var isResponse: Bool { rawValue & Self.responseBit != 0 }

    /// The function of its response: the same with bit 15 set.
    public var response: Function { Function(rawValue: rawValue | Self.responseBit) }

    /// The name that the RFC gives it, or its number.
    public var description: String {
        let name: String
        switch Function(rawValue: rawValue & ~Self.responseBit) {
        case .deviceAttributeRegistration: name = "DevAttrReg"
        case .deviceAttributeQuery: name = "DevAttrQry"
        case .deviceDeregistration: name = "DevDereg"
        case .notificationRegistration: name = "SCNReg"
        case .stateChangeNotification: name = "SCN"
        case .entityStatusInquiry: name = "ESI"
        default: return "function 0x\(String(rawValue, radix: 16))"
        }
        return isResponse ? name + "Rsp" : name
    }
}

/// The flags of a PDU (RFC 4171 section 5.1.4).
public struct MessageFlags: OptionSet, Hashable, Sendable {
    /// The 16 bits of the Flags field.
    public let rawValue: UInt16

    /// Flags of those bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// A client sent it.
    public static let client = MessageFlags(rawValue: 0x8000)
    /// The iSNS server sent the PDU.
    public static let server = MessageFlags(rawValue: 0x4000)
    /// An authentication block follows.
    public static let authentication = MessageFlags(rawValue: 0x2000)
    /// A registration replaces what there is.
    public static let replace = MessageFlags(rawValue: 0x1000)
    /// The last PDU of its message.
    public static let last = MessageFlags(rawValue: 0x0800)
    /// The first PDU of its message.
    public static let first = MessageFlags(rawValue: 0x0400)
}

/// How a request ended (RFC 4171 section 5.4).
public struct ResponseStatus: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The 32 bits of the Error Code field.
    public let rawValue: UInt32

    /// The status with that number, known or not.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// No error: the request was carried out.
    public static let success = ResponseStatus(rawValue: 0)
    /// Message Format Error.
    public static let formatError = ResponseStatus(rawValue: 2)
    /// Source Unknown: the source attribute names no registered node.
    public static let sourceUnknown = ResponseStatus(rawValue: 6)
    public static let noSuchEntry = ResponseStatus(rawValue: 9)
    public static let messageNotSupported = ResponseStatus(rawValue: 15)
    /// SCN Registration Rejected: the server does not notify the node of these changes.
    public static let notificationRegistrationRejected = ResponseStatus(rawValue: 17)
    /// ESI Not Available: the server sends no Entity Status Inquiries.
    public static let statusInquiryNotAvailable = ResponseStatus(rawValue: 21)
    /// Invalid Deregistration: the object cannot be removed.
    public static let invalidDeregistration = ResponseStatus(rawValue: 22)

    /// The words of the RFC with the number.
    public var description: String {
        let words = [
            "Successful", "Unknown Error", "Message Format Error", "Invalid Registration", "Reserved", "Invalid Query",
            "Source Unknown", "Source Absent", "Source Unauthorized", "No Such Entry", "Version Not Supported",
            "Internal Error", "Busy", "Option Not Understood", "Invalid Update", "Message (FUNCTION_ID) Not Supported",
            "SCN Event Rejected", "SCN Registration Rejected", "Attribute Not Implemented",
            "FC_DOMAIN_ID Not Available",
            "FC_DOMAIN_ID Not Allocated", "ESI Not Available", "Invalid Deregistration",
            "Registration Feature Not Supported",
        ]
        let word = rawValue < words.count ? words[Int(rawValue)] : "a status that the standard does not know"
        return "\(word) (\(rawValue))"
    }
}

/// A message, whatever number of PDUs it takes (RFC 4171 section 5).
public struct Message: Hashable, Sendable {
    /// The length of the header of each PDU in bytes.
    public static let headerLength = 12
    /// The most payload bytes that this side puts into one PDU, and the most that one can have: a multiple of four.
    public static let maximumPDUPayload = 65_532
    /// The iSNSP Version that both sides have to use.
    static let version: UInt16 = 1

    /// The function, of a request or a response.
    public let function: Function
    /// Who sent it, and whether a registration replaces; `first` and `last` are set by the codec.
    public let flags: MessageFlags
    /// Pairs a response with its request.
    public let transactionID: UInt16
    /// How the request ended; nil in a request.
    public let status: ResponseStatus?
    /// The attributes with the delimiter, in order.
    public let attributes: [Attribute]

    public init(
        _ function: Function, flags: MessageFlags = .client, transactionID: UInt16, status: ResponseStatus? = nil,
        attributes: [Attribute]
    ) {
        precondition(function.isResponse == (status != nil), "responses have a status, and only they")
        self.function = function
        self.flags = flags
        self.transactionID = transactionID
        self.status = status
        self.attributes = attributes
    }

    /// The attributes behind the delimiter: those of the objects. Empty without one.
    public var operatingAttributes: ArraySlice<Attribute> {
        guard let delimiter = attributes.firstIndex(where: { $0.tag == .delimiter }) else { return [] }
        return attributes[(delimiter + 1)...]
    }

    /// The PDUs of the message, one behind the other.
    public func encoded() -> [UInt8] {
        var payload: [UInt8] = []
        payload.reserveCapacity(attributes.reduce(4) { $0 + $1.encodedLength })
        if let status { payload.appendBE32(status.rawValue) }
        for attribute in attributes { attribute.encode(into: &payload) }
        var bytes: [UInt8] = []
        var sequence: UInt16 = 0
        var start = 0
        repeat {
            let end = min(start + Self.maximumPDUPayload, payload.count)
            var flags = flags
            if start == 0 { flags.insert(.first) }
            if end == payload.count { flags.insert(.last) }
            bytes.appendBE16(Self.version)
            bytes.appendBE16(function.rawValue)
            bytes.appendBE16(UInt16(end - start))
            bytes.appendBE16(flags.rawValue)
            bytes.appendBE16(transactionID)
            bytes.appendBE16(sequence)
            bytes.append(contentsOf: payload[start..<end])
            start = end
            sequence &+= 1
        } while start < payload.count
        return bytes
    }
}
