import Foundation
import Logging
import Testing

@testable import Management

@Suite("Real devices behind the controller", .serialized)
struct LocalDevicesTests {
    let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    /// Runs `body` with a controller that serves on a free port, and stops it.
    func serving(_ body: (Controller) async throws -> Void) async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let controller = try Controller(folder: try StateFolder(path: path), logger: logger) {
            resources throws(ManagementError) in try LocalDevices(resources)
        }
        do {
            try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 0)])
            try await body(controller)
        } catch {
            Issue.record(error)
        }
        await controller.shutDown()
        controller.folder.release()
    }

    func code(_ operation: () async throws -> some Sendable) async -> ManagementError.Code? {
        do {
            _ = try await operation()
            return nil
        } catch {
            return (error as? ManagementError)?.code
        }
    }

    func library(
        slots: Int = 4, cartridges: Int = 2, firstBarcode: String = "V00001L8", profile: String = "ibm-03584l32",
        driveProfile: String = "ibm-ult3580-td8"
    ) -> LibraryCreation {
        LibraryCreation(
            name: "vtl", profile: profile, drives: 2, driveProfile: driveProfile, slots: slots, mailSlots: 1,
            cartridges: cartridges, firstBarcode: firstBarcode, cartridgeSize: 16 << 20)
    }

    @Test("a cartridge is moved, stays in its drive over a restart, and comes back")
    func libraryOverRestart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary(library())
            let request = MoveRequest(origin: "slot:2", destination: "drive:1")
            #expect(try await controller.move(library: "vtl", request).location == "drive:1")
            #expect(try await controller.cartridge("V00001L8", library: "vtl").used == 0)
            let made = try await controller.createCartridge(
                library: "vtl", CartridgeCreation(barcode: "X00001L8", size: nil))
            #expect(made.location == "slot:2")
            #expect(made.capacity == 12_000_000_000_000)
        }
        try await serving { controller in
            #expect(try await controller.cartridge("V00002L8", library: "vtl").location == "drive:1")
            let request = MoveRequest(origin: "drive:1", destination: "mail:1")
            #expect(try await controller.move(library: "vtl", request).location == "mail:1")
            let exported = try await controller.exportCartridge(
                library: "vtl", CartridgeReference(barcode: "V00002L8"))
            #expect(exported.location == "vault")
            try await controller.deleteCartridge("V00002L8", library: "vtl")
            try await controller.deleteLibrary("vtl")
            let left = try FileManager.default.contentsOfDirectory(atPath: path + "/libraries")
            #expect(left.isEmpty)
        }
    }

    @Test("what profiles do not allow is refused and leaves nothing")
    func profiles() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let requests = [
                library(profile: "x"), library(driveProfile: "x"), library(slots: 7000),
                library(firstBarcode: "V1"), library(firstBarcode: "V00001L1"),
            ]
            for request in requests {
                #expect(await code { try await controller.createLibrary(request) } == .invalid)
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: path + "/libraries")
            #expect(left.isEmpty)
        }
    }

    @Test("a disk grows, is kept over a restart, and its image is locked")
    func disk() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createDisk(DiskCreation(name: "a", size: 1 << 20))
            #expect(try await controller.resizeDisk("a", DiskResize(size: 3 << 20)).size == 3 << 20)
            #expect(try await controller.targets().map(\.name) == ["iqn.2026-11.dev.carousel:a"])
        }
        try await serving { controller in
            #expect(try await controller.disk("a").size == 3 << 20)
            try await controller.deleteDisk("a")
            try await controller.createDisk(DiskCreation(name: "a", size: 1 << 20))
        }
    }

    @Test("a port that is taken is refused")
    func busyPort() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let text = try await controller.status().portals.first ?? ""
            let portal = try PortalAddress.parse(text)
            #expect(portal.port != 0)
            #expect(await code { try await controller.start(portals: [portal]) } == .inUse)
        }
    }

    @Test("many cartridges start within two seconds")
    func manyCartridges() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary(library(slots: 100, cartridges: 100))
        }
        let clock = ContinuousClock()
        let began = clock.now
        try await serving { _ in #expect(clock.now - began < .seconds(2)) }
    }
}
