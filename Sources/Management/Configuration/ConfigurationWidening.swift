import Catalog
import ISCSI
import Resources

// Who would see more by a configuration than before. It is stricter than single commands are, for which it is said by
// their names that they give something: a file is long, and nobody sees by its name what it opens.
extension ControlPlane {
    /// Who might see more of what there was in `origin` when `wanted` has taken its place, in a sentence. `isNew` says
    /// of a kind and a name whether the thing is made: what is new hides nothing yet.
    func configurationWidening(
        from origin: ConfigurationModel, to wanted: ConfigurationModel, isNew: (String, String) -> Bool
    ) throws(ManagementError) -> String? {
        let groups = try query { () throws(CatalogError) in try catalog.initiatorGroups() }
        let keys = AccessKeys(
            groups: Dictionary(groups.map { ($0.name, $0.id) }, uniquingKeysWith: { first, _ in first }), origin, wanted
        )
        let before = keys.plans(of: origin)
        for (name, plan) in keys.plans(of: wanted).sorted(by: { $0.key < $1.key }) {
            var former = before[name] ?? plan
            if before[name] == nil { former.accessLevel = .closed }
            if plan.widening(beyond: former) != nil {
                return "somebody would see more of target '\(name)' than before"
            }
            guard plan.accessLevel != .closed, let tags = former.portalGroupTags else { continue }
            if plan.portalGroupTags?.isSubset(of: tags) != true {
                return "more portal groups would offer target '\(name)' than before"
            }
        }
        let portals = Portal.description.plural
        if let portal = (wanted.things[portals] ?? [:]).keys.sorted().first(where: { isNew(portals, $0) }) {
            return "initiators would reach this daemon through portal \(portal) as well"
        }
        for (name, credential) in wanted.specs(Credential.self).sorted(by: { $0.key < $1.key })
        where isNew(Credential.description.plural, name) && !credential.isMutual {
            if try asksForProof(String(name.prefix { $0 != "/" }), in: origin) {
                return "who knows the secret of credential '\(name)' would get in as well"
            }
        }
        if let server = origin.specs(NameServer.self).values.first, server.accessControl,
            wanted.specs(NameServer.self).values.first != server
        {
            return "the discovery domains of \(server.server) would not keep initiators out any more"
        }
        return nil
    }

    /// Whether a proof is asked for at a place.
    private func asksForProof(
        _ place: String, in model: ConfigurationModel
    ) throws(ManagementError) -> Bool {
        switch try CredentialPlace.parse(place) {
        case .target(let target):
            return model.spec(ISCSITarget.self, ISCSITargetDriver.canonical(target))?.authentication == .chap
        case .group(let group): return model.spec(InitiatorGroup.self, group)?.authentication == .chap
        case .discovery:
            return try query { () throws(CatalogError) in try catalog.authenticationPlaces() }.contains(.discovery)
        }
    }
}

/// Numbers for groups and devices that stand for the catalog's, for those also that it does not have yet.
private struct AccessKeys {
    private var groups: [String: Int64]
    private var devices: [String: Int64] = [:]

    /// `groups` are those that the catalog has.
    init(groups: [String: Int64], _ origin: ConfigurationModel, _ wanted: ConfigurationModel) {
        self.groups = groups
        var next = (groups.values.max() ?? 0) + 1
        // In the order in which they are made: of two with one rank the first counts.
        for name in (wanted.things[InitiatorGroup.description.plural] ?? [:]).keys.sorted() where groups[name] == nil {
            self.groups[name] = next
            next += 1
        }
        let names = origin.index.devices.union(wanted.index.devices)
        for (number, name) in names.sorted().enumerated() { devices[name] = Int64(number) }
    }

    private func units(_ names: [Int: String]) -> [Int: Int64] { names.compactMapValues { devices[$0] } }

    /// What the front end would do with the targets of `model`, by name.
    func plans(of model: ConfigurationModel) -> [String: TargetPlan] {
        var members: [String: (rank: Int, membership: InitiatorMembership, asksForProof: Bool)] = [:]
        for (name, group) in model.specs(InitiatorGroup.self) {
            members[name] = (
                group.rank ?? .max,
                InitiatorMembership(
                    names: group.names.compactMap { try? NamePattern.parse($0) },
                    addresses: group.addresses.compactMap { try? AddressRange.parse($0) }),
                group.authentication == .chap
            )
        }
        return model.specs(ISCSITarget.self).reduce(into: [:]) { plans, target in
            let (name, spec) = (target.key, target.value)
            let credentials: CredentialSet? = spec.authentication == .chap ? .unknown : nil
            let access = spec.groups.compactMap { name, access in
                members[name].flatMap { member in
                    groups[name].map { (rank: member.rank, key: $0, member: member, units: access.units) }
                }
            }.sorted { ($0.rank, $0.key) < ($1.rank, $1.key) }
            plans[name] = TargetPlan(
                name: name, alias: name, belongsToDevice: false, logicalUnits: units(spec.units),
                portalGroupTags: spec.portalGroups.map { Set($0.map { UInt16(clamping: $0) }) },
                accessLevel: spec.access,
                groups: access.map { access in
                    TargetGroupPlan(
                        group: access.key, members: access.member.membership,
                        logicalUnits: access.units.map(units),
                        credentials: access.member.asksForProof ? .unknown : credentials)
                },
                redirection: nil, credentials: credentials)
        }
    }
}
