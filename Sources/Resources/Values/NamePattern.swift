import ISCSI

/// A pattern of initiators' iSCSI names: `*` stands for any characters, `?` for one.
public struct NamePattern: Hashable, Sendable, CustomStringConvertible {
    /// The pattern in lower case, as normalised names are (RFC 7143 section 4.2.7.2).
    public let description: String
    private let characters: [Unicode.Scalar]

    /// The pattern that `text` writes.
    public static func parse(_ text: String) throws(ManagementError) -> NamePattern {
        let lowered = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { ("A"..."Z").contains($0) ? Unicode.Scalar(UInt8($0.value) | 0x20) : $0 }))
        let hasWildcard = lowered.contains("*") || lowered.contains("?")
        let isPossible =
            hasWildcard
            ? lowered.utf8.count <= ISCSIName.maximumLength && lowered.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
            : ISCSIName.normalized(lowered) != nil
        guard isPossible else {
            throw ManagementError(
                .invalid,
                "'\(text)' matches no initiator's name; "
                    + "write a whole name, or a pattern with * and ? as in iqn.2004-10.com.example:*")
        }
        return NamePattern(description: lowered, characters: Array(lowered.unicodeScalars))
    }

    /// Whether the pattern is that of `name`, which is normalised. The time is bounded by the product of the lengths.
    public func matches(_ name: String) -> Bool {
        let name = Array(name.unicodeScalars)
        var position = 0
        var next = 0
        /// Where the last `*` is, and how far it reaches.
        var star: Int?
        var reach = 0
        while position < name.count {
            if next < characters.count, characters[next] == "*" {
                star = next
                reach = position
                next += 1
            } else if next < characters.count, characters[next] == "?" || characters[next] == name[position] {
                next += 1
                position += 1
            } else if let star {
                reach += 1
                position = reach
                next = star + 1
            } else {
                return false
            }
        }
        return characters[next...].allSatisfy { $0 == "*" }
    }

    /// Whether a name could match both. The time is bounded by the product of the lengths.
    public func overlaps(_ other: NamePattern) -> Bool {
        let (own, others) = (characters, other.characters)
        /// Whether the rests of both, from each place of the other on, could match one name; from the end backwards.
        var next = [Bool](repeating: false, count: others.count + 1)
        for place in stride(from: own.count, through: 0, by: -1) {
            var row = [Bool](repeating: false, count: others.count + 1)
            for otherPlace in stride(from: others.count, through: 0, by: -1) {
                let character = place < own.count ? own[place] : nil
                let otherCharacter = otherPlace < others.count ? others[otherPlace] : nil
                if character == nil, otherCharacter == nil {
                    row[otherPlace] = true
                } else if character == "*" {
                    row[otherPlace] = next[otherPlace] || otherCharacter != nil && row[otherPlace + 1]
                } else if otherCharacter == "*" {
                    row[otherPlace] = row[otherPlace + 1] || character != nil && next[otherPlace]
                } else if let character, let otherCharacter {
                    row[otherPlace] =
                        (character == "?" || otherCharacter == "?" || character == otherCharacter)
                        && next[otherPlace + 1]
                }
            }
            next = row
        }
        return next[0]
    }
}

/// Which initiators belong to a group: those whose name matches one of the patterns (or there are none) and whose
/// address is in one of the ranges (or there are none). A group without any has no members.
public struct InitiatorMembership: Hashable, Sendable {
    public let names: [NamePattern]
    public let addresses: [AddressRange]

    /// The members that both select.
    public init(names: [NamePattern], addresses: [AddressRange]) {
        self.names = names
        self.addresses = addresses
    }

    /// Whether the initiator is a member; `name` is normalised, `address` nil when it is no IP address.
    public func contains(name: String, address: IPAddress?) -> Bool {
        guard !names.isEmpty || !addresses.isEmpty else { return false }
        guard names.isEmpty || names.contains(where: { $0.matches(name) }) else { return false }
        guard !addresses.isEmpty else { return true }
        guard let address else { return false }
        return addresses.contains { $0.contains(address) }
    }
}
