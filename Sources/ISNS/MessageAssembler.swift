internal import Bytes

/// Why a stream of PDUs cannot be understood; it is of no more use then.
public enum StreamError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The version is another than 1.
    case version(UInt16)
    /// A length does not fit; what.
    case length(String)
    /// A PDU that does not continue the message before it, or continues none.
    case sequence
    /// A message with an authentication block, which this side cannot check.
    case authenticated
    /// A message of more bytes, PDUs or attributes than the limits; which.
    case tooLong(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .version(let version): "the iSNS protocol's version is 1, the peer's \(version)"
        case .length(let what): "the peer sent \(what)"
        case .sequence: "the peer sent a PDU out of sequence"
        case .authenticated: "the peer sent an authenticated message; switch authentication off there"
        case .tooLong(let what): "the peer sent a message of \(what)"
        }
    }
}

/// Puts the bytes of a TCP connection together to messages (RFC 4171 sections 5.1 and 5.2).
///
/// It holds at most one message of `Limits.messageLength` bytes and one unfinished PDU.
public struct MessageAssembler: Sendable {
    /// What a peer may send; beyond that the connection is closed.
    public struct Limits: Sendable {
        /// The most payload bytes of a message.
        public var messageLength = 4 << 20
        /// The most PDUs of a message.
        public var fragments = 1024
        /// The most attributes of a message.
        public var attributes = 1 << 17

        /// 4 MiB, 1024 PDUs and 131,072 attributes.
        public init() {}
    }

    private struct Header {
        let function: Function
        let length: Int
        let flags: MessageFlags
        let transactionID: UInt16
        let sequence: UInt16
    }

    private let limits: Limits
    /// What was received and is not used yet, from `start` on.
    private var received: [UInt8] = []
    private var start = 0
    /// The message whose last PDU is to come.
    private var begun: (header: Header, payload: [UInt8], fragments: Int)?

    /// An assembler for a new connection.
    public init(limits: Limits = Limits()) { self.limits = limits }

    /// Takes what came in.
    public mutating func append(_ bytes: some Collection<UInt8>) {
        if start == received.count {
            received.removeAll(keepingCapacity: true)
            start = 0
        } else if start > Message.maximumPDUPayload {
            received.removeFirst(start)
            start = 0
        }
        received.append(contentsOf: bytes)
    }

    /// The next whole message; nil when more bytes are needed. After an error the connection has to be closed.
    public mutating func next() throws(StreamError) -> Message? {
        while let header = try nextHeader() {
            guard received.count - start >= Message.headerLength + header.length else { return nil }
            let begin = start + Message.headerLength
            let payload = received[begin..<begin + header.length]
            start = begin + header.length
            if let message = try add(header, payload) { return message }
        }
        return nil
    }

    /// The header at the front, checked, if it is all there.
    private func nextHeader() throws(StreamError) -> Header? {
        guard received.count - start >= Message.headerLength else { return nil }
        let bytes = received.rawSpan
        let version = bytes.loadBE16(at: start)
        guard version == Message.version else { throw .version(version) }
        let header = Header(
            function: Function(rawValue: bytes.loadBE16(at: start + 2)), length: Int(bytes.loadBE16(at: start + 4)),
            flags: MessageFlags(rawValue: bytes.loadBE16(at: start + 6)),
            transactionID: bytes.loadBE16(at: start + 8), sequence: bytes.loadBE16(at: start + 10))
        guard header.length & 3 == 0 else { throw .length("a PDU of \(header.length) bytes, no multiple of four") }
        guard !header.flags.contains(.authentication) else { throw .authenticated }
        return header
    }

    private mutating func add(_ header: Header, _ payload: ArraySlice<UInt8>) throws(StreamError) -> Message? {
        var (first, whole, fragments) = (header, Array(payload), 1)
        if let begun {
            guard !header.flags.contains(.first), header.function == begun.header.function,
                header.transactionID == begun.header.transactionID, Int(header.sequence) == begun.fragments
            else { throw .sequence }
            guard begun.fragments < limits.fragments else { throw .tooLong("more than \(limits.fragments) PDUs") }
            guard begun.payload.count + payload.count <= limits.messageLength else {
                throw .tooLong("more than \(limits.messageLength) bytes")
            }
            first = begun.header
            whole = begun.payload + payload
            fragments = begun.fragments + 1
        } else {
            guard header.flags.contains(.first), header.sequence == 0 else { throw .sequence }
            guard payload.count <= limits.messageLength else {
                throw .tooLong("more than \(limits.messageLength) bytes")
            }
        }
        guard header.flags.contains(.last) else {
            begun = (first, whole, fragments)
            return nil
        }
        begun = nil
        return try message(first, whole)
    }

    private func message(_ header: Header, _ payload: [UInt8]) throws(StreamError) -> Message {
        let bytes = payload.rawSpan
        var offset = 0
        var status: ResponseStatus?
        if header.function.isResponse {
            guard bytes.byteCount >= 4 else { throw .length("a response without a status") }
            status = ResponseStatus(rawValue: bytes.loadBE32(at: 0))
            offset = 4
        }
        var attributes: [Attribute] = []
        while offset < payload.count {
            guard payload.count - offset >= 8 else { throw .length("half an attribute") }
            let tag = AttributeTag(rawValue: bytes.loadBE32(at: offset))
            let length = Int(bytes.loadBE32(at: offset + 4))
            offset += 8
            guard length & 3 == 0, length <= payload.count - offset else {
                throw .length("an attribute of \(length) bytes, which do not fit")
            }
            guard attributes.count < limits.attributes else {
                throw .tooLong("more than \(limits.attributes) attributes")
            }
            attributes.append(Attribute(tag, Array(payload[offset..<offset + length])))
            offset += length
        }
        return Message(
            header.function, flags: header.flags.subtracting([.first, .last]), transactionID: header.transactionID,
            status: status, attributes: attributes)
    }
}
