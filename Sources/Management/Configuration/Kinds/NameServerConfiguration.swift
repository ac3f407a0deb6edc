import Catalog
import Resources

extension NameServerDriver: ConfiguredDriver {
    /// Behind what is registered: discovery domains may open something.
    static var needs: [String] { [ISCSITarget.description.plural, Credential.description.plural] }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: NameServer.Spec)] {
        plane.nameService.map { [(NameServer.description.naming.onlyName ?? "", $0.record.spec)] } ?? []
    }

    /// Discovery domains that end, or are another server's, may keep out less.
    static func opens(from former: NameServer.Spec?, to wanted: NameServer.Spec?) -> Bool {
        former?.accessControl == true && former != wanted
    }

    static func make(_ name: String, _ spec: NameServer.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.createNameServer(spec)
    }

    static func alter(
        _ name: String, from former: NameServer.Spec, to wanted: NameServer.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        try plane.changeNameServer(to: wanted, mayWiden: true)
    }

    static func remove(_ name: String, _ spec: NameServer.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.clearNameServer(mayWiden: true)
    }
}
