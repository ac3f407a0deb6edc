import Catalog
import Logging
import Resources

// What works as it was asked for, and may nevertheless not be what is wanted.
extension ControlPlane {
    /// How many targets a warning names.
    private static let namedTargets = 3

    /// The warnings of this moment: portals that let other machines in to open targets, targets that no portal offers,
    /// places where a proof is required that nobody can give, disks that have reached their thresholds.
    func warnings() throws(ManagementError) -> [String] {
        try openWarnings() + unreachableWarnings() + secretlessWarnings() + thresholdWarnings()
    }

    /// Tells the log of warnings that it has not been told of.
    func noteWarnings() {
        guard let present = try? warnings() else { return }
        for warning in newWarnings(present) { logger.warning("\(warning)") }
    }

    private func openWarnings() throws(ManagementError) -> [String] {
        let exposed = portals.filter { IPAddress($0.actual.address)?.isLoopback != true }
        guard !exposed.isEmpty else { return [] }
        let targets = try query { () throws(CatalogError) in try catalog.openTargets() }
        return exposed.compactMap { portal in
            let names = targets.filter { $0.portalGroupTags?.contains(portal.group) ?? true }.map(\.name)
            guard let first = names.first else { return nil }
            return Self.sentence(
                names, "is open to everyone", "are open to everyone", "who reaches portal \(portal.actual)")
                + "; close it with 'carousel target access \(DeviceName.alias(ofTarget: first)) loopback', "
                + "or map it to a group"
        }
    }

    private func unreachableWarnings() throws(ManagementError) -> [String] {
        let names = try unreachableTargets(through: portals)
        guard !names.isEmpty else { return [] }
        return [
            Self.sentence(names, "is offered", "are offered", "by portal groups without a portal only")
                + "; add a portal to one, or choose others with 'carousel target set'"
        ]
    }

    /// The targets of portal groups to none of which one of `portals` belongs.
    func unreachableTargets(through portals: [ServedPortal]) throws(ManagementError) -> [String] {
        let tags = Set(portals.map(\.group))
        return try query { () throws(CatalogError) in try catalog.targetsOfPortalGroups() }
            .filter { $0.portalGroupTags?.isDisjoint(with: tags) == true }.map(\.name)
    }

    private func secretlessWarnings() throws(ManagementError) -> [String] {
        let places = try query { () throws(CatalogError) in try catalog.authenticationPlaces() }
        let lost = places.map(CredentialScope.init).filter { secrets.entries[$0] == nil }.map(Self.words).sorted()
        guard !lost.isEmpty else { return [] }
        let named =
            lost.prefix(Self.namedTargets).joined(separator: ", ") + (lost.count > Self.namedTargets ? ", …" : "")
        return [
            "CHAP is required, but no secret is set, so nobody gets in: \(named); "
                + "set one with 'carousel chap create', or end that with 'carousel chap waive'"
        ]
    }

    /// `target 'a' is …` or `5 targets are … (a, b, c, …)`.
    private static func sentence(_ names: [String], _ one: String, _ many: String, _ rest: String) -> String {
        guard names.count > 1 else { return "target '\(DeviceName.alias(ofTarget: names[0]))' \(one) \(rest)" }
        let listed = names.prefix(namedTargets).map(DeviceName.alias).joined(separator: ", ")
        return "\(names.count) targets \(many) \(rest) (\(listed)\(names.count > namedTargets ? ", …" : ""))"
    }
}
