/// Where an iSNS server is: a host name or a numeric address, and a port.
public struct NameServerAddress: Hashable, Sendable, CustomStringConvertible {
    /// The port that is registered for iSNS.
    public static let defaultPort = 3205

    public let host: String
    /// The TCP port.
    public let port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host:port`, an IPv6 address in brackets.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// The server that `host`, `host:port`, `[address]:port`, or a bare IPv6 address names.
    public static func parse(_ text: String) throws(ManagementError) -> NameServerAddress {
        func refusal() -> ManagementError {
            ManagementError(
                .invalid,
                "'\(text)' is no iSNS server; write a name or an address, and a port if it is not 3205, "
                    + "as in isns.example.com or 192.0.2.7:3205")
        }
        var host = Substring(text)
        var port = Substring("\(defaultPort)")
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw refusal() }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":"), IPAddress(String(host))?.isIPv6 == true else { throw refusal() }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else if let colon = text.firstIndex(of: ":"), text.lastIndex(of: ":") == colon {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        let isAddress = IPAddress(String(host)) != nil
        let isName = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard isAddress || isName, (1...253).contains(host.utf8.count), !host.hasPrefix("-"), !host.hasPrefix("."),
            let number = PlainNumber.parse(port), (1...65535).contains(number)
        else { throw refusal() }
        return NameServerAddress(host: String(host), port: number)
    }
}
