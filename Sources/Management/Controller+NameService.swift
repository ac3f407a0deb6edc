import Catalog
import ISNSClient
import Logging
public import Resources

// iSNS (RFC 4171): the server that targets and portals are registered with.
extension Controller {
    /// Registers with another iSNS server, or with one at all, now and from the next start on. Whether its discovery
    /// domains decide who gets in stays as it is unless something is said.
    public func setNameServer(_ setting: NameServiceSetting) throws(ManagementError) {
        let (host, port) = try Self.parseNameServer(setting.server)
        let former = try query { () throws(CatalogError) in try catalog.nameServer() }
        let record = NameServerRecord(
            host: host, port: port, controlsAccess: setting.accessControl ?? former?.controlsAccess ?? false,
            entityIdentifier: former?.entityIdentifier ?? Self.newEntityIdentifier())
        try query { () throws(CatalogError) in try catalog.setNameServer(record) }
        serve(record)
        noteChange(
            "iSNS server set",
            ["server": "\(record.text)", "discovery domains": record.controlsAccess ? "decide" : "do not decide"])
    }

    /// Withdraws the registration. Where discovery domains have decided who gets in, they do not any more, so that
    /// somebody may see more: that has to be asked for.
    public func clearNameServer(mayWiden: Bool = false) throws(ManagementError) {
        guard let former = nameService else {
            throw ManagementError(.notFound, "no iSNS server is set; 'carousel isns set' sets one")
        }
        guard mayWiden || !former.record.controlsAccess else {
            throw ManagementError(
                .conflict,
                "the discovery domains of \(former.record.text) keep initiators out, which would get in without them; "
                    + "say --open if that is meant")
        }
        try query { () throws(CatalogError) in try catalog.setNameServer(nil) }
        nameService = nil
        former.retire()
        assembly.changeDomains(.open)
        Task { await former.stop() }
        noteChange("iSNS server cleared", ["server": "\(former.record.text)"])
    }

    /// The state of the registration with the iSNS server. Suspends, and changes nothing.
    public func nameServiceStatus() async -> NameServiceStatus {
        await nameService?.status() ?? NameServiceStatus()
    }

    /// Begins with the server that the catalog has, if it has one; before the portals are open, so that nobody logs in
    /// earlier.
    func startNameService() throws(ManagementError) {
        guard let record = try query({ () throws(CatalogError) in try catalog.nameServer() }) else { return }
        serve(record)
    }

    private func serve(_ record: NameServerRecord) {
        let former = nameService
        let service = NameService(record, assembly: assembly, logger: logger)
        nameService = service
        former?.retire()
        assembly.changeDomains(record.controlsAccess ? .unknown : .open)
        Task { await service.start(after: former) }
    }

    /// Host and port of `host`, `host:port`, `[address]:port`, or a bare IPv6 address.
    static func parseNameServer(_ text: String) throws(ManagementError) -> (host: String, port: Int) {
        func refusal() -> ManagementError {
            ManagementError(
                .invalid,
                "'\(text)' is no iSNS server; write a name or an address, and a port if it is not 3205, "
                    + "as in isns.example.com or 192.0.2.7:3205")
        }
        var host = Substring(text)
        var port = Substring("\(NameServiceClient.defaultPort)")
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
            port.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }), let number = Int(port),
            (1...65535).contains(number)
        else { throw refusal() }
        return (String(host), number)
    }

    /// A name that no other daemon has.
    private static func newEntityIdentifier() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return "carousel-" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}
