import Bytes
import ISCSI
import TestSupport
import Testing

/// The text format, names and addresses (RFC 7143 sections 4.2.7, 6.1, 13.8).
@Suite("Text")
struct TextTests {
    @Test("Pairs and their bytes")
    func pairs() throws {
        let bytes = Array("A=1\0\0InitiatorAlias=h=st \u{FC}\0Empty=\0".utf8)
        let parameters = try TextCodec.parse(bytes.rawSpan)
        #expect(
            parameters == [
                TextParameter("A", "1"), TextParameter("InitiatorAlias", "h=st \u{FC}"), TextParameter("Empty", ""),
            ])
        #expect(TextCodec.format(parameters) == Array("A=1\0InitiatorAlias=h=st \u{FC}\0Empty=\0".utf8))
        #expect(try TextCodec.parse([UInt8]().rawSpan).isEmpty)
    }

    @Test(
        "Broken texts",
        arguments: [
            ("A=1", TextCodec.ParsingError.unterminated), ("A=1\0B", .unterminated), ("A\0", .missingEqualsSign),
            ("=1\0", .invalidKey), ("A B=1\0", .invalidKey), ("\u{FC}=1\0", .invalidKey), ("A=\u{7}\0", .invalidValue),
        ])
    func broken(text: String, error: TextCodec.ParsingError) {
        let bytes = Array(text.utf8)
        #expect(throws: error) { try TextCodec.parse(bytes.rawSpan) }
    }

    @Test("Length limits of keys and values")
    func lengths() throws {
        func parse(_ key: Int, _ value: Int, name: String? = nil) throws -> Int {
            let text = "\(name ?? String(repeating: "k", count: key))=\(String(repeating: "v", count: value))\0"
            return try TextCodec.parse(Array(text.utf8).rawSpan).count
        }
        #expect(try parse(63, 255) == 1)
        #expect(throws: TextCodec.ParsingError.invalidKey) { try parse(64, 1) }
        #expect(throws: TextCodec.ParsingError.valueTooLong) { try parse(1, 256) }
        #expect(try parse(0, 2050, name: "CHAP_C") == 1)
        #expect(throws: TextCodec.ParsingError.valueTooLong) { try parse(0, 2051, name: "CHAP_R") }
        let many = Array(String(repeating: "a=\0", count: TextCodec.maximumParameterCount + 1).utf8)
        #expect(throws: TextCodec.ParsingError.tooManyParameters) { try TextCodec.parse(many.rawSpan) }
        let notUTF8: [UInt8] = Array("A=".utf8) + [0xFF, 0]
        #expect(throws: TextCodec.ParsingError.invalidValue) { try TextCodec.parse(notUTF8.rawSpan) }
    }

    @Test("Binary values in hexadecimal and base64")
    func binary() {
        #expect(TextCodec.binary("0x0aFF") == [0x0A, 0xFF])
        #expect(TextCodec.binary("0Xabc") == [0x0A, 0xBC])
        #expect(TextCodec.binary("0bAQID") == [1, 2, 3])
        #expect(TextCodec.binary("0bAQI=") == [1, 2])
        #expect(TextCodec.binary("0B/+8=") == [0xFF, 0xEF])
        for bad in ["", "0x", "0b", "12", "0xg0", "0bA", "0bA===", "0b====", "0bAQ!D"] {
            #expect(TextCodec.binary(bad) == nil)
        }
        #expect(TextCodec.binary("0x010203", limit: 2) == nil)
        #expect(TextCodec.binary("0bAQID", limit: 2) == nil)
        #expect(TextCodec.binary(TextCodec.formatBinary([0, 1, 0xFE])) == [0, 1, 0xFE])
    }

    @Test("Names in their normal form, and what is none")
    func names() {
        #expect(ISCSIName.normalized("iqn.2026-11.dev.carousel:disk") == "iqn.2026-11.dev.carousel:disk")
        #expect(ISCSIName.normalized("IQN.2001-04.com.Example") == "iqn.2001-04.com.example")
        #expect(ISCSIName.normalized("eui.02004567A425678D") == "eui.02004567a425678d")
        #expect(ISCSIName.normalized("naa.52004567BA64678D") == "naa.52004567ba64678d")
        #expect(ISCSIName.normalized("naa.62004567BA64678D0123456789ABCDEF") != nil)
        for bad in [
            "", "iqn.", "iqn.2026-13.dev:x", "iqn.2026-00.dev:x", "iqn.26-11.dev:x", "iqn.2026-11.", "iqn.2026-11.a b",
            "eui.123", "eui.02004567A425678G", "naa.1", "disk", "iqn.2026-11." + String(repeating: "a", count: 212),
        ] {
            #expect(ISCSIName.normalized(bad) == nil, "\(bad)")
        }
    }

    @Test("Addresses and discovery answers")
    func discovery() {
        #expect(SendTargets.address(host: "192.0.2.1", port: 3260, portalGroupTag: 1) == "192.0.2.1:3260,1")
        #expect(SendTargets.address(host: "2001:db8::1", port: 3260, portalGroupTag: 2) == "[2001:db8::1]:3260,2")
        #expect(SendTargets.address(host: "[::1]", port: 1, portalGroupTag: 2) == "[::1]:1,2")
        let targets = [
            DiscoveredTarget(name: "iqn.2026-11.dev:a", addresses: ["192.0.2.1:3260,1", "192.0.2.2:3260,1"]),
            DiscoveredTarget(name: "iqn.2026-11.dev:b", addresses: []),
        ]
        let parameters = targets.flatMap { SendTargets.response($0) }
        #expect(parameters.map(\.key) == ["TargetName", "TargetAddress", "TargetAddress", "TargetName"])
        #expect(SendTargets.parse(parameters) == targets)
    }
}
