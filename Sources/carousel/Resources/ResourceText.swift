import Foundation
import Resources

/// What people read of things.
enum ResourceText {
    /// A table of the fields that have a column, with what is wrong below it. Parts of the thing `whole` are named
    /// without it.
    static func table(_ items: [JSONValue], of kind: KindDescription, within whole: String? = nil) -> String {
        let columns =
            kind.spec.compactMap { field in field.column.map { ($0, "spec", field) } }
            + kind.status.compactMap { field in field.column.map { ($0, "status", field) } }
        return Output.table(
            [kind.singular.uppercased()] + columns.map(\.0),
            items.map { item in
                [name(item, within: whole)]
                    + columns.map { _, part, field in
                        PrintableText.escaped(field.type.shown(item[part]?[field.name] ?? .null))
                    }
            },
            notes: items.compactMap { item in
                item["status"]?["problem"]?.text.map { note($0, on: item, of: kind) }
            },
            empty: "no \(kind.pluralLabel)"
                + (kind.verbs.contains(.create) ? "; make one with 'carousel \(kind.command) create'" : ""))
    }

    private static func name(_ item: JSONValue, within whole: String?) -> String {
        let name = item["name"]?.text ?? ""
        guard let whole, name.hasPrefix(whole + "/") else { return name }
        return String(name.dropFirst(whole.count + 1))
    }

    /// A sentence that says what it is about.
    private static func note(_ problem: String, on item: JSONValue, of kind: KindDescription) -> String {
        let thing = "\(kind.singular) '\(item["name"]?.text ?? "")'"
        return PrintableText.escaped(problem.hasPrefix(thing) ? problem : "\(thing): \(problem)")
    }

    /// All fields of one thing.
    static func properties(_ thing: JSONValue, of kind: KindDescription) -> String {
        var lines: [(String, String?)] = [("name", thing["name"]?.text)]
        for (part, fields) in [("spec", kind.spec), ("status", kind.status)] {
            for field in fields {
                guard let value = thing[part]?[field.name] else { continue }
                lines.append((field.label, PrintableText.escaped(shown(value, field.type))))
            }
        }
        return Output.properties(lines)
    }

    private static func shown(_ value: JSONValue, _ type: FieldType) -> String {
        guard case (.size, .integer(let size)) = (type, value) else { return type.shown(value) }
        return "\(type.shown(value)) (\(size) bytes)"
    }

    /// One line on a thing that was made or changed.
    static func summary<Kind: ResourceKind>(_ thing: JSONValue, of kind: Kind.Type) -> String {
        PrintableText.escaped(
            Resource<Kind>(thing).map(Kind.summary)
                ?? "\(Kind.description.singular) \(thing["name"]?.text ?? "")")
    }

    /// What an action tells: the thing that it changed, or a sentence.
    static func answer<Kind: ResourceKind>(_ answer: JSONValue, of kind: Kind.Type) -> String {
        answer["done"]?.text.map(PrintableText.escaped) ?? summary(answer, of: kind)
    }
}
