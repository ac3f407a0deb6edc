import Catalog
import Foundation
import Resources

/// What an `apply` is about to do, in a file of the state folder while it does it: the next start takes back what a
/// crash has left half done, or ends it where nothing of it can be taken back any more.
///
/// It may have secrets, so it is for the owner only.
struct ConfigurationJournal: Sendable, Hashable {
    private static let version: Int64 = 1

    /// Those that can be taken back, in their order.
    var reversible: [ConfigurationStep]
    /// Those that cannot.
    var final: [ConfigurationStep]
    /// The portals that were remembered before.
    var portals: [PortalRecord]
    /// Whether a proof was asked for in discovery before, which no thing says.
    var asksInDiscovery: Bool
    /// Whether the first of those that cannot be taken back has begun, so that the rest is to be done.
    var isCommitted = false

    // MARK: File

    /// The journal at `path`; nil when there is none.
    ///
    /// - Throws: `ManagementError.Code.system` when there is one that cannot be read, `.damaged` when it is none of
    ///   this program.
    static func read(_ path: String) throws(ManagementError) -> ConfigurationJournal? {
        guard try StateFolder.hasEntry(path) else { return nil }
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw ManagementError(
                .system,
                "\(path), which says how to take back an interrupted change of the configuration, cannot be read: "
                    + "\(StateFolder.reason(error)); mend that, or move the file away, and compare with 'carousel diff'"
            )
        }
        guard let json = JSONValue(serialized: String(decoding: data, as: UTF8.self)),
            json["version"] == .integer(version),
            let reversible = steps(json["reversible"]), let final = steps(json["final"]),
            let portals = json["portals"]?.elements?.compactMap(portal),
            case .bool(let isCommitted)? = json["isCommitted"],
            case .bool(let asksInDiscovery)? = json["asksInDiscovery"]
        else { throw ManagementError(.damaged, "\(path) is no journal of this program") }
        return ConfigurationJournal(
            reversible: reversible, final: final, portals: portals, asksInDiscovery: asksInDiscovery,
            isCommitted: isCommitted)
    }

    /// Puts it into the file at `path`; durable on return.
    func write(_ path: String, in folder: StateFolder) throws(ManagementError) {
        let json: JSONValue = [
            "version": .integer(Self.version), "reversible": .array(reversible.map(Self.json)),
            "final": .array(final.map(Self.json)), "isCommitted": .bool(isCommitted),
            "asksInDiscovery": .bool(asksInDiscovery),
            "portals": .array(
                portals.map {
                    [
                        "address": .text($0.address), "port": .integer(Int64($0.port)),
                        "portalGroup": .integer(Int64($0.portalGroupTag)),
                    ]
                }),
        ]
        try folder.replaceFile(path, with: Array((json.serialized ?? "").utf8))
    }

    private static func portal(_ json: JSONValue) -> PortalRecord? {
        guard let address = json["address"]?.text, let port = json["port"].flatMap(Int.from),
            let group = json["portalGroup"].flatMap(Int.from)
        else { return nil }
        return PortalRecord(address: address, port: port, portalGroupTag: group)
    }

    private static func json(_ step: ConfigurationStep) -> JSONValue {
        var members: [String: JSONValue] = [
            "verb": .text(step.verb.rawValue), "kind": .text(step.kind), "name": .text(step.name),
        ]
        if let former = step.former { members["former"] = .object(former) }
        if let wanted = step.wanted { members["wanted"] = .object(wanted) }
        return .object(members)
    }

    private static func steps(_ json: JSONValue?) -> [ConfigurationStep]? {
        guard let elements = json?.elements else { return nil }
        var steps: [ConfigurationStep] = []
        for element in elements {
            guard let verb = element["verb"]?.text.flatMap(ConfigurationStep.Verb.init(rawValue:)),
                let kind = element["kind"]?.text, let name = element["name"]?.text
            else { return nil }
            steps.append(
                ConfigurationStep(
                    verb: verb, kind: kind, name: name, former: members(element["former"]),
                    wanted: members(element["wanted"])))
        }
        return steps
    }

    private static func members(_ json: JSONValue?) -> Members? {
        guard case .object(let members)? = json else { return nil }
        return members
    }
}

extension StateFolder {
    /// What an `apply` that is under way is doing.
    var journalPath: String { path + "/apply.json" }
    /// What one was doing that was interrupted and could not be taken back as a whole.
    var interruptedJournalPath: String { path + "/apply.interrupted.json" }
}
