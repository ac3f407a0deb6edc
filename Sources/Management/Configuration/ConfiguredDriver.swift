import Resources

/// What is made together with another thing.
struct Companion: Sendable {
    let kind: String
    let name: String
    let spec: Members
}

/// A kind whose things stand in configuration files. What it does here is done on the thread of the `apply`, which
/// holds all that it touches.
protocol ConfiguredDriver: Driver {
    /// The plurals of the kinds whose things those of this kind name, or need otherwise: these come first.
    static var needs: [String] { get }
    /// Those that there are.
    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Kind.Spec)]
    /// The name under which it is known to `present`.
    static func canonical(_ name: String) -> String
    /// `members` in the form in which the thing has them when it is made.
    static func normalized(_ members: Members, of name: String, present: Kind.Spec?) -> Members
    /// What comes and goes with a thing.
    static func companions(_ name: String, _ spec: Kind.Spec) -> [Companion]
    /// Whether another thing of `model` brings it along, so that it is not made or deleted alone.
    static func isCompanion(_ name: String, in model: ConfigurationModel) -> Bool
    /// Whether it is a part of what is not in `model`, and goes with that.
    static func isRemnant(_ name: String, in model: ConfigurationModel) -> Bool
    /// The spec with which a thing needs nothing more of others, and lets nobody in, before it goes with what has
    /// brought it along.
    static func released(_ name: String, _ spec: Kind.Spec) -> Kind.Spec
    /// Refuses what cannot be as `model` is.
    static func check(
        _ name: String, _ spec: Kind.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError)
    /// Whether a change cannot be taken back.
    static func isFinal(from former: Kind.Spec, to wanted: Kind.Spec) -> Bool
    /// Whether a creation (from nil), change or deletion (to nil) lets initiators reach what is in force: it is done
    /// when all the rest is.
    static func opens(from former: Kind.Spec?, to wanted: Kind.Spec?) -> Bool
    /// Whether its things are deleted behind those of all other kinds, which may need them.
    static var isDeletedLast: Bool { get }
    /// Whether the first of two things is made before the second.
    static func precedes(_ first: (String, Kind.Spec), _ second: (String, Kind.Spec)) -> Bool
    static func make(_ name: String, _ spec: Kind.Spec, _ plane: ControlPlane) throws(ManagementError)
    static func alter(
        _ name: String, from former: Kind.Spec, to wanted: Kind.Spec, _ plane: ControlPlane
    ) throws(ManagementError)
    static func remove(_ name: String, _ spec: Kind.Spec, _ plane: ControlPlane) throws(ManagementError)
}

extension ConfiguredDriver {
    static func canonical(_ name: String) -> String { name }
    static func normalized(_ members: Members, of name: String, present: Kind.Spec?) -> Members { members }
    static func companions(_ name: String, _ spec: Kind.Spec) -> [Companion] { [] }
    static func isCompanion(_ name: String, in model: ConfigurationModel) -> Bool { false }
    static func isRemnant(_ name: String, in model: ConfigurationModel) -> Bool { false }
    static func released(_ name: String, _ spec: Kind.Spec) -> Kind.Spec { spec }
    static func check(
        _ name: String, _ spec: Kind.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {}
    static func isFinal(from former: Kind.Spec, to wanted: Kind.Spec) -> Bool { false }
    static func opens(from former: Kind.Spec?, to wanted: Kind.Spec?) -> Bool { false }
    static var isDeletedLast: Bool { false }
    static func precedes(_ first: (String, Kind.Spec), _ second: (String, Kind.Spec)) -> Bool {
        Kind.description.naming.precedes(first.0, second.0)
    }
}

/// A kind of configuration files, for those who do not know its types.
struct ConfiguredKind: Sendable {
    let description: KindDescription
    let needs: [String]
    let present: @Sendable (ControlPlane) throws(ManagementError) -> [String: Members]
    /// The name as `present` has it.
    let canonical: @Sendable (String) throws(ManagementError) -> String
    /// The whole spec that `members` of a file mean, for a thing that there is or not.
    let wanted: @Sendable (String, Members, Members?) throws(ManagementError) -> Members
    let companions: @Sendable (String, Members) -> [Companion]
    let isCompanion: @Sendable (String, ConfigurationModel) -> Bool
    let isRemnant: @Sendable (String, ConfigurationModel) -> Bool
    let released: @Sendable (String, Members) -> Members
    let check: @Sendable (String, Members, Bool, ConfigurationModel, ControlPlane) throws(ManagementError) -> Void
    let isFinal: @Sendable (Members, Members) -> Bool
    let opens: @Sendable (Members?, Members?) -> Bool
    let isDeletedLast: Bool
    let precedes: @Sendable ((String, Members), (String, Members)) -> Bool
    let make: @Sendable (String, Members, ControlPlane) throws(ManagementError) -> Void
    let alter: @Sendable (String, Members, Members, ControlPlane) throws(ManagementError) -> Void
    let remove: @Sendable (String, Members, ControlPlane) throws(ManagementError) -> Void

    init<D: ConfiguredDriver>(_ driver: D.Type) {
        typealias Kind = D.Kind
        let kind = Kind.description
        description = kind
        needs = D.needs
        present = { plane throws(ManagementError) in
            Dictionary(
                try D.present(plane).map { ($0.name, $0.spec.members) }, uniquingKeysWith: { first, _ in first })
        }
        canonical = { name throws(ManagementError) in D.canonical(try kind.naming.checked(name)) }
        wanted = { name, members, present throws(ManagementError) in
            let thing = "\(kind.singular) '\(name)'"
            for field in kind.spec where field.change == .onlyAtCreation && members[field.name] != nil {
                throw ManagementError(
                    .invalid, "'\(field.name)' of \(thing) has no place in a configuration, which lists what there is",
                    field: field.name)
            }
            let former = present.flatMap { Kind.Spec.from(.object($0)) }
            let members = D.normalized(members, of: name, present: former)
            if let former {
                let spec = try former.replaced(by: members, of: thing)
                try Kind.validate(spec, changing: former)
                return spec.members
            }
            if let secret = kind.spec.first(where: { $0.isSecret && $0.need == .required && members[$0.name] == nil }) {
                throw ManagementError(
                    .invalid,
                    "\(thing) is new and has no \(secret.label); say where it is with \"\(secret.name)\": "
                        + "{\"file\": PATH} or {\"environment\": NAME}", field: secret.name)
            }
            let spec = try Kind.Spec(members, of: thing)
            try Kind.validate(spec, changing: nil)
            return spec.members
        }
        companions = { name, members in
            Kind.Spec.from(.object(members)).map { D.companions(name, $0) } ?? []
        }
        isCompanion = { D.isCompanion($0, in: $1) }
        isRemnant = { D.isRemnant($0, in: $1) }
        released = { name, members in
            Kind.Spec.from(.object(members)).map { D.released(name, $0).members } ?? members
        }
        check = { name, members, isNew, model, plane throws(ManagementError) in
            try D.check(name, try Self.spec(Kind.self, members), isNew: isNew, in: model, plane)
        }
        isFinal = { former, wanted in
            guard let former = Kind.Spec.from(.object(former)), let wanted = Kind.Spec.from(.object(wanted)) else {
                return false
            }
            return D.isFinal(from: former, to: wanted)
        }
        isDeletedLast = D.isDeletedLast
        opens = { former, wanted in
            D.opens(
                from: former.flatMap { Kind.Spec.from(.object($0)) }, to: wanted.flatMap { Kind.Spec.from(.object($0)) }
            )
        }
        precedes = { first, second in
            guard let one = Kind.Spec.from(.object(first.1)), let other = Kind.Spec.from(.object(second.1)) else {
                return first.0 < second.0
            }
            return D.precedes((first.0, one), (second.0, other))
        }
        make = { name, members, plane throws(ManagementError) in
            try D.make(name, try Self.spec(Kind.self, members), plane)
        }
        alter = { name, former, wanted, plane throws(ManagementError) in
            try D.alter(name, from: try Self.spec(Kind.self, former), to: try Self.spec(Kind.self, wanted), plane)
        }
        remove = { name, members, plane throws(ManagementError) in
            try D.remove(name, try Self.spec(Kind.self, members), plane)
        }
    }

    private static func spec<Kind: ResourceKind>(
        _ kind: Kind.Type, _ members: Members
    ) throws(ManagementError) -> Kind.Spec {
        guard let spec = Kind.Spec.from(.object(members)) else {
            throw ManagementError(.internal, "the fields are not those of \(Kind.description.aSingular)")
        }
        return spec
    }
}

extension Registry {
    /// The kinds of configuration files, each behind those that it needs.
    static let configured: [ConfiguredKind] = {
        var left = drivers.compactMap { $0 as? any ConfiguredDriver.Type }.map { kind($0) }
        var ordered: [ConfiguredKind] = []
        while !left.isEmpty {
            let known = Set(ordered.map(\.description.plural))
            guard let index = left.firstIndex(where: { known.isSuperset(of: $0.needs) }) else {
                preconditionFailure("kinds do not need each other in a circle")
            }
            ordered.append(left.remove(at: index))
        }
        return ordered
    }()

    private static func kind<D: ConfiguredDriver>(_ driver: D.Type) -> ConfiguredKind { ConfiguredKind(driver) }

    /// The kind that is called so in paths and files.
    static func configured(_ plural: String) throws(ManagementError) -> ConfiguredKind {
        guard let kind = configured.first(where: { $0.description.plural == plural }) else {
            throw ManagementError(.internal, "'\(plural)' are in no configuration")
        }
        return kind
    }
}
