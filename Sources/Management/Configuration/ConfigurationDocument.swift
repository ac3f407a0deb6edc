import Resources

/// The content of a configuration file: things by kind, in the form in which the API makes them.
///
///     {"formatVersion": 1, "disks": [{"name": "d1", "spec": {"size": 1073741824}}], ...}
struct ConfigurationDocument: Sendable {
    /// The version of the form.
    static let version: Int64 = 1

    struct Item: Sendable {
        let name: String
        let spec: Members
    }

    /// By the plural of the kind; names are as `present` has them.
    private(set) var items: [String: [Item]] = [:]

    /// What `json` describes.
    ///
    /// - Throws: `ManagementError.Code.invalid`, with the field, for other versions, unknown kinds, and things without
    ///   a name or named twice.
    init(_ json: JSONValue) throws(ManagementError) {
        guard case .object(let members) = json else {
            throw ManagementError(.invalid, "the configuration is \(json.typeName) where an object is expected")
        }
        guard members["formatVersion"] == .integer(Self.version) else {
            throw ManagementError(
                .invalid,
                "the configuration has no \"formatVersion\": \(Self.version), which is what this program reads; "
                    + "'carousel export' writes it", field: "formatVersion")
        }
        let known = Registry.configured.map(\.description.plural)
        for name in members.keys.sorted() where name != "formatVersion" && !known.contains(name) {
            throw ManagementError(
                .invalid, "the configuration knows no '\(name)'; it knows \(known.sorted().joined(separator: ", "))",
                field: name)
        }
        for kind in Registry.configured {
            let plural = kind.description.plural
            guard let value = members[plural] else { continue }
            guard let elements = value.elements else {
                throw ManagementError(
                    .invalid, "\(plural) are \(value.typeName) where a list is expected", field: plural)
            }
            var names: Set<String> = []
            for (index, element) in elements.enumerated() {
                let item: Item
                do throws(ManagementError) {
                    item = try Self.item(element, kind)
                } catch {
                    throw ManagementError(error.code, error.message, field: "\(plural)[\(index)]")
                }
                guard names.insert(item.name).inserted else {
                    throw ManagementError(
                        .invalid, "\(kind.description.singular) '\(item.name)' is described twice",
                        field: "\(plural)[\(index)]")
                }
                items[plural, default: []].append(item)
            }
        }
    }

    private static func item(_ json: JSONValue, _ kind: ConfiguredKind) throws(ManagementError) -> Item {
        let what = kind.description.aSingular
        guard case .object(let members) = json else {
            throw ManagementError(.invalid, "\(what) is \(json.typeName) where an object is expected")
        }
        if let unknown = members.keys.sorted().first(where: { !["name", "spec"].contains($0) }) {
            throw ManagementError(.invalid, "\(what) has no '\(unknown)' in a configuration; it has name and spec")
        }
        guard let name = members["name"]?.text ?? kind.description.naming.onlyName else {
            throw ManagementError(.invalid, "\(what) needs a name, as text")
        }
        guard case .object(let spec) = members["spec"] ?? [:] else {
            throw ManagementError(.invalid, "the spec of \(kind.description.singular) '\(name)' is no object")
        }
        return Item(name: try kind.canonical(name), spec: spec)
    }

    /// The document that describes all of `model`, without secrets.
    static func json(of model: ConfigurationModel) -> JSONValue {
        var members: [String: JSONValue] = ["formatVersion": .integer(version)]
        for kind in Registry.configured {
            let description = kind.description
            let secrets = Set(description.spec.filter(\.isSecret).map(\.name))
            let things = (model.things[description.plural] ?? [:]).sorted {
                description.naming.precedes($0.key, $1.key)
            }
            members[description.plural] = .array(
                things.map { name, spec in
                    ["name": .text(name), "spec": .object(spec.filter { !secrets.contains($0.key) })]
                })
        }
        return .object(members)
    }
}
