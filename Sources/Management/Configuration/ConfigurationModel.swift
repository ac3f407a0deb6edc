import Resources

/// The fields of a spec that have a value, secrets among them.
typealias Members = [String: JSONValue]

/// Everything that a configuration file describes: the specs of all things, by kind and name.
struct ConfigurationModel: Sendable {
    /// By the plural of the kind, then by name.
    var things: [String: [String: Members]] = [:]
    /// As it was when it was made last.
    private(set) var index = Index()

    /// Looks at all things again.
    mutating func updateIndex() { index = Index(self) }

    subscript(kind: String, name: String) -> Members? {
        get { things[kind]?[name] }
        set { things[kind, default: [:]][name] = newValue }
    }

    /// The specs of a kind by name.
    func specs<Kind: ResourceKind>(_ kind: Kind.Type) -> [String: Kind.Spec] {
        (things[Kind.description.plural] ?? [:]).compactMapValues { Kind.Spec.from(.object($0)) }
    }

    /// The spec of one thing.
    func spec<Kind: ResourceKind>(_ kind: Kind.Type, _ name: String) -> Kind.Spec? {
        self[Kind.description.plural, name].flatMap { Kind.Spec.from(.object($0)) }
    }

    /// What things are checked against, found out once.
    struct Index: Sendable {
        /// What can be shown at targets: disks, changers and drives.
        var devices: Set<String> = []
        /// The tags of the portal groups that have a portal.
        var portalGroups: Set<Int> = []
        /// The algorithms of a place where secrets are, with the name of a credential that says so.
        var algorithms: [String: (credential: String, algorithms: [String])] = [:]

        init() {}

        init(_ model: ConfigurationModel) {
            devices = Set((model.things[Disk.description.plural] ?? [:]).keys)
            for (name, library) in model.specs(Library.self) {
                devices.insert(name)
                for number in 1...max(1, library.drives) { devices.insert("\(name)/drive:\(number)") }
            }
            portalGroups = Set(model.specs(Portal.self).values.map(\.portalGroup))
            for (name, credential) in model.specs(Credential.self).sorted(by: { $0.key < $1.key }) {
                guard let own = credential.algorithms else { continue }
                let place = String(name.prefix { $0 != "/" })
                if algorithms[place] == nil { algorithms[place] = (name, own) }
            }
        }
    }
}

/// One thing that an `apply` does.
struct ConfigurationStep: Hashable, Sendable {
    enum Verb: String, Sendable {
        case create, change, delete
    }

    let verb: Verb
    /// The plural of its kind.
    let kind: String
    let name: String
    /// What it was before; nil when it is made.
    let former: Members?
    /// What it is then; nil when it is deleted.
    let wanted: Members?
    /// Whether nobody can take it back: growth that initiators have seen, media that are gone.
    var isFinal = false
    /// Whether it lets initiators reach what is in force.
    var opens = false
    /// Whether it is only a way to another step.
    var isDetour = false
}

/// What an `apply` does, in the order in which it does it.
struct ConfigurationPlan: Sendable {
    /// What there is, and what there will be.
    let present: ConfigurationModel
    let wanted: ConfigurationModel
    /// Those that can be taken back first.
    let steps: [ConfigurationStep]
    /// Who would see more than before, in a sentence; nil when nobody does.
    let widening: String?

    /// The steps that can be taken back; those that open something last.
    var reversible: [ConfigurationStep] { steps.filter { !$0.isFinal } }
    /// Those that cannot, which come last.
    var final: [ConfigurationStep] { steps.filter(\.isFinal) }
}
