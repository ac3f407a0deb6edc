import Catalog
import Resources

extension CartridgeDriver: ConfiguredDriver {
    static var needs: [String] { [Library.description.plural] }

    /// By the catalog alone: files have no say in what is wanted.
    static func present(_ plane: ControlPlane) throws(ManagementError) -> [(name: String, spec: Cartridge.Spec)] {
        var cartridges: [(name: String, spec: Cartridge.Spec)] = []
        for library in try plane.libraryRecords(nil) where library.phase == .complete {
            for cartridge in try plane.cartridgeRecords(library) where cartridge.phase == .complete {
                cartridges.append(
                    (
                        "\(library.name)/\(cartridge.barcode)",
                        Cartridge.Spec(size: cartridge.capacity, home: cartridge.home?.description)
                    ))
            }
        }
        return cartridges
    }

    /// All cartridges of a library go with it.
    static func isRemnant(_ name: String, in model: ConfigurationModel) -> Bool {
        model[Library.description.plural, parts(name).library] == nil
    }

    static func check(
        _ name: String, _ spec: Cartridge.Spec, isNew: Bool, in model: ConfigurationModel, _ plane: ControlPlane
    ) throws(ManagementError) {
        let (libraryName, barcode) = parts(name)
        guard let library = model.spec(Library.self, libraryName) else {
            throw ManagementError(
                .invalid, "cartridge '\(name)' is of library '\(libraryName)', which the configuration does not have")
        }
        if let home = spec.home, let element = try CartridgeLocation.parse(home: home).element {
            let count = element.kind == .slot ? library.slots : library.mailSlots
            guard element.number <= count else {
                throw ManagementError(
                    .invalid,
                    "cartridge '\(name)' has its home in \(element), and library '\(libraryName)' has \(count) such "
                        + "elements", field: "home")
            }
        }
        guard isNew else { return }
        try plane.assembly.checkBarcode(
            barcode, libraryProfile: library.profile, driveProfile: library.driveProfile)
        if let size = spec.size { try plane.checkCapacity(size) }
    }

    static func make(_ name: String, _ spec: Cartridge.Spec, _ plane: ControlPlane) throws(ManagementError) {
        let (library, barcode) = parts(name)
        try plane.createCartridge(barcode, library: library, spec)
    }

    static func alter(
        _ name: String, from former: Cartridge.Spec, to wanted: Cartridge.Spec, _ plane: ControlPlane
    ) throws(ManagementError) {
        let (library, barcode) = parts(name)
        _ = try plane.changeCartridge(barcode, library: library, to: wanted)
    }

    static func remove(_ name: String, _ spec: Cartridge.Spec, _ plane: ControlPlane) throws(ManagementError) {
        let (library, barcode) = parts(name)
        try plane.deleteCartridge(barcode, library: library)
    }
}
