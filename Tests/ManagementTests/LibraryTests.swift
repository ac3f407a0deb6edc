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

    @Test("a library has its drives, slots and cartridges; deleting leaves nothing")
    func lifecycle() async throws {
        let library = try await fixture.makeLibrary()
        #expect(try await controller.drives(library: "vtl").map(\.name) == ["vtl/drive:1", "vtl/drive:2"])
        #expect(library.spec.drives == 2 && library.status.cartridges == 2)
        #expect(fixture.files().contains("libraries/vtl/A00002L8.tape"))
        let target = try await controller.target("vtl")
        #expect(target.status.units.map(\.kind) == ["changer", "drive", "drive"])
        try await controller.deleteLibrary("vtl")
        #expect(fixture.files() == ["disks", "libraries"])
        #expect(devices.libraries.isEmpty)
    }

    @Test("a request that makes no sense changes nothing")
    func badInput() async throws {
        let good: [String: JSONValue] = ["profile": "p", "drives": 1, "driveProfile": "d", "slots": 4, "mailSlots": 0]
        let changes: [(String, [String: JSONValue])] = [
            ("VTL", [:]), ("vtl", ["profile": "q"]), ("vtl", ["profile": .null]), ("vtl", ["drives": 0]),
            ("vtl", ["drives": 65]), ("vtl", ["driveProfile": "q"]), ("vtl", ["slots": 0]), ("vtl", ["slots": 9000]),
            ("vtl", ["mailSlots": -1]), ("vtl", ["mailslots": 1]), ("vtl", ["cartridges": 5]),
            ("vtl", ["cartridges": -1]), ("vtl", ["cartridges": 2, "firstBarcode": "CLN"]),
            ("vtl", ["cartridges": 1, "firstBarcode": "v1"]), ("vtl", ["cartridgeSize": 1]),
            ("vtl", ["cartridgeSize": .integer(.max)]),
        ]
        let before = fixture.files()
        for (name, change) in changes {
            let refusal = await fixture.refusal {
                try await fixture.endpoint("libraries").create(name, good.merging(change) { $1 })
            }
            #expect(refusal?.code == .invalid, "\(name) \(change)")
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
        func move(_ origin: String, _ destination: String) async throws -> Resource<Cartridge> {
            try await controller.move(library: "vtl", Library.Move.Arguments(from: origin, to: destination))
        }
        #expect(try await move("slot:1", "drive:2").status.place == "drive:2")
        let refused: [(String, String, ManagementError.Code)] = [
            ("slot:1", "slot:3", .conflict), ("slot:2", "drive:2", .conflict), ("slot:2", "drive:3", .notFound),
            ("slot:9", "slot:3", .notFound), ("mail:2", "slot:3", .notFound), ("here", "slot:3", .invalid),
            ("slot:2", "slot:0", .invalid),
        ]
        for (origin, destination, code) in refused {
            #expect(await fixture.refusal { try await move(origin, destination) }?.code == code)
        }
        let unknown = await fixture.refusal {
            try await controller.move(library: "x", Library.Move.Arguments(from: "slot:1", to: "slot:2"))
        }
        #expect(unknown?.code == .notFound)
        #expect(try await controller.moves(library: "vtl").map(\.status.to) == ["drive:2"])
        #expect(try await controller.cartridges(library: "vtl").map(\.status.place) == ["drive:2", "slot:2"])
        #expect(try await controller.drives(library: "vtl").map(\.status.cartridge) == [nil, "A00001L8"])
        // A cartridge in a drive is neither exported nor deleted.
        let export = await fixture.refusal {
            try await controller.exportCartridge("A00001L8", library: "vtl")
        }
        #expect(export?.code == .conflict)
        #expect(
            await fixture.refusal { try await controller.deleteCartridge("A00001L8", library: "vtl") }?.code == .inUse)
    }

    @Test("export to the vault and import to a mail slot")
    func vault() async throws {
        try await fixture.makeLibrary()
        let (first, second) = ("A00001L8", "A00002L8")
        #expect(
            await fixture.refusal { try await controller.importCartridge(first, library: "vtl") }?.code == .conflict)
        #expect(try await controller.exportCartridge(first, library: "vtl").status.place == "vault")
        #expect(
            await fixture.refusal { try await controller.exportCartridge(first, library: "vtl") }?.code == .conflict)
        #expect(try await controller.exportCartridge(second, library: "vtl").status.place == "vault")
        #expect(try await controller.importCartridge(first, library: "vtl").status.place == "mail:1")
        let full = await fixture.refusal { try await controller.importCartridge(second, library: "vtl") }
        #expect(full?.code == .conflict)
        let unknown = await fixture.refusal {
            try await controller.importCartridge("X", library: "vtl")
        }
        #expect(unknown?.code == .notFound)
    }

    @Test("cartridges are made in free slots, with a barcode of their own")
    func cartridges() async throws {
        try await fixture.makeLibrary(slots: 3)
        func create(_ barcode: String, size: Int64? = nil) async throws -> JSONValue {
            let spec: [String: JSONValue] = size.map { ["size": .integer($0)] } ?? [:]
            return try await fixture.endpoint("cartridges").create("vtl/" + barcode, spec)
        }
        #expect(await fixture.refusal { try await create("A00001L8") }?.code == .conflict)
        #expect(await fixture.refusal { try await create("a") }?.code == .invalid)
        #expect(await fixture.refusal { try await create("B", size: 1) }?.code == .invalid)
        let made = try await create("B00001L8")
        #expect(made["status"]?["place"] == "slot:3")
        #expect(made["spec"]?["size"] == 1_073_741_824)
        let before = fixture.files()
        #expect(await fixture.refusal { try await create("B00002L8") }?.code == .conflict)
        #expect(fixture.files() == before)
        #expect(try await controller.cartridge("B00001L8", library: "vtl").status.used == 42)
        try await controller.deleteCartridge("B00001L8", library: "vtl")
        #expect(try await controller.cartridges(library: "vtl").map(\.name) == ["vtl/A00001L8", "vtl/A00002L8"])
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
        func move(_ origin: String, _ destination: String) async throws -> Resource<Cartridge> {
            try await controller.move(library: "vtl", Library.Move.Arguments(from: origin, to: destination))
        }
        func create(_ barcode: String) async throws -> Resource<Cartridge> {
            try await controller.createCartridge(barcode, library: "vtl")
        }
        _ = try await move("slot:1", "drive:1")
        _ = try await move("slot:2", "mail:1")
        #expect(try await create("B00001L8").status.place == "slot:4")
        let full = await fixture.refusal { try await create("B00002L8") }
        #expect(full?.code == .conflict)
        #expect(full?.message.contains("or kept for 2 of its cartridges") == true)
        // Back to where they were taken from, as an initiator does it by the source element address.
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.source == "slot:1")
        #expect(try await move("drive:1", "slot:1").status.place == "slot:1")
        #expect(try await move("mail:1", "slot:2").status.place == "slot:2")
        // In another slot it keeps none, and neither does one that is exported.
        _ = try await move("slot:1", "drive:1")
        #expect(try await move("slot:4", "slot:1").status.place == "slot:1")
        _ = try await move("drive:1", "slot:4")
        _ = try await move("slot:2", "mail:1")
        _ = try await controller.exportCartridge("A00002L8", library: "vtl")
        #expect(try await create("B00002L8").status.place == "slot:2")
    }

    func spec(slots: Int = 4, cartridges: Int = 0, firstBarcode: String? = nil) -> Library.Spec {
        Library.Spec(
            profile: "p", drives: 1, driveProfile: "d", slots: slots, cartridges: cartridges, firstBarcode: firstBarcode
        )
    }

    @Test("a library without mail slots gets its exported cartridges back into a free slot")
    func importWithoutMailSlots() async throws {
        _ = try await controller.createLibrary("vtl", spec(slots: 2, cartridges: 2, firstBarcode: "A00001L8"))
        _ = try await controller.exportCartridge("A00001L8", library: "vtl")
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:2", to: "drive:1"))
        let answer = try await fixture.endpoint("libraries").perform("import", "vtl", ["barcode": "A00001L8"])
        #expect(answer["done"] == "cartridge A00001L8 is in slot:1, for library 'vtl' has no mail slots")
        _ = try await controller.exportCartridge("A00001L8", library: "vtl")
        _ = try await controller.createCartridge("B00001L8", library: "vtl")
        let full = await fixture.refusal { try await controller.importCartridge("A00001L8", library: "vtl") }
        #expect(full?.message.contains("are full, or kept for 1 of its cartridges") == true)
    }

    @Test("barcodes that nobody has chosen go on behind those of all libraries")
    func defaultBarcodes() async throws {
        func barcodes(_ library: String) async throws -> [String] {
            try await controller.cartridges(library: library).map { String($0.name.dropFirst(library.count + 1)) }
        }
        _ = try await controller.createLibrary("a", spec(cartridges: 2))
        #expect(try await barcodes("a") == ["V00001L8", "V00002L8"])
        _ = try await controller.createLibrary("b", spec(cartridges: 1))
        #expect(try await barcodes("b") == ["V00003L8"])
        _ = try await controller.createLibrary("c", spec(cartridges: 1, firstBarcode: "V00001L8"))
        _ = try await controller.createLibrary("d", spec(cartridges: 1, firstBarcode: "V00041M8"))
        _ = try await controller.createLibrary("e", spec(cartridges: 1))
        #expect(try await barcodes("e") == ["V00042L8"])
        _ = try await controller.createLibrary("f", spec(cartridges: 1, firstBarcode: "V99999L8"))
        let used = await fixture.refusal { try await controller.createLibrary("g", spec(cartridges: 1)) }
        #expect(used?.code == .conflict)
        // Without cartridges no barcode is needed.
        _ = try await controller.createLibrary("g", spec())
    }

    @Test("a library in use is not deleted")
    func inUse() async throws {
        try await fixture.makeLibrary()
        devices.logIn(to: "vtl")
        #expect(await fixture.refusal { try await controller.deleteLibrary("vtl") }?.code == .inUse)
        #expect(try await controller.sessions().count == 1)
    }
}
