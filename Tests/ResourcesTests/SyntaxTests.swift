import Foundation
import Resources
import Testing

@Suite("Syntax of sizes, names, barcodes, elements and portals")
struct SyntaxTests {
    @Test(
        "sizes",
        arguments: [
            ("4096", 4096), ("1B", 1), ("64KiB", 65536), ("500MB", 500_000_000), ("1GiB", 1 << 30), ("2TiB", 2 << 40),
            ("3kB", 3000), ("1PiB", 1 << 50), ("1 GiB", 1 << 30), ("1G", 1 << 30), ("1T", 1 << 40), ("7k", 7168),
            ("1.5TiB", 3 << 39), ("10.9 TiB", 11_984_676_742_758), ("0.5kB", 500), ("1gib", 1 << 30),
            ("12 TB", 12_000_000_000_000), ("1.000000001KiB", 1024), ("8191.9PiB", 9_223_259_446_864_091_545),
        ] as [(String, Int64)])
    func sizes(text: String, size: Int64) throws { #expect(try ByteSize.parse(text) == size) }

    @Test(
        "what is no size",
        arguments: [
            "", "0", "-1", "GiB", "0x10", "99999999999999999999", "9000000PiB", "٣", "1.5", "1.GiB", ".5GiB", "1.5B",
            "1..5GiB", "1 2", "1GiBs", "1 G iB", "1,5GiB", "0.0000000001GiB", "0.1B", "0.0001KiB", "~1.5 GiB",
            "8192PiB", "04MiB", "00.5GiB", "00",
            "+1", " 1",
        ])
    func noSizes(text: String) { #expect(throws: ManagementError.self) { try ByteSize.parse(text) } }

    @Test(
        "sizes for people",
        arguments: [
            (1 << 30, "1 GiB"), (500_000_256, "~476.8 MiB"), (12, "12 B"), (1536, "1.5 KiB"), (0, "0 B"),
            (12_000_000_000_000, "12 TB"), (2_500_000_000_000, "2.5 TB"), (500_000_000, "500 MB"), (1000, "1000 B"),
            (1_024_000, "1000 KiB"), (67_109_376, "~64.0 MiB"), (1023, "1023 B"), (1_001_000, "1.001 MB"),
            (3 << 39, "1.5 TiB"),
            (.max, "~8191.9 PiB"),
        ] as [(Int64, String)])
    func formatting(size: Int64, text: String) { #expect(ByteSize.format(size) == text) }

    @Test("what is shown without a mark is exact and can be given back; what is rounded cannot")
    func givenBack() throws {
        var generator = SystemRandomNumberGenerator()
        var sizes: [Int64] = [1, 999, 1000, 1001, 1023, 1024, 1025, .max]
        for power in 0..<62 {
            let base = Int64(1) << power
            sizes += [base, base + 1, base / 10 * 15, Int64.random(in: base...(base * 2 - 1), using: &generator)]
        }
        for size in sizes where size > 0 {
            let text = ByteSize.format(size)
            if text.hasPrefix("~") {
                #expect(throws: ManagementError.self) { try ByteSize.parse(text) }
            } else {
                #expect(try ByteSize.parse(text) == size, "\(text)")
            }
        }
    }

    @Test("text of others commands no terminal")
    func printableText() {
        let text = "d\u{1B}[2Jé'\u{7}\u{85}\n\u{202E}x"
        #expect(PrintableText.escaped(text) == #"d\u{1B}[2Jé'\u{7}\u{85}\u{A}\u{202E}x"#)
        #expect(PrintableText.escaped("plain, 日本") == "plain, 日本")
    }

    @Test("names", arguments: ["a", "vtl", "disk-0.x", "0", String(repeating: "a", count: 64)])
    func names(name: String) throws { try DeviceName.check(name, of: "disk") }

    @Test(
        "what is no name",
        arguments: ["", "A", "a b", "a/b", "..", ".a", "-a", "ä", "a:b", "a_b", String(repeating: "a", count: 65)])
    func noNames(name: String) {
        #expect(throws: ManagementError.self) { try DeviceName.check(name, of: "disk") }
    }

    @Test("barcodes", arguments: ["V00001L8", "A", "X-1_3", String(repeating: "9", count: 32)])
    func barcodes(text: String) throws { try Barcode.check(text) }

    @Test(
        "what is no barcode",
        arguments: ["", "v1", "A B", "../A", "A.B", "-A", "A/B", String(repeating: "9", count: 33)])
    func noBarcodes(text: String) { #expect(throws: ManagementError.self) { try Barcode.check(text) } }

    @Test("series of barcodes count up in their first digits")
    func series() throws {
        #expect(try Barcode.series(from: "V00009L8", count: 3) == ["V00009L8", "V00010L8", "V00011L8"])
        #expect(try Barcode.series(from: "CLN", count: 1) == ["CLN"])
        #expect(try Barcode.series(from: "CLN", count: 0).isEmpty)
        #expect(throws: ManagementError.self) { try Barcode.series(from: "CLN", count: 2) }
        #expect(throws: ManagementError.self) { try Barcode.series(from: "V98L8", count: 3) }
    }

    @Test("elements")
    func elements() throws {
        #expect(try ElementAddress.parse("slot:3") == ElementAddress(kind: .slot, number: 3))
        #expect(try ElementAddress.parse("drive:1").description == "drive:1")
        for text in [
            "", "slot", "slot:", "slot:0", "slot:-1", "robot:1", "slot:1:2", "slot:x", "slot:99999999999999999999",
        ] {
            #expect(throws: ManagementError.self) { try ElementAddress.parse(text) }
        }
    }

    @Test("portals")
    func portals() throws {
        #expect(try PortalAddress.parse("127.0.0.1:3261") == PortalAddress(address: "127.0.0.1", port: 3261))
        #expect(try PortalAddress.parse("0.0.0.0") == PortalAddress(address: "0.0.0.0", port: 3260))
        #expect(try PortalAddress.parse("[::1]:0").description == "[::1]:0")
        for text in ["", "localhost:1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.256:1", "[::1", "[::1]x", "1.2.3:1"] {
            #expect(throws: ManagementError.self) { try PortalAddress.parse(text) }
        }
    }

    @Test("a percentage is written with its sign or without, and shown with it")
    func percentages() throws {
        let type = FieldType.percent(1...100)
        for text in ["80", "80%"] { #expect(try type.parsed(text, field: "x") == 80) }
        #expect(type.shown(80) == "80%" && type.valueName == "percentage")
        for text in ["0", "101%", "80%%", "%", "80 %", "0.5", "eighty"] {
            let refusal = #expect(throws: ManagementError.self) { try type.parsed(text, field: "x") }
            #expect(refusal?.field == "x")
        }
    }

    @Test(
        "a number is written in one way only", arguments: ["01", "+1", "-0", "1.0", " 1", "1 ", "0x1", "1e0", "١", ""])
    func noNumbers(text: String) {
        #expect(throws: ManagementError.self) { try TextRule.number(0...10).canonical(text) }
        #expect(throws: ManagementError.self) { try Naming.number(0...10).checked(text) }
        #expect(throws: ManagementError.self) { try FieldType.count(0...10).parsed(text, field: "x") }
        #expect(throws: ManagementError.self) { try FieldType.percent(0...10).parsed("\(text)%", field: "x") }
        #expect(throws: ManagementError.self) { try ElementAddress.parse("slot:\(text)") }
        #expect(throws: ManagementError.self) { try AddressRange.parse("0.0.0.0/\(text)") }
        #expect(throws: ManagementError.self) { try PortalAddress.parse("127.0.0.1:\(text)") }
        #expect(throws: ManagementError.self) { try NameServerAddress.parse("a:\(text)") }
        #expect(TimeSpan.seconds("\(text)m") == nil)
        #expect(throws: ManagementError.self) { try PlainNumber.number(text, for: "x", in: 0...10) }
        // A fraction is none of a whole number only.
        if text != "1.0" { #expect(throws: ManagementError.self) { try PlainNumber.decimal(text, for: "x") } }
        let units = FieldType.map(.number(0...10), .flag, maximumCount: 10)
        #expect(throws: ManagementError.self) { try units.checked(.object(["1": true, text: false]), field: "x") }
    }

    @Test("numbers with digits after a point", arguments: [("0.5", 0.5), ("2", 2), ("-1.25", -1.25), ("10.0", 10)])
    func decimals(text: String, number: Double) throws {
        #expect(try PlainNumber.decimal(text, for: "x") == number)
    }

    @Test(
        "what is no number with digits after a point", arguments: ["1.", ".5", "1.5.0", "00.5", "1.+5", "nan", "1.5e3"])
    func noDecimals(text: String) {
        let error = #expect(throws: ManagementError.self) { try PlainNumber.decimal(text, for: "--interval") }
        #expect(
            error?.message
                == "'\(text)' is no number for --interval; write digits, without a sign or zeros before them")
    }

    @Test(
        "a description is one line that commands no terminal",
        arguments: ["a\u{1B}[2J", "a\nb", "\u{0}", "\u{7F}", "\u{85}", "\u{2028}", "a\tb"])
    func descriptions(text: String) throws {
        let error = #expect(throws: ManagementError.self) {
            try Disk.Spec(["size": 512, "description": .text(text)], of: "a disk")
        }
        #expect(error?.code == .invalid && error?.field == "description")
        #expect(error.map { PrintableText.escaped($0.message) == $0.message } == true)
        #expect(throws: ManagementError.self) {
            try Disk.Spec(size: 512).changed(["description": .text(text)], of: "disk 'd'")
        }
        let plain: JSONValue = "für Bärbel \u{1F469}\u{200D}\u{1F467}, 日本"
        #expect(try Disk.Spec(["size": 512, "description": plain], of: "a disk").description == plain.text)
    }

    @Test("an action is refused a list or a map that has nothing in it: it might mean all of them")
    func emptyLists() throws {
        for members in [["units": []], ["units": [], "group": "g"]] as [[String: JSONValue]] {
            let error = #expect(throws: ManagementError.self) { try ISCSITarget.Unmap.arguments(members) }
            #expect(error?.code == .invalid && error?.field == "units")
        }
        #expect(throws: ManagementError.self) { try ISCSITarget.Map.arguments(["group": "g", "units": [:]]) }
        #expect(throws: ManagementError.self) { try InitiatorGroup.Add.arguments(["names": [], "addresses": ["::1"]]) }
        #expect(throws: ManagementError.self) { try InitiatorGroup.Remove.arguments(["addresses": []]) }
        #expect(throws: ManagementError.self) {
            try Credential.Allow.arguments(["place": "discovery", "algorithms": []])
        }
        #expect(try ISCSITarget.Unmap.arguments(["group": "g"]).units.isEmpty)
        #expect(try ISCSITarget.Map.arguments(["group": "g", "units": .null]).units.isEmpty)
    }

    @Test(
        "a name that stands twice in an object is found",
        arguments: [
            (#"{"a": 1, "b": 2, "a": 3}"#, "a"), (#"{"a": {"b": [{"c": 1}, {"d": "x", "d": 1}]}}"#, "d"),
            (#"{"a": 1, "\u0061": 2}"#, "a"), (#"[{"a\"": 1, "a\"": 2}]"#, "a\""), (#"{"": 0, "x": [], "": 0}"#, ""),
        ])
    func doubledNames(text: String, name: String) { #expect(JSONNames.doubled(in: text.utf8) == name) }

    @Test(
        "names in different objects, and texts, are none",
        arguments: [
            "{}", "[]", #""a""#, #"{"a": {"a": {"a": "a"}}, "b": ["a", "a", {"a": 1}, {"a": 1}]}"#,
            #"{"a": "\",\"a\":", "b": "\\", "c": "}{"}"#, #"{"a":1,"A":2,"a ":3}"#, "1", "",
        ])
    func distinctNames(text: String) { #expect(JSONNames.doubled(in: text.utf8) == nil) }

    @Test("an object with very many names takes its length, and not the square of it")
    func manyNames() {
        let members = (0..<200_000).map { "\"\($0)\":0" }.joined(separator: ",")
        #expect(JSONNames.doubled(in: "{\(members)}".utf8) == nil)
        #expect(JSONNames.doubled(in: "{\(members),\"7\":1}".utf8) == "7")
    }

    @Test("no bytes at all make the search for doubled names fail")
    func strangeNames() {
        for text in ["\"", "]\"a\"", "}}\"a\",\"a\"", ",\"a\"", "{\"a", "{\"a\\", "{]\"a\",\"a\"", "[{\"a\"}\"a\""] {
            _ = JSONNames.doubled(in: text.utf8)
        }
        for encoding in [String.Encoding.utf16LittleEndian, .utf16BigEndian, .utf32LittleEndian] {
            let bytes = "{\"a\":\"\u{2230}\u{7D7D}\u{7B7B}\u{7D7D}\u{2222}\"}".data(using: encoding) ?? Data()
            #expect(!bytes.isEmpty && !JSONNames.isUTF8(bytes))
            _ = JSONNames.doubled(in: bytes)
        }
        #expect(JSONNames.isUTF8("{\"ä\": 1}".utf8) && !JSONNames.isUTF8([0xFE, 0xFF]))
    }

    @Test("a series that passes the last number of its digits is refused as that")
    func longSeries() throws {
        let passed = #expect(throws: ManagementError.self) { try Barcode.series(from: "V99999L8", count: 2) }
        #expect(passed?.message.contains("pass 99999") == true)
        let digits = #expect(throws: ManagementError.self) { try Barcode.series(from: "VL", count: 2) }
        #expect(digits?.message.contains("no digits") == true)
        #expect(try Barcode.series(from: "V99998L8", count: 2) == ["V99998L8", "V99999L8"])
    }

    @Test("a secret of the wrong length is told its length")
    func secrets() {
        let type = FieldType.secret(12...255)
        for (text, words) in [
            ("c2hvcnQ=", "5 bytes, which is too short; give 12 to 255 bytes"), ("eA==", "1 byte, which"),
            (String(repeating: "eHh4", count: 100), "300 bytes, which is too long"), ("not Base64", "no Base64"),
        ] {
            let error = #expect(throws: ManagementError.self) { try type.checked(.text(text), field: "secret") }
            #expect(error?.message.contains(words) == true, "\(text)")
        }
    }

    @Test("whether something is so or not is told as that, when it cannot be changed")
    func adjectives() {
        let spec = Credential.Spec(secret: nil)
        let error = #expect(throws: ManagementError.self) {
            try spec.changed(["isMutual": true], of: "credential 'u'")
        }
        #expect(error?.message == "whether credential 'u' is mutual cannot be changed")
    }
}
