import Catalog
public import Resources

public struct CartridgeDriver: Driver {
    private let controller: Controller

    public init(_ controller: Controller) { self.controller = controller }

    /// The library and the barcode of the cartridge `name`, which has been checked.
    static func parts(_ name: String) -> (library: String, barcode: String) {
        let parts = name.split(separator: "/", maxSplits: 1)
        return (String(parts.first ?? ""), String(parts.last ?? ""))
    }

    public func list(_ page: Page) async throws(ManagementError) -> [Resource<Cartridge>] {
        guard page.last == nil else { return page.slice(try await controller.cartridges(library: page.whole)) }
        return try await controller.cartridges(library: page.whole, after: page.after, limit: page.limit)
    }

    public func show(_ name: String) async throws(ManagementError) -> Resource<Cartridge> {
        let (library, barcode) = Self.parts(name)
        return try await controller.cartridge(barcode, library: library)
    }

    public func create(_ name: String, _ spec: Cartridge.Spec) async throws(ManagementError) -> Resource<Cartridge> {
        let (library, barcode) = Self.parts(name)
        return try await controller.createCartridge(barcode, library: library, spec)
    }

    public func change(
        _ present: Resource<Cartridge>, to spec: Cartridge.Spec
    ) async throws(ManagementError) -> Resource<Cartridge> {
        let (library, barcode) = Self.parts(present.name)
        return try await controller.changeCartridge(barcode, library: library, to: spec)
    }

    public func delete(_ name: String) async throws(ManagementError) {
        let (library, barcode) = Self.parts(name)
        try await controller.deleteCartridge(barcode, library: library)
    }

    public func perform(
        _ action: String, on name: String?, _ arguments: [String: JSONValue]
    ) async throws(ManagementError) -> JSONValue {
        _ = try NoFields(arguments, of: action)
        let (library, barcode) = Self.parts(name ?? "")
        try await controller.acknowledgeLoss(ofCartridge: barcode, library: library)
        return ["done": .text("cartridge \(barcode) can be written again")]
    }

    public func generation(of name: String) throws(ManagementError) -> Int64? {
        let (library, barcode) = Self.parts(name)
        let plane = controller.plane
        return try plane.cartridgeRecord(barcode, library: try plane.libraryRecord(library)).generation
    }
}
