import Catalog
import Resources

extension LibraryDriver: ConfiguredDriver {
    static var needs: [String] { [] }

    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Library.Spec)] {
        let complete = Set(
            try plane.query { () throws(CatalogError) in try plane.catalog.libraries() }
                .filter { $0.phase == .complete }.map(\.name))
        return try plane.libraries().filter { complete.contains($0.name) }.map { ($0.name, $0.spec) }
    }

    static func companions(_ name: String, _ spec: Library.Spec) -> [Companion] {
        var units = [0: name]
        for number in 1...max(1, spec.drives) { units[number] = "\(name)/drive:\(number)" }
        return [ISCSITargetDriver.companion(name, units: units)]
    }

    static func check(
        _ name: String, _ spec: Library.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {
        guard isNew else { return }
        try plane.check(name, spec)
        try model.checkIsOnlyDevice(name)
    }

    static func make(_ name: String, _ spec: Library.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.createLibrary(name, spec)
    }

    /// Nothing of it changes.
    static func alter(
        _ name: String, from former: Library.Spec, to wanted: Library.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {}

    static func remove(_ name: String, _ spec: Library.Spec, _ plane: ControlPlane) throws(ManagementError) {
        try plane.deleteLibrary(name)
    }
}
