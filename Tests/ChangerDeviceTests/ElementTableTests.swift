import Profiles
import Testing

@testable import ChangerDevice

@Suite("Elements")
struct ElementTableTests {
    let profile: LibraryProfile

    init() throws { profile = try ProfileLibrary().library(named: "ibm-03584l32") }

    func table(
        drives: Int = 2, slots: Int = 4, mailSlots: Int = 1, _ contents: [LibraryElement: ElementContent] = [:]
    ) throws(LibraryError) -> ElementTable {
        try ElementTable(
            profile, driveCount: drives, slotCount: slots, mailSlotCount: mailSlots, contents: contents)
    }

    @Test("a library with more elements than its profile allows is an error that says so")
    func tooManyElements() throws {
        let slots = profile.storage.maximumCount
        #expect(throws: LibraryError.self) { try table(drives: profile.dataTransfer.maximumCount + 1) }
        #expect(throws: LibraryError.self) { try table(mailSlots: profile.importExport.maximumCount + 1) }
        let error = #expect(throws: LibraryError.self) { try table(slots: slots + 1) }
        #expect(
            error?.description == "it has \(slots + 1) slots, and its profile 'ibm-03584l32' allows \(slots)")
        #expect(try table(slots: slots).group(.storage).contents.count == slots)
    }

    @Test(
        "a cartridge in an element that is not there is an error that names both",
        arguments: [
            LibraryElement(.storage, 5), LibraryElement(.storage, 0), LibraryElement(.dataTransfer, 3),
            LibraryElement(.importExport, 2), LibraryElement(.mediumTransport, 1),
        ])
    func noSuchElement(_ element: LibraryElement) {
        let error = #expect(throws: LibraryError.self) { try table([element: ElementContent(barcode: "A1")]) }
        #expect(error?.description == "its cartridge 'A1' is in \(element), which it does not have")
    }

    @Test("a source element that is not there is forgotten")
    func lostSource() throws {
        let element = LibraryElement(.dataTransfer, 1)
        let content = ElementContent(barcode: "A1", source: LibraryElement(.storage, 70000), isImported: true)
        let found = try table([element: content])[element]
        #expect(found == ElementContent(barcode: "A1", source: nil, isImported: true))
    }
}
