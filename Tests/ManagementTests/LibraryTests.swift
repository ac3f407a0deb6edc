import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Libraries and cartridges")
struct LibraryTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    func request(
        name: String = "vtl", profile: String = "p", drives: Int = 1, driveProfile: String = "d", slots: Int = 4,
        mailSlots: Int = 0, cartridges: Int = 0, firstBarcode: String? = nil, cartridgeSize: Int64? = nil
    ) -> LibraryCreation {
        LibraryCreation(
            name: name, profile: profile, drives: drives, driveProfile: driveProfile, slots: slots,
            mailSlots: mailSlots, cartridges: cartridges, firstBarcode: firstBarcode, cartridgeSize: cartridgeSize)
    }

    @Test("a library has its drives, slots and cartridges; deleting leaves nothing")
    func lifecycle() async throws {
        let library = try await fixture.makeLibrary()
        #expect(library.drives.map(\.element) == ["drive:1", "drive:2"])
        #expect(library.cartridges == 2)
        #expect(fixture.files().contains("libraries/vtl/A00002L8.tape"))
        let target = try await controller.target("vtl")
        #expect(target.logicalUnits.map(\.kind) == ["changer", "drive", "drive"])
        try await controller.deleteLibrary("vtl")
        #expect(fixture.files() == ["disks", "libraries"])
        #expect(devices.libraries.isEmpty)
    }

    @Test("a request that makes no sense changes nothing")
    func badInput() async throws {
        let requests = [
            request(name: "VTL"), request(profile: "q"), request(drives: 0), request(drives: 65),
            request(driveProfile: "q"), request(slots: 0), request(slots: 9000), request(mailSlots: -1),
            request(cartridges: 5), request(cartridges: -1), request(cartridges: 2, firstBarcode: "CLN"),
            request(cartridges: 1, firstBarcode: "v1"), request(cartridgeSize: 1), request(cartridgeSize: .max),
        ]
        let before = fixture.files()
        for request in requests {
            let refusal = await fixture.refusal { try await controller.createLibrary(request) }
            #expect(refusal?.code == .invalid, "\(request)")
        }
        #expect(fixture.files() == before)
        #expect(try await controller.libraries().isEmpty)
    }

    @Test("a library whose second cartridge cannot be made is not made at all")
    func rollback() async throws {
        let before = fixture.files()
        devices.fail(atCartridge: "A00002L8")
        #expect(await fixture.refusal { try await fixture.makeLibrary() }?.code == .system)
        #expect(fixture.files() == before)
        #expect(try await controller.libraries().isEmpty)
        devices.fail(atCartridge: nil)
        devices.fail(with: ManagementError(.system, "no"))
        #expect(await fixture.refusal { try await fixture.makeLibrary() }?.message == "no")
        #expect(fixture.files() == before)
    }

    @Test("moves, and the moves that are refused")
    func moves() async throws {
        try await fixture.makeLibrary()
        func move(_ origin: String, _ destination: String) async throws -> CartridgeSummary {
            try await controller.move(library: "vtl", MoveRequest(origin: origin, destination: destination))
        }
        #expect(try await move("slot:1", "drive:2").location == "drive:2")
        let refused: [(String, String, ManagementError.Code)] = [
            ("slot:1", "slot:3", .conflict), ("slot:2", "drive:2", .conflict), ("slot:2", "drive:3", .notFound),
            ("slot:9", "slot:3", .notFound), ("mail:2", "slot:3", .notFound), ("here", "slot:3", .invalid),
            ("slot:2", "slot:0", .invalid),
        ]
        for (origin, destination, code) in refused {
            #expect(await fixture.refusal { try await move(origin, destination) }?.code == code)
        }
        let unknown = await fixture.refusal {
            try await controller.move(library: "x", MoveRequest(origin: "slot:1", destination: "slot:2"))
        }
        #expect(unknown?.code == .notFound)
        let detail = try await controller.library("vtl")
        #expect(detail.moves.map(\.destination) == ["drive:2"])
        #expect(detail.cartridges.map(\.location) == ["drive:2", "slot:2"])
        #expect(detail.library.drives.map(\.barcode) == [nil, "A00001L8"])
        // A cartridge in a drive is neither exported nor deleted.
        let export = await fixture.refusal {
            try await controller.exportCartridge(library: "vtl", CartridgeReference(barcode: "A00001L8"))
        }
        #expect(export?.code == .conflict)
        #expect(
            await fixture.refusal { try await controller.deleteCartridge("A00001L8", library: "vtl") }?.code == .inUse)
    }

    @Test("export to the vault and import to a mail slot")
    func vault() async throws {
        try await fixture.makeLibrary()
        let first = CartridgeReference(barcode: "A00001L8")
        let second = CartridgeReference(barcode: "A00002L8")
        #expect(
            await fixture.refusal { try await controller.importCartridge(library: "vtl", first) }?.code == .conflict)
        #expect(try await controller.exportCartridge(library: "vtl", first).location == "vault")
        #expect(
            await fixture.refusal { try await controller.exportCartridge(library: "vtl", first) }?.code == .conflict)
        #expect(try await controller.exportCartridge(library: "vtl", second).location == "vault")
        #expect(try await controller.importCartridge(library: "vtl", first).location == "mail:1")
        let full = await fixture.refusal { try await controller.importCartridge(library: "vtl", second) }
        #expect(full?.code == .conflict)
        let unknown = await fixture.refusal {
            try await controller.importCartridge(library: "vtl", CartridgeReference(barcode: "X"))
        }
        #expect(unknown?.code == .notFound)
    }

    @Test("cartridges are made in free slots, with a barcode of their own")
    func cartridges() async throws {
        try await fixture.makeLibrary(slots: 3)
        func create(_ barcode: String, size: Int64? = nil) async throws -> CartridgeSummary {
            try await controller.createCartridge(library: "vtl", CartridgeCreation(barcode: barcode, size: size))
        }
        #expect(await fixture.refusal { try await create("A00001L8") }?.code == .conflict)
        #expect(await fixture.refusal { try await create("a") }?.code == .invalid)
        #expect(await fixture.refusal { try await create("B", size: 1) }?.code == .invalid)
        let made = try await create("B00001L8")
        #expect(made.location == "slot:3")
        #expect(made.capacity == 1 << 30)
        let before = fixture.files()
        #expect(await fixture.refusal { try await create("B00002L8") }?.code == .conflict)
        #expect(fixture.files() == before)
        #expect(try await controller.cartridge("B00001L8", library: "vtl").used == 42)
        try await controller.deleteCartridge("B00001L8", library: "vtl")
        #expect(try await controller.cartridges(library: "vtl").map(\.barcode) == ["A00001L8", "A00002L8"])
        #expect(!fixture.files().contains("libraries/vtl/B00001L8.tape"))
        // A move that fails takes the new cartridge back.
        devices.fail(with: ManagementError(.system, "no"))
        #expect(await fixture.refusal { try await create("B00003L8") }?.message == "no")
        devices.fail(with: nil)
        #expect(try await controller.cartridges().count == 2)
        #expect(!fixture.files().contains("libraries/vtl/B00003L8.tape"))
    }

    @Test("the slot of a cartridge in a drive or a mail slot is given to no other one, unless somebody says so")
    func keptSlots() async throws {
        try await fixture.makeLibrary(slots: 4, cartridges: 3)
        func move(_ origin: String, _ destination: String) async throws -> CartridgeSummary {
            try await controller.move(library: "vtl", MoveRequest(origin: origin, destination: destination))
        }
        func create(_ barcode: String) async throws -> CartridgeSummary {
            try await controller.createCartridge(library: "vtl", CartridgeCreation(barcode: barcode, size: nil))
        }
        _ = try await move("slot:1", "drive:1")
        _ = try await move("slot:2", "mail:1")
        #expect(try await create("B00001L8").location == "slot:4")
        let full = await fixture.refusal { try await create("B00002L8") }
        #expect(full?.code == .conflict)
        #expect(full?.message.contains("or kept for 2 of its cartridges") == true)
        // Back to where they were taken from, as an initiator does it by the source element address.
        #expect(try await controller.cartridge("A00001L8", library: "vtl").source == "slot:1")
        #expect(try await move("drive:1", "slot:1").location == "slot:1")
        #expect(try await move("mail:1", "slot:2").location == "slot:2")
        // In another slot it keeps none, and neither does one that is exported.
        _ = try await move("slot:1", "drive:1")
        #expect(try await move("slot:4", "slot:1").location == "slot:1")
        _ = try await move("drive:1", "slot:4")
        _ = try await move("slot:2", "mail:1")
        _ = try await controller.exportCartridge(library: "vtl", CartridgeReference(barcode: "A00002L8"))
        #expect(try await create("B00002L8").location == "slot:2")
    }

    @Test("a library without mail slots gets its exported cartridges back into a free slot")
    func importWithoutMailSlots() async throws {
        _ = try await controller.createLibrary(request(slots: 2, cartridges: 2, firstBarcode: "A00001L8"))
        let first = CartridgeReference(barcode: "A00001L8")
        _ = try await controller.exportCartridge(library: "vtl", first)
        _ = try await controller.move(library: "vtl", MoveRequest(origin: "slot:2", destination: "drive:1"))
        #expect(try await controller.importCartridge(library: "vtl", first).location == "slot:1")
        _ = try await controller.exportCartridge(library: "vtl", first)
        _ = try await controller.createCartridge(library: "vtl", CartridgeCreation(barcode: "B00001L8", size: nil))
        let full = await fixture.refusal { try await controller.importCartridge(library: "vtl", first) }
        #expect(full?.message.contains("are full, or kept for 1 of its cartridges") == true)
    }

    @Test("barcodes that nobody has chosen go on behind those of all libraries")
    func defaultBarcodes() async throws {
        func barcodes(_ library: String) async throws -> [String] {
            try await controller.cartridges(library: library).map(\.barcode)
        }
        _ = try await controller.createLibrary(request(name: "a", cartridges: 2))
        #expect(try await barcodes("a") == ["V00001L8", "V00002L8"])
        _ = try await controller.createLibrary(request(name: "b", cartridges: 1))
        #expect(try await barcodes("b") == ["V00003L8"])
        _ = try await controller.createLibrary(request(name: "c", cartridges: 1, firstBarcode: "V00001L8"))
        _ = try await controller.createLibrary(request(name: "d", cartridges: 1, firstBarcode: "V00041M8"))
        _ = try await controller.createLibrary(request(name: "e", cartridges: 1))
        #expect(try await barcodes("e") == ["V00042L8"])
        _ = try await controller.createLibrary(request(name: "f", cartridges: 1, firstBarcode: "V99999L8"))
        let used = await fixture.refusal { try await controller.createLibrary(request(name: "g", cartridges: 1)) }
        #expect(used?.code == .conflict)
        // Without cartridges no barcode is needed.
        _ = try await controller.createLibrary(request(name: "g"))
    }

    @Test("a library in use is not deleted")
    func inUse() async throws {
        try await fixture.makeLibrary()
        devices.logIn(to: "vtl")
        #expect(await fixture.refusal { try await controller.deleteLibrary("vtl") }?.code == .inUse)
        #expect(await controller.sessions().count == 1)
    }
}
