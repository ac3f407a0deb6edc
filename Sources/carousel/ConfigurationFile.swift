import Foundation
import Management
import Resources

/// A configuration file with its secrets, which it names files or variables of the environment for.
struct ConfigurationFile {
    /// The most bytes of a file.
    private static let maximumLength = 16 << 20
    let content: JSONValue

    /// Reads the file at `path`, or standard input for `-`.
    init(path: String) throws(CommandFailure) {
        guard !path.isEmpty else {
            throw CommandFailure(
                .usage, "'' is no name for a configuration; give that of a file, or - for standard input")
        }
        let name = path == "-" ? "standard input" : path
        let data: Data
        do {
            let file =
                path == "-"
                ? FileHandle.standardInput : try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            data = try file.read(upToCount: Self.maximumLength + 1) ?? Data()
        } catch {
            throw CommandFailure(.usage, "\(name) cannot be read; give a file that 'carousel export' has written")
        }
        guard data.count <= Self.maximumLength else {
            throw CommandFailure(.usage, "\(name) has more than \(Self.maximumLength) bytes")
        }
        guard JSONNames.isUTF8(data) else {
            throw CommandFailure(.usage, "\(name) is no text in UTF-8; give a file that 'carousel export' has written")
        }
        guard let json = try? JSONDecoder().decode(JSONValue.self, from: data) else {
            throw CommandFailure(.usage, "\(name) is no JSON; give a file that 'carousel export' has written")
        }
        if let doubled = JSONNames.doubled(in: data) {
            throw CommandFailure(.usage, "\(name) has '\(doubled)' twice in an object; give it once")
        }
        let folder = path == "-" ? "." : URL(fileURLWithPath: path).deletingLastPathComponent().path
        try self.init(content: json, folder: folder, environment: ProcessInfo.processInfo.environment)
    }

    /// The configuration `content` with its secrets. Relative names of files are meant from `folder` on.
    init(content: JSONValue, folder: String, environment: [String: String]) throws(CommandFailure) {
        guard case .object(var members) = content else {
            self.content = content
            return
        }
        for kind in Registry.kinds.map({ $0.description }) {
            let fields = kind.spec.filter(\.isSecret)
            guard !fields.isEmpty, let items = members[kind.plural]?.elements else { continue }
            var resolved: [JSONValue] = []
            for item in items {
                guard case .object(var thing) = item, case .object(var spec)? = thing["spec"] else {
                    resolved.append(item)
                    continue
                }
                for field in fields {
                    guard let reference = spec[field.name], reference != .null else { continue }
                    let label = "\(field.label) of \(kind.singular) '\(thing["name"]?.text ?? "")'"
                    spec[field.name] = try Self.secret(reference, label, field.name, folder, environment)
                }
                thing["spec"] = .object(spec)
                resolved.append(.object(thing))
            }
            members[kind.plural] = .array(resolved)
        }
        self.content = .object(members)
    }

    /// The secret that `reference` names, as requests have it.
    private static func secret(
        _ reference: JSONValue, _ label: String, _ field: String, _ folder: String, _ environment: [String: String]
    ) throws(CommandFailure) -> JSONValue {
        if case .object(let members) = reference, members.count == 1 {
            if let path = members["file"]?.text {
                let whole = path.hasPrefix("/") ? path : "\(folder)/\(path)"
                let bytes = try SecretSource(path: whole).read(label, option: "\"\(field)\":")
                return Secret(bytes).json
            }
            if let name = members["environment"]?.text {
                guard let value = environment[name], !value.isEmpty else {
                    throw CommandFailure(
                        .usage, "the environment has no variable \(name) with the \(label); set it and try again")
                }
                return Secret(Array(value.utf8)).json
            }
        }
        throw CommandFailure(
            .usage,
            "the \(label) does not stand in the configuration; say where it is with \"\(field)\": {\"file\": PATH} or "
                + "{\"environment\": NAME}")
    }
}
