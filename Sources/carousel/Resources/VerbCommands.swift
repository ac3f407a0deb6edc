import ArgumentParser
import Console
import Management
import Resources

extension ResourceKind {
    /// The configuration of the command for a verb.
    static func configuration(_ verb: Verb, _ abstract: String) -> CommandConfiguration {
        CommandConfiguration(
            commandName: verb.rawValue, abstract: abstract, discussion: description.verbHelp[verb] ?? "")
    }
}

/// `carousel KIND list`
struct ListCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Kind.configuration(.list, "List the \(Kind.description.pluralLabel).")
    }

    @OptionGroup var whole: WholeArgument<Kind>
    @Option(help: ArgumentHelp("Only so many of the last ones.", valueName: "n"))
    var last: NumberWord?
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let kind = Kind.description
        let last = try last?.number(for: "--last")
        let items = try await state.daemon.list(kind, of: whole.name, last: last)
        try output.show(JSONValue.object(["items": .array(items)])) { _ in ResourceText.table(items, of: kind) }
    }
}

/// `carousel KIND show NAME`
struct ShowCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Kind.configuration(.show, "Show one \(Kind.description.singular).")
    }

    @OptionGroup var name: NameArgument<Kind>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let kind = Kind.description
        let name = try await name.resolved(state.daemon)
        let thing = try await state.daemon.show(kind, name)
        var parts: [String] = []
        if !output.isJSON {
            for part in Registry.kinds.map({ $0.description }) where kind.parts.contains(part.plural) {
                parts.append(ResourceText.table(try await state.daemon.list(part, of: name), of: part, within: name))
            }
        }
        try output.show(thing) { ([ResourceText.properties($0, of: kind)] + parts).joined(separator: "\n\n") }
    }
}

/// `carousel KIND create NAME --FIELD VALUE …`
struct CreateCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Kind.configuration(.create, "Make \(Kind.description.aSingular).")
    }

    struct Fields: OptionSource {
        static var options: [FieldDescription] { Kind.description.spec }
        static var requiresFields: Bool { true }
    }

    enum Waiting: JobSource {
        static var isJob: Bool { Kind.description.jobVerbs.contains(.create) }
    }

    @OptionGroup var name: NameArgument<Kind>
    @OptionGroup var fields: FieldOptions<Fields>
    @OptionGroup var waiting: WaitingOption<Waiting>
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Kind.description, try state.daemon)
        var thing = try await daemon.startCreation(
            kind, name.text, try fields.members, isDryRun: dryRun.isAsked)
        if dryRun.isAsked { return try output.show(thing) { ResourceText.preview("make", $0, of: kind) } }
        if Waiting.isJob {
            if waiting.isDeclined { return try output.show(thing, text: JobText.begun) }
            _ = try await JobFollower(daemon: daemon).finish(thing)
            thing = try await daemon.show(kind, name.text)
        }
        try output.show(thing) { ResourceText.summary($0, of: Kind.self) }
    }
}

/// `carousel KIND set NAME --FIELD VALUE …`
struct SetCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Kind.configuration(.set, "Change \(Kind.description.aSingular).")
    }

    struct Fields: OptionSource {
        static var options: [FieldDescription] {
            Kind.description.spec.filter { $0.change == .always || $0.change == .growing }
        }
        static var requiresFields: Bool { false }
        static var areChanges: Bool { true }
    }

    enum IsWidening: WideningSource {
        static var mayWiden: Bool { Kind.description.wideningVerbs.contains(.set) }
    }

    @OptionGroup var name: NameArgument<Kind>
    @OptionGroup var fields: FieldOptions<Fields>
    @OptionGroup var widening: WideningOption<IsWidening>
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let members = try fields.members
        guard !members.isEmpty else {
            let names = Fields.options.map { "--" + $0.optionName }.joined(separator: ", ")
            throw CommandFailure(.usage, "say what to change, with \(names)")
        }
        let (kind, daemon) = (Kind.description, try state.daemon)
        let name = try await name.resolved(daemon)
        let present = dryRun.isAsked ? try await daemon.show(kind, name) : nil
        let thing = try await daemon.change(
            kind, name, members, mayWiden: widening.isAsked, isDryRun: dryRun.isAsked)
        guard present == nil else {
            return try output.show(thing) { ResourceText.preview("change", $0, of: kind, present: present) }
        }
        try output.show(thing) { ResourceText.summary($0, of: Kind.self) }
    }
}

/// `carousel KIND delete NAME`
struct DeleteCommand<Kind: ResourceKind>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        let kind = Kind.description
        return Kind.configuration(
            .delete, "Delete \(kind.aSingular)\(kind.deletionIsDestructive ? " with its content" : "").")
    }

    enum IsWidening: WideningSource {
        static var mayWiden: Bool { Kind.description.wideningVerbs.contains(.delete) }
    }

    enum Waiting: JobSource {
        static var isJob: Bool { Kind.description.jobVerbs.contains(.delete) }
    }

    @OptionGroup var name: NameArgument<Kind>
    @OptionGroup var widening: WideningOption<IsWidening>
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var waiting: WaitingOption<Waiting>
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Kind.description, try state.daemon)
        let name = try await name.resolved(daemon)
        if dryRun.isAsked {
            let thing = try await daemon.startDeletion(kind, name, mayWiden: widening.isAsked, isDryRun: true)
            return try output.show(thing) {
                ResourceText.preview("delete", $0, of: kind) + (kind.deletionIsDestructive ? " with its content" : "")
            }
        }
        if kind.deletionIsDestructive {
            _ = try await daemon.show(kind, name)
            try consent.require(for: "delete \(kind.singular) '\(name)' with its content")
        }
        let answer = try await daemon.startDeletion(kind, name, mayWiden: widening.isAsked)
        if Waiting.isJob {
            if waiting.isDeclined { return try output.show(answer, text: JobText.begun) }
            _ = try await JobFollower(daemon: daemon).finish(answer)
        }
        let named = kind.naming.onlyName == nil ? "\(kind.singular) \(name)" : "the \(kind.singular)"
        try output.show(["done": .text("deleted \(named)")] as JSONValue) { $0["done"]?.text ?? "" }
    }
}

/// `carousel KIND ACTION NAME …`
struct ActionCommand<Action: ResourceAction>: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        let action = Action.description
        return CommandConfiguration(
            commandName: action.name, abstract: action.help, discussion: action.discussion)
    }

    @OptionGroup var name: NameArgument<Action.Kind>
    @OptionGroup var fields: FieldOptions<ActionFields<Action>>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, action) = (Action.Kind.description, Action.description)
        let name = try await name.resolved(state.daemon)
        let answer = try await state.daemon.perform(action, kind, name, try fields.members)
        try output.show(answer) { ResourceText.answer($0, of: Action.Kind.self) }
    }
}

/// `carousel KIND ACTION …`, for the kind as a whole.
struct KindActionCommand<Action: ResourceAction>: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Action>.configuration }

    @OptionGroup var fields: FieldOptions<ActionFields<Action>>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let answer = try await state.daemon.perform(
            Action.description, Action.Kind.description, nil, try fields.members)
        try output.show(answer) { ResourceText.answer($0, of: Action.Kind.self) }
    }
}

/// `carousel KIND ACTION [NAME] …`, for one thing, or for those that options select.
struct SelectionCommand<Action: ResourceAction>: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Action>.configuration }

    @OptionGroup var name: OptionalNameArgument<Action.Kind>
    @OptionGroup var fields: FieldOptions<ActionFields<Action>>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let answer = try await state.daemon.perform(
            Action.description, Action.Kind.description, name.text, try fields.members)
        try output.show(answer) { ResourceText.answer($0, of: Action.Kind.self) }
    }
}

/// The arguments of an action as words and options.
struct ActionFields<Action: ResourceAction>: OptionSource {
    static var options: [FieldDescription] {
        Action.description.arguments.filter { !Action.description.positional.contains($0.name) }
    }
    static var words: [FieldDescription] {
        Action.description.positional.compactMap { name in Action.description.arguments.first { $0.name == name } }
    }
    static var requiresFields: Bool { true }
    static var areWishes: Bool { true }
}
