import Catalog
public import Resources

public struct LibraryDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Library>] {
        page.slice(try await controller.libraries())
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Library> {
        try await controller.library(name)
    }

    public func startCreation(_ name: String, _ spec: Library.Spec) async throws(ManagementError) -> JobSummary {
        try await controller.startCreation(ofLibrary: name, spec)
    }

    public func startDeletion(_ name: String) async throws(ManagementError) -> JobSummary {
        try await controller.startDeletion(ofLibrary: name)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        let library = name ?? ""
        let cartridge: Resource<Cartridge>
        if action == Library.Move.description.name {
            cartridge = try await controller.move(
                library: library, try Library.Move.Arguments(arguments, of: "a move"))
        } else {
            let barcode = try Library.BarcodeArgument(arguments, of: "an \(action)").barcode
            cartridge =
                action == Library.Export.description.name
                ? try await controller.exportCartridge(barcode, library: library)
                : try await controller.importCartridge(barcode, library: library)
        }
        let barcode = cartridge.name.dropFirst(library.count + 1)
        let isPutInSlot =
            action == Library.Import.description.name && cartridge.status.place.hasPrefix(ElementKind.slot.rawValue)
        return [
            "done": .text(
                "cartridge \(barcode) is in \(cartridge.status.place == "vault" ? "the " : "")"
                    + cartridge.status.place
                    + (isPutInSlot ? ", for library '\(library)' has no mail slots" : "")),
            "cartridge": cartridge.json,
        ]
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        try controller.plane.libraryRecord(name).generation
    }
}
