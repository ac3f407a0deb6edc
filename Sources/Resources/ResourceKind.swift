/// What can be done with the things of a kind besides its actions.
public enum Verb: String, Sendable, Hashable, CaseIterable {
    case list, show, create, set, delete
}

/// How the things of a kind are named.
public enum Naming: Sendable {
    /// By one name.
    case name(TextRule)
    /// By the name of what it is a part of, and its own: `vtl/V00001L8`.
    case part(of: TextRule, TextRule)
    /// By a number.
    case number(ClosedRange<Int>)
    /// There is one at most, which has this name; the command line does not ask for it.
    case single(String)

    /// What stands for a name in usage lines.
    public var valueName: String {
        switch self {
        case .name(let rule): rule.valueName
        case .part(let whole, let part): "\(whole.valueName) \(part.valueName)"
        case .number: "number"
        case .single(let name): name
        }
    }

    /// Whether the name `first` stands before `second` in lists.
    public func precedes(_ first: String, _ second: String) -> Bool {
        if case .number = self, let first = Int(first), let second = Int(second) { return first < second }
        return first < second
    }

    /// The name, where there is only one.
    public var onlyName: String? {
        if case .single(let name) = self { name } else { nil }
    }

    /// The name that `text` means, in its canonical form.
    public func checked(_ text: String) throws(ManagementError) -> String {
        switch self {
        case .name(let rule): return try rule.canonical(text)
        case .part(let whole, let part):
            let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw ManagementError(
                    .invalid,
                    "'\(text)' is incomplete; write \(whole.valueName.uppercased())/\(part.valueName.uppercased())")
            }
            return try whole.canonical(String(parts[0])) + "/" + part.canonical(String(parts[1]))
        case .number(let range):
            guard let number = PlainNumber.parse(text), range.contains(number) else {
                throw ManagementError(
                    .invalid, "'\(text)' is not possible; give a number from \(range.lowerBound) to \(range.upperBound)"
                )
            }
            return "\(number)"
        case .single(let name):
            guard text == name else {
                throw ManagementError(.invalid, "'\(text)' is not possible; there is one at most, which is '\(name)'")
            }
            return name
        }
    }
}

/// What an action is asked of.
public enum ActionSubject: Sendable {
    /// One thing.
    case thing
    /// The kind as a whole.
    case kind
    /// One thing, or those that its arguments select.
    case either

    /// Whether it is asked of one thing, or else of the kind.
    public func isAsked(ofOne isOne: Bool) -> Bool {
        switch self {
        case .thing: isOne
        case .kind: !isOne
        case .either: true
        }
    }
}

/// Something that can be asked of a thing, or of all things of a kind, besides changing its spec.
public struct ActionDescription: Sendable {
    /// `acknowledge-loss`
    public let name: String
    public let help: String
    /// More for the help of the command.
    public let discussion: String
    public let arguments: [FieldDescription]
    /// The names of those arguments that the command line takes without an option's name, in their order.
    public let positional: [String]
    public let subject: ActionSubject
    /// The role that whoever asks needs, where the rule of `KindDescription.role(for:)` does not fit; else nil.
    fileprivate let ownRole: Role?

    public init<Arguments: Record>(
        _ name: String, _ arguments: Arguments.Type, help: String, discussion: String = "",
        positional: [String] = [], of subject: ActionSubject = .thing, role: Role? = nil
    ) {
        self.name = name
        self.help = help
        self.discussion = discussion
        self.arguments = Arguments.descriptions
        self.positional = positional
        self.subject = subject
        ownRole = role
    }
}

/// A kind of thing that the daemon keeps or shows: the table from which command line, API, OpenAPI, tables, checks and
/// configuration files come.
public protocol ResourceKind: Sendable {
    /// What is wanted.
    associatedtype Spec: Record
    /// What is.
    associatedtype Status: Record
    static var description: KindDescription { get }
    static var actions: [any ResourceAction.Type] { get }
    /// One line that tells somebody who has just made or changed `resource` what it is now.
    static func summary(_ resource: Resource<Self>) -> String
    /// Checks of several fields at a time; `old` is nil when the thing is made.
    static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError)
}

extension ResourceKind {
    public static var actions: [any ResourceAction.Type] { [] }
    public static func summary(_ resource: Resource<Self>) -> String { "\(description.singular) \(resource.name)" }
    public static func validate(_ spec: Spec, changing old: Spec?) throws(ManagementError) {}
}

/// What is known of a kind.
public struct KindDescription: Sendable {
    /// `disk`
    public let singular: String
    /// In paths of the API: `disks`, `name-servers`.
    public let plural: String
    /// The command: `disk`.
    public let command: String
    /// What it is: `Make, show, change and delete disks.`
    public let help: String
    /// More for the help of the command.
    public let discussion: String
    public let naming: Naming
    /// What its name is called, `TSIH`, where that is not just its name.
    public let nameLabel: String?
    public let verbs: [Verb]
    /// What the help of verbs says besides what is said of every kind.
    public let verbHelp: [Verb: String]
    public let spec: [FieldDescription]
    public let status: [FieldDescription]
    public let actions: [ActionDescription]
    /// The plurals of the kinds whose things are parts of those of this kind, and are shown with them.
    public let parts: [String]
    /// Whether deletion takes media, or what is on them, away: then it asks first.
    public let deletionIsDestructive: Bool
    /// Those of `set` and `delete` that may let somebody see more than before, which has to be said to be meant.
    public let wideningVerbs: Set<Verb>
    /// Those of `create` and `delete` that take long: they are jobs, and answered before they are done.
    public let jobVerbs: Set<Verb>
    /// The fields of the status by which a list can be asked for some things only: those where the field has a value.
    public let filters: [String]
    /// Whether who has asked for a list can be told of what comes, as it comes.
    public let isFollowed: Bool
    /// Whether the status tells how much space a thing takes, which takes time to find out: who asks for a list says
    /// whether to wait for that.
    public let hasSpace: Bool
    /// The role that whoever makes or changes one needs: `admin` where its things decide who sees what.
    public let roleOfChanges: Role
    /// Whether its things have generations: what is stored has some, unless it never changes; what is only shown, none.
    public let hasGenerations: Bool

    public init<Kind: ResourceKind>(
        _ kind: Kind.Type, _ singular: String, _ plural: String, command: String? = nil, help: String,
        discussion: String = "", naming: Naming, nameLabel: String? = nil, verbs: [Verb],
        verbHelp: [Verb: String] = [:], parts: [String] = [], deletionIsDestructive: Bool = false,
        wideningVerbs: Set<Verb> = [], jobVerbs: Set<Verb> = [], filters: [String] = [], isFollowed: Bool = false,
        hasSpace: Bool = false, roleOfChanges: Role = .operator, hasGenerations: Bool? = nil
    ) {
        self.singular = singular
        self.plural = plural
        self.command = command ?? singular
        self.help = help
        self.discussion = discussion
        self.naming = naming
        self.nameLabel = nameLabel
        self.verbs = verbs
        self.verbHelp = verbHelp
        self.parts = parts
        spec = Kind.Spec.descriptions
        status = Kind.Status.descriptions
        actions = Kind.actions.map { $0.description }
        self.deletionIsDestructive = deletionIsDestructive
        self.wideningVerbs = wideningVerbs
        self.jobVerbs = jobVerbs
        self.filters = filters
        self.isFollowed = isFollowed
        self.hasSpace = hasSpace
        self.roleOfChanges = roleOfChanges
        self.hasGenerations = hasGenerations ?? verbs.contains(.create)
    }

    /// The role that whoever asks for the verb needs: to look, every one will do; what takes media away, or may let
    /// somebody see more, needs the highest.
    public func role(for verb: Verb) -> Role {
        switch verb {
        case .list, .show: .viewer
        case .create, .set, .delete:
            (verb == .delete && deletionIsDestructive) || wideningVerbs.contains(verb) ? .admin : roleOfChanges
        }
    }

    /// The same for an action.
    public func role(for action: ActionDescription) -> Role {
        if let role = action.ownRole { return role }
        let mayWiden = action.arguments.contains { $0.name == FieldDescription.openName }
        return mayWiden ? .admin : roleOfChanges
    }

    /// The singular with its article, for sentences.
    public var aSingular: String { ("aeiou".contains(singular.first ?? "x") ? "an " : "a ") + singular }

    /// The plural for people, for those kinds whose names have several words: `initiator groups`.
    public var pluralLabel: String { singular.hasSuffix("y") ? singular.dropLast() + "ies" : singular + "s" }

    public func action(_ name: String) -> ActionDescription? { actions.first { $0.name == name } }
}

/// A thing: its name, what is wanted of it, and what it is.
public struct Resource<Kind: ResourceKind>: Hashable, Sendable {
    public var name: String
    public var spec: Kind.Spec
    public var status: Kind.Status
    /// Which state of what is stored of it this is: each change has a higher number, and a thing of the same name that
    /// is made later too. Nil for what is only shown, as sessions are.
    public var generation: Int64?

    public init(name: String, spec: Kind.Spec, status: Kind.Status, generation: Int64? = nil) {
        self.name = name
        self.spec = spec
        self.status = status
        self.generation = generation
    }

    /// As it stands in answers.
    public var json: JSONValue {
        var members: [String: JSONValue] = ["name": .text(name), "spec": spec.json, "status": status.json]
        if let generation { members["generation"] = .integer(generation) }
        return .object(members)
    }

    /// The thing in an answer; nil when `json` is something else.
    public init?(_ json: JSONValue) {
        guard let name = json["name"]?.text, let spec = json["spec"].flatMap(Kind.Spec.from),
            let status = json["status"].flatMap(Kind.Status.from)
        else { return nil }
        self.init(name: name, spec: spec, status: status, generation: json["generation"].flatMap(Int64.from))
    }
}

/// An action of a kind, as a type: so that each has a command of its own.
public protocol ResourceAction: Sendable {
    associatedtype Kind: ResourceKind
    /// What the action needs to know.
    associatedtype Arguments: Record
    static var description: ActionDescription { get }
}

extension ResourceAction {
    public static var name: String { description.name }

    /// The arguments that `members` give.
    ///
    /// - Throws: `ManagementError.Code.invalid`, with the field, for unknown, impossible and missing ones, and for
    /// lists and maps that are given and have nothing in them.
    public static func arguments(_ members: [String: JSONValue]) throws(ManagementError) -> Arguments {
        let arguments = try Arguments(members, of: name)
        // What is left out means all of them, or the whole thing: a list that somebody has computed and that came out
        // empty must not mean that.
        for field in Arguments.descriptions {
            switch members[field.name] {
            case .array(let elements)? where elements.isEmpty: break
            case .object(let parts)? where parts.isEmpty: break
            default: continue
            }
            throw ManagementError(
                .invalid, "\(field.name) of \(name) is empty; give at least one, or leave it out", field: field.name)
        }
        return arguments
    }
}
