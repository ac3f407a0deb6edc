import Catalog
import Resources

extension PortalDriver: ConfiguredDriver {
    /// Behind all that can be seen through it.
    static var needs: [String] {
        [
            ISCSITarget.description.plural, Credential.description.plural, NameServer.description.plural,
            Cartridge.description.plural,
        ]
    }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Portal.Spec)] {
        try plane.allPortals().map { ($0.name, $0.spec) }
    }

    static func opens(from former: Portal.Spec?, to wanted: Portal.Spec?) -> Bool { former == nil }

    /// Targets may be offered by its group only.
    static var isDeletedLast: Bool { true }

    static func make(_ name: String, _ spec: Portal.Spec, _ plane: ControlPlane) throws(ManagementError) {
        _ = try plane.addPortal(name, spec)
    }

    /// Nothing of it changes.
    static func alter(
        _ name: String, from former: Portal.Spec, to wanted: Portal.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {}

    static func remove(_ name: String, _ spec: Portal.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.removePortal(name)
    }
}
