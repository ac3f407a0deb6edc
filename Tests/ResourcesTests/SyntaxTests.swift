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
            "8192PiB",
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
}
