/// An address and a port to listen on: `127.0.0.1:3260`, `[::1]:3260`.
public struct PortalAddress: Hashable, Sendable, CustomStringConvertible {
    /// Where the daemon listens unless told otherwise: this machine only.
    public static let `default` = PortalAddress(address: "127.0.0.1", port: 3260)

    /// A numeric IPv4 or IPv6 address.
    public let address: String
    /// The TCP port; 0 lets the system choose.
    public let port: Int

    public init(address: String, port: Int) {
        self.address = address
        self.port = port
    }

    /// `address:port`, an IPv6 address in brackets.
    public var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }

    /// The portal that `text` names; without a port it is 3260.
    public static func parse(_ text: String) throws(ManagementError) -> PortalAddress {
        func refusal() -> ManagementError {
            ManagementError(
                .invalid, "'\(text)' is no portal; write an address and a port, as in 127.0.0.1:3260 or [::1]:3260")
        }
        var address = Substring(text)
        var port = Substring("3260")
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw refusal() }
            address = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw refusal() }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else if text.filter({ $0 == ":" }).count == 1, let colon = text.firstIndex(of: ":") {
            address = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard let number = PlainNumber.parse(port), (0...65535).contains(number),
            let literal = IPAddress(String(address)),
            !text.hasPrefix("[") || literal.isIPv6
        else { throw refusal() }
        return PortalAddress(address: Self.text(of: literal, zone: address), port: number)
    }

    /// The canonical form of `literal`, with the zone that `text` has behind it.
    private static func text(of literal: IPAddress, zone text: Substring) -> String {
        literal.description + (text.firstIndex(of: "%").map { text[$0...] } ?? "")
    }
}
