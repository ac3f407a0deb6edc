import Foundation
import Resources

/// What people read of things.
enum ResourceText {
    /// A table of the fields that have a column, with what is wrong below it. Parts of the thing `whole` are named
    /// without it.
    static func table(_ items: [JSONValue], of kind: KindDescription, within whole: String? = nil) -> String {
        let heading = (kind.nameLabel ?? kind.singular).uppercased()
        let names: [(String, (JSONValue) -> String)] =
            kind.naming.onlyName == nil ? [(heading, { name($0, within: whole) })] : []
        let columns = names + columns(kind.spec, in: "spec") + columns(kind.status, in: "status")
        return Output.table(
            columns.map(\.0), items.map { item in columns.map { $0.1(item) } },
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
        let name = item["name"]?.text ?? ""
        let thing = "\(kind.singular) '\(name)'"
        let isSaid = [thing, "\(kind.singular) \(name)"].contains { problem.hasPrefix($0) }
        return PrintableText.escaped(isSaid || kind.naming.onlyName != nil ? problem : "\(thing): \(problem)")
    }

    /// The headings of those fields that have one, with what stands below them for a thing.
    private static func columns(
        _ fields: [FieldDescription], in part: String
    ) -> [(String, (JSONValue) -> String)] {
        fields.compactMap { field in
            field.column.map { column in
                (column, { PrintableText.escaped(field.shown($0[part]?[field.name] ?? .null)) })
            }
        }
    }

    /// All fields of one thing; maps and lists of records stand below the others.
    static func properties(_ thing: JSONValue, of kind: KindDescription) -> String {
        var lines: [(String, String?)] = []
        if kind.naming.onlyName == nil { lines.append((kind.nameLabel ?? "name", thing["name"]?.text)) }
        var blocks: [String] = []
        for (part, fields) in [("spec", kind.spec), ("status", kind.status)] {
            for field in fields {
                guard let value = thing[part]?[field.name] ?? (field.absence == nil ? nil : .null) else { continue }
                if let block = block(value, field.type) {
                    blocks.append("\(field.label):\n\(block)")
                } else {
                    lines.append((field.label, PrintableText.escaped(shown(value, field))))
                }
            }
        }
        return ([Output.properties(lines)] + blocks).joined(separator: "\n\n")
    }

    /// A value that takes several lines.
    private static func block(_ value: JSONValue, _ type: FieldType) -> String? {
        switch (type, value) {
        case (.map(_, let type, _), .object(let members)) where !members.isEmpty:
            Output.properties(
                FieldType.ordered(members).map { name, value in
                    (PrintableText.escaped(name), PrintableText.escaped(type.shown(value)))
                })
        case (.list(.record(let fields, _), _), .array(let records)) where !records.isEmpty:
            Output.table(
                fields.map { $0.column ?? $0.label.uppercased() },
                records.map { record in
                    fields.map { PrintableText.escaped($0.shown(record[$0.name] ?? .null)) }
                }, empty: "")
        default: nil
        }
    }

    private static func shown(_ value: JSONValue, _ field: FieldDescription) -> String {
        guard case (.size, .integer(let size)) = (field.type, value) else { return field.shown(value) }
        return "\(field.shown(value)) (\(size) bytes)"
    }

    /// One line on a thing that was made or changed.
    static func summary<Kind: ResourceKind>(_ thing: JSONValue, of kind: Kind.Type) -> String {
        PrintableText.escaped(
            Resource<Kind>(thing).map(Kind.summary)
                ?? "\(Kind.description.singular) \(thing["name"]?.text ?? "")")
    }

    /// What a dry run tells: the deed, and below it the fields that would be others than `present` has.
    static func preview(
        _ deed: String, _ thing: JSONValue, of kind: KindDescription, present: JSONValue? = nil
    ) -> String {
        let name =
            kind.naming.onlyName == nil ? "\(kind.singular) '\(thing["name"]?.text ?? "")'" : "the \(kind.singular)"
        let changes = kind.spec.compactMap { field -> String? in
            guard let present, !field.isSecret else { return nil }
            let (old, new) = (present["spec"]?[field.name] ?? .null, thing["spec"]?[field.name] ?? .null)
            return old == new ? nil : "\(field.label): \(field.shown(old)) -> \(field.shown(new))"
        }
        return ([PrintableText.escaped("would \(deed) \(name)")] + changes.map(PrintableText.escaped))
            .joined(separator: "\n")
    }

    /// What an action tells: the thing that it changed, or a sentence.
    static func answer<Kind: ResourceKind>(_ answer: JSONValue, of kind: Kind.Type) -> String {
        answer["done"]?.text.map(PrintableText.escaped) ?? summary(answer, of: kind)
    }
}
