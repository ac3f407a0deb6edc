import ArgumentParser
import Console
import Management
import Resources

/// The name of a thing on the command line: one word, or for a part of another thing two, the second of which is left
/// out where the first has both or says enough.
struct NameArgument<Kind: ResourceKind>: ParsableArguments, CustomReflectable {
    /// The name as it was given, in one word.
    private(set) var text = ""

    init() {}

    private static var isPart: Bool {
        if case .part = Kind.description.naming { true } else { false }
    }

    var customMirror: Mirror {
        let kind = Kind.description
        switch kind.naming {
        case .single: return Mirror(self, children: [])
        case .name, .number:
            let argument = Argument<String>(
                help: ArgumentHelp("The \(kind.nameLabel ?? "name").", valueName: kind.naming.valueName))
            return Mirror(self, children: [(label: "first", value: argument)])
        case .part(let whole, let part):
            let first = Argument<String>(
                help: ArgumentHelp(
                    "The \(whole.valueName), or \(whole.valueName.uppercased())/\(part.valueName.uppercased()), or the "
                        + "\(part.valueName) alone where there is only one.", valueName: whole.valueName))
            let second = Argument<String?>(
                help: ArgumentHelp("The \(part.valueName).", valueName: part.valueName))
            let children: [(label: String?, value: Any)] = [("first", first), ("second", second)]
            return Mirror(self, children: children)
        }
    }

    private enum CodingKeys: CodingKey { case first, second }

    init(from decoder: any Decoder) throws {
        if let name = Kind.description.naming.onlyName {
            text = name
            return
        }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = try container.decode(Argument<String>.self, forKey: .first).wrappedValue
        guard Self.isPart else { return }
        let second = try container.decode(Argument<String?>.self, forKey: .second).wrappedValue
        if let second { text += "/" + second }
    }

    /// The whole name: a part that was named alone is looked for.
    func resolved(_ daemon: ControlClient) async throws -> String {
        guard Self.isPart, !text.contains("/") else { return text }
        let kind = Kind.description
        let names = try await daemon.list(kind).compactMap { $0["name"]?.text }.filter { $0.hasSuffix("/" + text) }
        guard let name = names.first else {
            throw CommandFailure(
                .refused,
                "there is no \(kind.singular) '\(text)'; 'carousel \(kind.command) list' shows those there are"
            )
        }
        guard names.count == 1 else {
            throw CommandFailure(
                .usage,
                "\(kind.singular) '\(text)' is not the only one of that name; write \(names.joined(separator: " or "))")
        }
        return name
    }
}

/// The name of a thing on the command line, which may be left out; of kinds that have names of one word.
struct OptionalNameArgument<Kind: ResourceKind>: ParsableArguments, CustomReflectable {
    private(set) var text: String?

    init() {}

    var customMirror: Mirror {
        let kind = Kind.description
        let argument = Argument<String?>(
            help: ArgumentHelp("The \(kind.nameLabel ?? "name").", valueName: kind.naming.valueName))
        return Mirror(self, children: [(label: "name", value: argument)])
    }

    private enum CodingKeys: CodingKey { case name }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = try container.decode(Argument<String?>.self, forKey: .name).wrappedValue
    }
}

/// For lists of parts of other things: whose parts.
struct WholeArgument<Kind: ResourceKind>: ParsableArguments, CustomReflectable {
    private(set) var name: String?

    init() {}

    private static var argument: Argument<String?>? {
        guard case .part(let whole, _) = Kind.description.naming else { return nil }
        return Argument(help: ArgumentHelp("Only those of this one.", valueName: whole.valueName))
    }

    var customMirror: Mirror {
        Mirror(self, children: Self.argument.map { [(label: "name", value: $0)] } ?? [])
    }

    private enum CodingKeys: CodingKey { case name }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        guard Self.argument != nil else { return }
        name = try container.decode(Argument<String?>.self, forKey: .name).wrappedValue
    }
}
