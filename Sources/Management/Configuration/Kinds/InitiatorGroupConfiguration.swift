import Catalog
import Resources

extension InitiatorGroupDriver: ConfiguredDriver {
    static var needs: [String] { [] }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: InitiatorGroup.Spec)] {
        try plane.initiatorGroups().map { ($0.name, $0.spec) }
    }

    /// The members are sets.
    static func normalized(_ members: Members, of name: String, present: InitiatorGroup.Spec?) -> Members {
        var members = members
        for field in ["names", "addresses"] {
            guard case .array(let values)? = members[field] else { continue }
            // In the form in which they are kept, where they have one; what has none is refused later.
            let words = values.map { value in
                guard let text = value.text else { return value }
                let canonical =
                    field == "names"
                    ? try? NamePattern.parse(text).description : try? AddressRange.parse(text).description
                return .text(canonical ?? text)
            }
            members[field] = .array(Set(words).sorted { ($0.text ?? "") < ($1.text ?? "") })
        }
        return members
    }

    static func make(_ name: String, _ spec: InitiatorGroup.Spec, _ plane: ControlPlane) throws(ManagementError) {
        _ = try plane.createInitiatorGroup(name, spec)
    }

    static func alter(
        _ name: String, from former: InitiatorGroup.Spec, to wanted: InitiatorGroup.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        _ = try plane.changeInitiatorGroup(name, to: wanted, mayWiden: true)
    }

    static func remove(_ name: String, _ spec: InitiatorGroup.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.deleteInitiatorGroup(name)
    }
}
