import Catalog
import Resources

// From what there is and what a file describes to what is to be done.
extension ControlPlane {
    /// All that configuration files describe, as it is.
    func configurationModel() throws(ManagementError) -> ConfigurationModel {
        var model = ConfigurationModel()
        for kind in Registry.configured { model.things[kind.description.plural] = try kind.present(self) }
        model.updateIndex()
        return model
    }

    /// What makes of what there is what `document` describes. What it does not mention stays, unless `prunes`.
    ///
    /// - Throws: When something of it cannot be; then nothing of it is possible.
    func configurationPlan(
        _ document: ConfigurationDocument, prunes: Bool
    ) throws(ManagementError) -> ConfigurationPlan {
        let present = try configurationModel()
        var origin = present
        let wanted = try wantedModel(document, present, &origin, prunes: prunes)
        for kind in Registry.configured {
            for (name, members) in (wanted.things[kind.description.plural] ?? [:]).sorted(by: { $0.key < $1.key }) {
                guard !kind.isCompanion(name, present) || kind.isCompanion(name, wanted) else {
                    throw ManagementError(
                        .invalid,
                        "\(kind.description.singular) '\(name)' goes with what it was made with, which the "
                            + "configuration does not have; leave it out")
                }
                try kind.check(name, members, origin[kind.description.plural, name] == nil, wanted, self)
            }
        }
        var steps: [ConfigurationStep] = []
        for kind in Registry.configured {
            steps +=
                kind.description.plural == Cartridge.description.plural
                ? try placements(from: origin, to: wanted) : Self.steps(kind, from: origin, to: wanted)
            steps += Self.releases(kind, from: present, to: wanted)
        }
        let kinds = Registry.configured.reversed()
        for kind in kinds.filter({ !$0.isDeletedLast }) + kinds.filter(\.isDeletedLast) {
            steps += Self.deletions(kind, from: present, to: wanted)
        }
        return ConfigurationPlan(
            present: origin, wanted: wanted,
            steps: steps.filter { !$0.isFinal && !$0.opens } + steps.filter { !$0.isFinal && $0.opens }
                + steps.filter(\.isFinal),
            widening: try configurationWidening(from: origin, to: wanted, isNew: { present[$0, $1] == nil }))
    }

    /// What there will be. `origin` gets what comes with things that are made, as it is at first.
    private func wantedModel(
        _ document: ConfigurationDocument, _ present: ConfigurationModel, _ origin: inout ConfigurationModel,
        prunes: Bool
    ) throws(ManagementError) -> ConfigurationModel {
        var wanted = ConfigurationModel()
        for kind in Registry.configured {
            let plural = kind.description.plural
            var things = prunes ? [:] : origin.things[plural] ?? [:]
            for item in document.items[plural] ?? [] {
                things[item.name] = try kind.wanted(item.name, item.spec, origin[plural, item.name])
            }
            if prunes {
                // What goes with others is not deleted alone.
                for (name, members) in origin.things[plural] ?? [:]
                where things[name] == nil && kind.isCompanion(name, wanted) { things[name] = members }
            }
            wanted.things[plural] = things
            for (name, members) in things where present[plural, name] == nil {
                for companion in kind.companions(name, members) where origin[companion.kind, companion.name] == nil {
                    origin[companion.kind, companion.name] = companion.spec
                }
            }
        }
        wanted.updateIndex()
        return wanted
    }

    private static func steps(
        _ kind: ConfiguredKind, from origin: ConfigurationModel, to wanted: ConfigurationModel
    ) -> [ConfigurationStep] {
        let plural = kind.description.plural
        let things = (wanted.things[plural] ?? [:]).sorted { kind.precedes(($0.key, $0.value), ($1.key, $1.value)) }
        return things.compactMap { name, members in
            let former = origin[plural, name]
            guard former != members else { return nil }
            return ConfigurationStep(
                verb: former == nil ? .create : .change, kind: plural, name: name, former: former, wanted: members,
                isFinal: former.map { kind.isFinal($0, members) } ?? false, opens: kind.opens(former, members))
        }
    }

    /// What others need is not held by what goes with a device, which is deleted last.
    private static func releases(
        _ kind: ConfiguredKind, from present: ConfigurationModel, to wanted: ConfigurationModel
    ) -> [ConfigurationStep] {
        let plural = kind.description.plural
        let gone = (present.things[plural] ?? [:]).filter { name, _ in
            wanted[plural, name] == nil && kind.isCompanion(name, present)
        }
        return gone.sorted { $0.key < $1.key }.compactMap { name, members in
            let released = kind.released(name, members)
            guard released != members else { return nil }
            return ConfigurationStep(
                verb: .change, kind: plural, name: name, former: members, wanted: released, isDetour: true)
        }
    }

    private static func deletions(
        _ kind: ConfiguredKind, from present: ConfigurationModel, to wanted: ConfigurationModel
    ) -> [ConfigurationStep] {
        let plural = kind.description.plural
        let gone = (present.things[plural] ?? [:]).filter { name, _ in
            wanted[plural, name] == nil && !kind.isCompanion(name, present) && !kind.isRemnant(name, wanted)
        }
        return gone.sorted { kind.precedes(($1.key, $1.value), ($0.key, $0.value)) }.map { name, members in
            ConfigurationStep(
                verb: .delete, kind: plural, name: name, former: members, wanted: nil,
                isFinal: kind.description.deletionIsDestructive, opens: kind.opens(members, nil))
        }
    }
}

extension ConfigurationPlan {
    /// What changes, a line for each thing that is made or deleted and for each field that changes.
    var lines: [String] {
        let deleted = Set(steps.lazy.filter { $0.verb == .delete }.map { "\($0.kind)/\($0.name)" })
        return Registry.configured.flatMap { kind in
            let description = kind.description
            let (before, after) = (present.things[description.plural] ?? [:], wanted.things[description.plural] ?? [:])
            let names = Set(before.keys).union(after.keys).sorted { description.naming.precedes($0, $1) }
            return names.flatMap { name -> [String] in
                let thing = "\(description.singular) '\(name)'"
                switch (before[name], after[name]) {
                case (nil, let new?): return ["create \(thing)" + Self.words(description, new)]
                case (let old?, let new?): return Self.changes(description, old, new).map { "change \(thing): \($0)" }
                case (_?, nil):
                    guard deleted.contains("\(description.plural)/\(name)") else { return [] }
                    return ["delete \(thing)\(description.deletionIsDestructive ? " with its content" : "")"]
                case (nil, nil): return []
                }
            }
        }
    }

    /// The media that are deleted, in words.
    var deletedMedia: [String] {
        final.filter { $0.verb == .delete }.compactMap { step in
            (try? Registry.configured(step.kind)).map { "\($0.description.singular) '\(step.name)'" }
        }
    }

    private static func words(_ kind: KindDescription, _ members: Members) -> String {
        let words = kind.spec.compactMap { field -> String? in
            guard !field.isSecret, let value = members[field.name], !value.isEmpty else { return nil }
            return "\(field.label) \(field.shown(value))"
        }
        return words.isEmpty ? "" : ": \(words.joined(separator: ", "))"
    }

    private static func changes(_ kind: KindDescription, _ old: Members, _ new: Members) -> [String] {
        kind.spec.compactMap { field in
            guard old[field.name] != new[field.name] else { return nil }
            guard !field.isSecret else { return "\(field.label): another one" }
            return "\(field.label): \(field.shown(old[field.name] ?? .null)) -> "
                + field.shown(new[field.name] ?? .null)
        }
    }
}

extension JSONValue {
    /// Whether it holds nothing.
    fileprivate var isEmpty: Bool {
        switch self {
        case .null: true
        case .array(let elements): elements.isEmpty
        case .object(let members): members.isEmpty
        default: false
        }
    }
}
