import Bytes
import ISNS
import TestSupport
import Testing

/// What Open-iSNS puts on the wire, and what it understood.
@Suite("iSNS messages")
struct MessageTests {
    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal.filter { !$0.isWhitespace })
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
    }

    private func messages(_ bytes: [UInt8], limits: MessageAssembler.Limits = .init()) throws(StreamError) -> [Message]
    {
        var assembler = MessageAssembler(limits: limits)
        assembler.append(bytes)
        var messages: [Message] = []
        while let message = try assembler.next() { messages.append(message) }
        return messages
    }

    /// A PDU made by hand.
    private func pdu(
        version: UInt16 = 1, function: UInt16 = 0x0008, length: UInt16? = nil, flags: UInt16 = 0x4C00,
        transaction: UInt16 = 7, sequence: UInt16 = 0, payload: [UInt8] = []
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        for field in [version, function, length ?? UInt16(payload.count), flags, transaction, sequence] {
            bytes.appendBE16(field)
        }
        return bytes + payload
    }

    @Test("A query is encoded as Open-iSNS does it")
    func query() throws {
        let message = Message(
            .deviceAttributeQuery, transactionID: 1,
            attributes: [
                Attribute(.iscsiName, "iqn.2026-11.dev.carousel.test:client1"), Attribute(.iscsiName), .delimiter,
            ])
        let expected = bytes(
            """
            0001 0002 0040 8c00 0001 0000 00000020 00000028
            69716e2e323032362d31312e6465762e6361726f7573656c2e746573743a636c69656e743100 0000
            00000020 00000000 00000000 00000000
            """)
        #expect(message.encoded() == expected)
        let decoded = try #require(try messages(expected).first)
        #expect(decoded.function == .deviceAttributeQuery)
        #expect(decoded.attributes.first?.text == "iqn.2026-11.dev.carousel.test:client1")
        #expect(decoded.status == nil)
        #expect(decoded.operatingAttributes.isEmpty)
    }

    @Test("A response has its status first, and its attributes behind the delimiter")
    func response() throws {
        let message = try #require(
            try messages(
                bytes(
                    """
                    0001 8001 0044 4c00 0001 0000 00000000 00000001 00000008 656e743100000000
                    00000000 00000000 00000001 00000008 656e743100000000 00000006 00000004 0000003c
                    00000033 00000004 00000007
                    """)
            ).first)
        #expect(message.status == .success)
        #expect(message.function == Function.deviceAttributeRegistration.response)
        #expect(message.flags == .server)
        #expect(message.operatingAttributes.map(\.tag) == [.entityIdentifier, .registrationPeriod, .portalGroupTag])
        #expect(message.operatingAttributes.last?.number == 7)
    }

    @Test("An entity status inquiry comes back with its attributes, a notification with its destination")
    func answers() throws {
        let inquiry = try #require(
            try messages(
                bytes(
                    """
                    0001 000d 0044 8c00 0004 0000 00000004 00000008 000000006b016dfe
                    00000001 00000008 656e743100000000 00000010 00000010 00000000000000000000ffff7f000001
                    00000011 00000004 00000cbc
                    """)
            ).first)
        let answer = inquiry.answer()
        #expect(answer.status == .success)
        #expect(answer.function == Function.entityStatusInquiry.response)
        #expect(answer.transactionID == 4)
        #expect(answer.attributes == inquiry.attributes)

        let notification = Message(
            .stateChangeNotification, flags: .server, transactionID: 9,
            attributes: [
                Attribute(.iscsiName, "iqn.2026-11.dev.carousel:d1"), Attribute(.timestamp, [0, 0, 0, 0, 1, 2, 3, 4]),
                Attribute(.iscsiNotificationBitmap, 1), Attribute(.iscsiName, "iqn.2026-11.x:i1"),
            ])
        #expect(notification.answer().attributes == [Attribute(.iscsiName, "iqn.2026-11.dev.carousel:d1")])
        let unknown = Message(Function(rawValue: 0x0E), flags: .server, transactionID: 2, attributes: [])
        #expect(unknown.answer().status == .messageNotSupported)
    }

    @Test("A long message goes in several PDUs and comes back whole, in pieces of any size")
    func fragments() throws {
        let attributes = (0..<3000).map { Attribute(.iscsiName, "iqn.2026-11.dev.carousel:disk\($0)") }
        let message = Message(.deviceAttributeRegistration, transactionID: 3, attributes: attributes)
        let encoded = message.encoded()
        #expect(encoded.count > 2 * Message.maximumPDUPayload)
        for size in [1 << 20, 65_544, 4096, 997] {
            var assembler = MessageAssembler()
            var found: [Message] = []
            for start in stride(from: 0, to: encoded.count, by: size) {
                assembler.append(encoded[start..<min(start + size, encoded.count)])
                while let next = try assembler.next() { found.append(next) }
            }
            #expect(found.count == 1)
            #expect(found.first?.attributes.count == 3000)
            #expect(found.first?.attributes.last?.text == "iqn.2026-11.dev.carousel:disk2999")
        }
    }

    @Test(
        "PDUs out of order end the connection",
        arguments: [
            // A continuation of nothing; a second beginning; another function, transaction, number.
            [(0x0008, 0x4800, 7, 0)], [(0x0008, 0x4400, 7, 1)], [(0x0008, 0x4400, 7, 0), (0x0008, 0x4C00, 7, 1)],
            [(0x0008, 0x4400, 7, 0), (0x000D, 0x4800, 7, 1)], [(0x0008, 0x4400, 7, 0), (0x0008, 0x4800, 8, 1)],
            [(0x0008, 0x4400, 7, 0), (0x0008, 0x4800, 7, 2)],
        ] as [[(UInt16, UInt16, UInt16, UInt16)]])
    func sequence(pdus: [(UInt16, UInt16, UInt16, UInt16)]) {
        let bytes = pdus.flatMap { pdu(function: $0.0, flags: $0.1, transaction: $0.2, sequence: $0.3) }
        #expect(throws: StreamError.sequence) { try messages(bytes) }
    }

    @Test("Wrong versions, lengths and authentication end the connection")
    func malformed() {
        #expect(throws: StreamError.version(2)) { try messages(pdu(version: 2)) }
        #expect(throws: StreamError.authenticated) { try messages(pdu(flags: 0x6C00)) }
        #expect(throws: StreamError.self) { try messages(pdu(length: 3)) }
        #expect(throws: StreamError.self) { try messages(pdu(payload: [0, 0, 0, 1])) }
        #expect(throws: StreamError.self) { try messages(pdu(payload: [0, 0, 0, 1, 0, 0, 0, 4])) }
        #expect(throws: StreamError.self) { try messages(pdu(payload: [0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFC])) }
        #expect(throws: StreamError.self) { try messages(pdu(payload: [0, 0, 0, 1, 0, 0, 0, 1, 9, 0, 0, 0])) }
        #expect(throws: StreamError.self) { try messages(pdu(function: 0x8001)) }
    }

    @Test("Messages beyond the limits end the connection")
    func limits() {
        var limits = MessageAssembler.Limits()
        limits.messageLength = 16
        limits.fragments = 3
        limits.attributes = 2
        let attribute: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0]
        #expect(throws: Never.self) { try messages(pdu(payload: attribute + attribute), limits: limits) }
        #expect(throws: StreamError.tooLong("more than 16 bytes")) {
            try messages(pdu(payload: attribute + attribute + attribute), limits: limits)
        }
        let endless = (0..<4).flatMap { pdu(flags: $0 == 0 ? 0x4400 : 0x4000, sequence: UInt16($0)) }
        #expect(throws: StreamError.tooLong("more than 3 PDUs")) { try messages(endless, limits: limits) }
        let growing =
            pdu(flags: 0x4400, payload: attribute + attribute) + pdu(flags: 0x4800, sequence: 1, payload: attribute)
        #expect(throws: StreamError.tooLong("more than 16 bytes")) { try messages(growing, limits: limits) }
        limits.messageLength = 64
        #expect(throws: StreamError.tooLong("more than 2 attributes")) {
            try messages(pdu(payload: attribute + attribute + attribute), limits: limits)
        }
    }

    @Test("Random and damaged bytes are understood or refused, and nothing else", arguments: 0..<64)
    func damaged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            var stream: [UInt8] = []
            for _ in 0..<4 {
                let attributes = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                    Attribute(
                        AttributeTag(rawValue: UInt32.random(in: 0...52, using: &random)),
                        random.bytes(Int.random(in: 0...40, using: &random)))
                }
                stream += Message(.stateChangeNotification, transactionID: 1, attributes: attributes).encoded()
            }
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            var assembler = MessageAssembler()
            assembler.append(stream)
            do {
                while let message = try assembler.next() {
                    guard !message.function.isResponse else { continue }
                    #expect(message.answer().function.isResponse)
                    _ = message.attributes.map { ($0.text, $0.number) }
                }
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }

    @Test("Addresses are IPv6, or IPv4 mapped to it")
    func addresses() {
        #expect(PortalAddress([127, 0, 0, 1])?.bytes == bytes("00000000000000000000ffff7f000001"))
        #expect(PortalAddress([UInt8](repeating: 1, count: 16))?.bytes.count == 16)
        #expect(PortalAddress([1, 2, 3]) == nil)
    }

    @Test("An entity has each object once, and no more than the limits")
    func entity() throws {
        let address = try #require(PortalAddress([127, 0, 0, 1]))
        let portals = (0..<300).flatMap { port in
            [1, 2].map {
                Portal(key: PortalKey(address: address, port: UInt16(port)), groupTag: $0, inquiryPort: nil)
            }
        }
        let targets = ["b", "a", "a"].map { TargetNode(name: $0, alias: "", portalGroupTags: nil) }
        let entity = NetworkEntity(portals: portals, targets: targets)
        #expect(entity.portals.count == NetworkEntity.maximumPortals)
        #expect(entity.portals.allSatisfy { $0.groupTag == 1 })
        #expect(entity.targets.map(\.name) == ["a", "b"])
    }
}
