import Catalog
import Resources

// Where cartridges that come into a library are put, and how new ones are labelled, when nobody says so.
extension ControlPlane {
    static func elementCount(_ kind: ElementKind, of library: LibraryRecord) -> Int {
        switch kind {
        case .slot: library.slotCount
        case .drive: library.drives.count
        case .mail: library.mailSlotCount
        }
    }

    /// The first element of `kind` that has no cartridge and is not kept for one.
    func freeElement(
        _ kind: ElementKind, of library: LibraryRecord, _ cartridges: [CartridgeRecord]
    ) -> ElementAddress? {
        let taken = Set(cartridges.compactMap(\.location.element) + cartridges.compactMap(\.keptSlot))
        let count = Self.elementCount(kind, of: library)
        return (0..<count).lazy.map { ElementAddress(kind: kind, number: $0 + 1) }.first { !taken.contains($0) }
    }

    /// The first slot for a cartridge that comes into the library.
    func freeSlot(of library: LibraryRecord, _ cartridges: [CartridgeRecord]) throws(ManagementError) -> ElementAddress
    {
        if let slot = freeElement(.slot, of: library, cartridges) { return slot }
        let kept = Set(cartridges.compactMap(\.keptSlot)).subtracting(cartridges.compactMap(\.location.element)).count
        throw ManagementError(
            .conflict,
            "the \(library.slotCount) slots of library '\(library.name)' are full"
                + (kept == 0 ? "" : ", or kept for \(kept) of its cartridges that were taken out of them")
                + "; export or delete a cartridge first")
    }

    /// The first barcode of a new library: when nobody has chosen it, the one behind those of this kind in all
    /// libraries, so that no two have the same ones.
    func firstBarcode(of request: Library.Spec) throws(ManagementError) -> String {
        if let barcode = request.firstBarcode { return barcode }
        let last = try query { () throws(CatalogError) in try catalog.lastVolumeSerial() }
        let number = (last.flatMap { Int($0.dropFirst()) } ?? 0) + 1
        guard number + request.cartridges - 1 <= 99999 else {
            throw ManagementError(
                .conflict, "barcodes up to V99999 are used; choose others, with a first one such as W00001L8")
        }
        return "V" + String(100_000 + number).dropFirst() + assembly.barcodeSuffix(driveProfile: request.driveProfile)
    }
}
