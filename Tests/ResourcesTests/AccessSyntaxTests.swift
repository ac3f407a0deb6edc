import Resources
import Testing

@Suite("Addresses, ranges and patterns")
struct AccessSyntaxTests {
    @Test(
        "addresses have a canonical form",
        arguments: [
            ("10.0.0.1", "10.0.0.1"), ("255.255.255.255", "255.255.255.255"), ("::1", "::1"), ("::", "::"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("fe80::1%eth0", "fe80::1"), ("1::", "1::"),
            ("::ffff:192.0.2.1", "::ffff:c000:201"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"), ("0:0:3::", "0:0:3::"),
        ])
    func addresses(text: String, canonical: String) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test(
        "a slash in the name of a target is written so that it does not end the place, and the sentence says how",
        arguments: ["target:iqn.2004-10.com.example:a%2Fb", "target:iqn.2004-10.com.example:a%2fb"])
    func places(text: String) throws {
        let place = try CredentialPlace.parse(text)
        #expect(place == .target("iqn.2004-10.com.example:a/b"))
        #expect(place.description == "target:iqn.2004-10.com.example:a%2Fb")
        #expect(try Credential.description.naming.checked(text + "/u/v") == place.description + "/u/v")
        let error = #expect(throws: ManagementError.self) { try CredentialPlace.parse("a/b") }
        #expect(error?.message.hasSuffix("a slash in a name as %2F") == true)
        #expect(Credential.description.discussion.contains("a%2Fb/USER"))
    }

    @Test(
        "what is no address is refused",
        arguments: [
            "", "1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.4 ", ":", ":::", "1:2", "1:2:3:4:5:6:7:8:9",
            "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7::8", "::1.2.3", "1.2.3.4::", "1.2.3.4%eth0", "[::1]",
        ])
    func noAddresses(text: String) { #expect(IPAddress(text) == nil) }

    @Test(
        "a range has the addresses with its beginning",
        arguments: [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "9.255.255.255", "::", "::a00:0"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]),
            ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.0.0.1"], ["::"]),
            ("fd00::/8", ["fd00::", "fdff::1"], ["fc00::", "10.0.0.0"]),
            ("2001:db8::/33", ["2001:db8:7fff::"], ["2001:db8:8000::"]),
            ("::1", ["::1"], ["::"]),
        ])
    func ranges(text: String, members: [String], others: [String]) throws {
        let range = try AddressRange.parse(text)
        #expect(try AddressRange.parse(range.description) == range)
        for member in members { #expect(range.contains(try #require(IPAddress(member)))) }
        for other in others { #expect(!range.contains(try #require(IPAddress(other)))) }
    }

    @Test(
        "what is no range is refused", arguments: ["", "/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "x"])
    func noRanges(text: String) { #expect(throws: ManagementError.self) { try AddressRange.parse(text) } }

    @Test("a range that begins in its middle is refused with the reason")
    func unaligned() {
        #expect(
            throws: ManagementError(
                .invalid,
                "'10.0.0.1/8' has an address inside its range; write the first address of the range, or 10.0.0.1 alone")
        ) {
            try AddressRange.parse("10.0.0.1/8")
        }
    }

    @Test(
        "patterns",
        arguments: [
            (
                "iqn.2026-11.test:*", ["iqn.2026-11.test:", "iqn.2026-11.test:a:b"],
                ["iqn.2026-11.tes", "iqn.2026-11.test2:a"]
            ),
            ("*", ["", "a"], []),
            ("?", ["a"], ["", "ab"]),
            ("*a*b", ["ab", "xaxb", "aab", "abab"], ["a", "ba", "abc"]),
            ("IQN.2026-11.test:H?", ["iqn.2026-11.test:h1"], ["iqn.2026-11.test:h", "iqn.2026-11.test:h12"]),
            ("a**c", ["ac", "abc"], ["ab"]),
            ("iqn.2026-11.test:a", ["iqn.2026-11.test:a"], ["iqn.2026-11.test:ab"]),
        ])
    func patterns(text: String, members: [String], others: [String]) throws {
        let pattern = try NamePattern.parse(text)
        for member in members { #expect(pattern.matches(member)) }
        for other in others { #expect(!pattern.matches(other)) }
    }

    @Test("a pattern of many stars takes no more time than a product of lengths")
    func manyStars() throws {
        let pattern = try NamePattern.parse(String(repeating: "*a", count: 100) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 223)))
    }

    @Test("what matches no name is refused", arguments: ["", "a", "iqn.", "iqn.2026-13.test:a", "a b*", "*\u{7}"])
    func noPatterns(text: String) { #expect(throws: ManagementError.self) { try NamePattern.parse(text) } }

    @Test("both kinds of members count; a group without any is empty")
    func membership() throws {
        func group(_ names: [String], _ addresses: [String]) throws -> InitiatorMembership {
            InitiatorMembership(
                names: try names.map(NamePattern.parse), addresses: try addresses.map(AddressRange.parse))
        }
        let inside = IPAddress("10.1.1.1")
        let outside = IPAddress("192.0.2.1")
        let both = try group(["iqn.*"], ["10.0.0.0/8"])
        #expect(both.contains(name: "iqn.a", address: inside))
        #expect(!both.contains(name: "iqn.a", address: outside))
        #expect(!both.contains(name: "iqn.a", address: nil))
        #expect(!both.contains(name: "eui.a", address: inside))
        #expect(try group(["iqn.*"], []).contains(name: "iqn.a", address: nil))
        #expect(try group([], ["10.0.0.0/8"]).contains(name: "x", address: inside))
        #expect(try !group([], []).contains(name: "iqn.a", address: inside))
    }
}
