import Resources

/// What initiators see while a configuration is being applied: what they saw before, until all of it is done. So
/// nobody ever sees half of it, nor anything that neither the former nor the new configuration shows.
struct FrontEndFreeze: Sendable {
    /// As it was before, target by target.
    let former: FrontEndPlan
    /// The names of the targets that are being made; closed.
    let new: Set<String>
    /// The tags of the portal groups that there will be; their portals are opened last.
    var portalGroups: Set<Int>
    /// The portals that will be gone, by where they listen: targets may send initiators there when they are.
    var goingPortals: Set<String> = []
    /// Whether `former` is what there will be, and only what is new is kept closed.
    var isForNewOnly = false

    /// What is to be in force while catalog and secrets say `plan`.
    func plan(insteadOf plan: FrontEndPlan) -> FrontEndPlan {
        let formerTargets = Dictionary(former.targets.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var frozen = plan
        frozen.discoveryCredentials = former.discoveryCredentials
        frozen.targets = plan.targets.map { target in
            var target = formerTargets[target.name] ?? target
            if new.contains(target.name) { target.accessLevel = .closed }
            return target
        }
        return frozen
    }
}
