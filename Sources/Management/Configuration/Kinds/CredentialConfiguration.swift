import Catalog
import ISCSI
import Resources

extension CredentialDriver: ConfiguredDriver {
    static var needs: [String] { [ISCSITarget.description.plural, InitiatorGroup.description.plural] }

    /// With the secrets, so that they can be put back.
    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Credential.Spec)] {
        plane.credentials(withSecrets: true).map { ($0.name, $0.spec) }
    }

    /// The algorithms in their order.
    static func normalized(_ members: Members, of name: String, present: Credential.Spec?) -> Members {
        guard let algorithms = members["algorithms"].flatMap([String].from),
            Set(algorithms).isSubset(of: Credential.algorithms)
        else { return members }
        var members = members
        members["algorithms"] = Credential.algorithms.filter(algorithms.contains).json
        return members
    }

    static func check(
        _ name: String, _ spec: Credential.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {
        let place = String(name.prefix { $0 != "/" })
        let authentication: AuthenticationMethod?
        switch try CredentialPlace.parse(place) {
        case .target(let target):
            authentication = model.spec(ISCSITarget.self, ISCSITargetDriver.canonical(target))?.authentication
        case .group(let group): authentication = model.spec(InitiatorGroup.self, group)?.authentication
        case .discovery: authentication = .chap
        }
        guard let authentication else {
            throw ManagementError(
                .invalid, "credential '\(name)' is at '\(place)', which the configuration does not have")
        }
        guard authentication == .chap else {
            throw ManagementError(
                .invalid,
                "credential '\(name)' is at '\(place)', where no proof is asked for; say \"authentication\": \"chap\" "
                    + "there, or leave the credential out and say --prune", field: "authentication")
        }
        if let own = spec.algorithms, let first = model.index.algorithms[place], own != first.algorithms {
            throw ManagementError(
                .invalid,
                "credentials '\(name)' and '\(first.credential)' allow different algorithms; a place allows the same "
                    + "for all", field: "algorithms")
        }
    }

    /// The target's own last, for it needs others there.
    static func precedes(_ first: (String, Credential.Spec), _ second: (String, Credential.Spec)) -> Bool {
        (first.1.isMutual ? 1 : 0, first.0) < (second.1.isMutual ? 1 : 0, second.0)
    }

    static func make(_ name: String, _ spec: Credential.Spec, _ plane: ControlPlane) throws(ManagementError) {
        _ = try plane.createCredential(name, spec)
    }

    static func alter(
        _ name: String, from former: Credential.Spec, to wanted: Credential.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        _ = try plane.changeCredential(try plane.credential(name), to: wanted)
    }

    /// It may have gone with its place, or with the proof that was asked for there.
    static func remove(_ name: String, _ spec: Credential.Spec, _ plane: ControlPlane) throws(ManagementError) {
        guard plane.credentials().contains(where: { $0.name == name }) else { return }
        try plane.deleteCredential(name)
    }
}
