import ChangerDevice
import Foundation
import GRDB
import Logging
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Real devices behind the controller", .serialized)
struct LocalDevicesTests {
    let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    /// Runs `body` with a controller that serves on a free port, and stops it.
    func serving(_ body: (Controller) async throws -> Void) async throws {
        try await servingDevices { controller, _ in try await body(controller) }
    }

    /// The same with the devices.
    func servingDevices(_ body: (Controller, LocalDevices) async throws -> Void) async throws {
        try await serveDevices(at: path, body)
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
    ) -> Library.Spec {
        Library.Spec(
            profile: profile, drives: 2, driveProfile: driveProfile, slots: slots, mailSlots: 1,
            cartridges: cartridges, firstBarcode: firstBarcode, cartridgeSize: 16 << 20)
    }

    @Test("a cartridge in whose place another one lies is not deleted, and what a deletion leaves is told")
    func foreignCartridge() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library())
            let folder = path + "/libraries/vtl/"
            let (first, second) = (folder + "V00001L8.tape", folder + "V00002L8.tape")
            try FileManager.default.moveItem(atPath: first, toPath: path + "/away")
            try FileManager.default.moveItem(atPath: second, toPath: first)
            #expect(await code { try await controller.deleteCartridge("V00001L8", library: "vtl") } == .conflict)
            #expect(try await controller.cartridge("V00001L8", library: "vtl").status.place == "slot:1")
            #expect(FileManager.default.fileExists(atPath: first + "/partition0.data"))
            try FileManager.default.moveItem(atPath: first, toPath: second)
            try FileManager.default.moveItem(atPath: path + "/away", toPath: first)
            try Data("mine".utf8).write(to: URL(fileURLWithPath: first + "/notes.txt"))
            do {
                try await controller.deleteCartridge("V00001L8", library: "vtl")
                Issue.record("it is deleted")
            } catch {
                #expect("\(error)".contains("cartridge 'vtl/V00001L8' is deleted, but not all of it is removed"))
            }
            #expect(FileManager.default.fileExists(atPath: first + "/notes.txt"))
            try await controller.deleteCartridge("V00002L8", library: "vtl")
        }
    }

    @Test("what is all that there is of a cartridge of another library goes with no library, and with no cartridge")
    func foreignFiles() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            for name in ["la", "lb"] { try await controller.createLibrary(name, library()) }
            let (mine, other) = (path + "/libraries/la/V00001L8.tape", path + "/libraries/lb/V00001L8.tape")
            // Of the same bar code, with another serial number.
            try FileManager.default.moveItem(atPath: mine, toPath: path + "/away")
            try FileManager.default.moveItem(atPath: other, toPath: mine)
            #expect(await code { try await controller.deleteCartridge("V00001L8", library: "la") } == .conflict)
            #expect(await code { try await controller.deleteLibrary("la") } == .conflict)
            #expect(try await controller.library("la").status.state == .degraded)
            #expect(FileManager.default.fileExists(atPath: mine + "/partition0.data"))
            // Also where a deletion goes on that had begun before.
            let record = try controller.plane.libraryRecord("la")
            #expect(throws: ManagementError.self) { try controller.plane.removeRemains(of: record) }
            #expect(FileManager.default.fileExists(atPath: mine + "/partition0.data"))
            try FileManager.default.moveItem(atPath: mine, toPath: other)
            try await controller.deleteLibrary("la")
            #expect(try await controller.cartridge("V00001L8", library: "lb").status.state == .ready)
        }
    }

    @Test("who looks at a cartridge, and who checks it, leaves its files as they are")
    func lookingAtCartridges() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library())
            let folder = path + "/libraries/vtl/V00001L8.tape"
            func files() throws -> [String: FileStatus] {
                try FileManager.default.contentsOfDirectory(atPath: folder).reduce(into: [:]) {
                    $0[$1] = try FileStatus.of(folder + "/" + $1)
                }
            }
            let before = try files()
            _ = try await controller.cartridge("V00001L8", library: "vtl")
            let job = try await controller.startCheck(CheckRequest(names: ["vtl/V00001L8"], repairs: false))
            try await controller.finish(job.id)
            #expect(try files() == before)
        }
    }

    @Test("a cartridge is moved, stays in its drive over a restart, and comes back")
    func libraryOverRestart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library())
            let request = Library.Move.Arguments(from: "slot:2", to: "drive:1")
            #expect(try await controller.move(library: "vtl", request).status.place == "drive:1")
            #expect(try await controller.cartridge("V00001L8", library: "vtl").status.used == 0)
            let made = try await controller.createCartridge("X00001L8", library: "vtl")
            // Slot 2 is kept for what is in the drive.
            #expect(made.status.place == "slot:3")
            #expect(made.spec.size == 12_000_000_000_000)
        }
        try await serving { controller in
            #expect(try await controller.cartridge("V00002L8", library: "vtl").status.place == "drive:1")
            let request = Library.Move.Arguments(from: "drive:1", to: "mail:1")
            #expect(try await controller.move(library: "vtl", request).status.place == "mail:1")
            let exported = try await controller.exportCartridge("V00002L8", library: "vtl")
            #expect(exported.status.place == "vault")
            try await controller.deleteCartridge("V00002L8", library: "vtl")
            try await controller.deleteLibrary("vtl")
            let left = try FileManager.default.contentsOfDirectory(atPath: path + "/libraries")
            #expect(left.isEmpty)
        }
    }

    @Test("missing, damaged and exchanged cartridges are shown, and not loaded or deleted without a word")
    func damagedCartridges() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in try await controller.createLibrary("vtl", library(slots: 5, cartridges: 5)) }
        let folder = path + "/libraries/vtl/V0000"
        let files = FileManager.default
        try files.removeItem(atPath: folder + "1L8.tape")
        try Data(count: 8192).write(to: URL(fileURLWithPath: folder + "2L8.tape/partition0.data"))
        try files.moveItem(atPath: folder + "3L8.tape", toPath: folder + "x")
        try files.moveItem(atPath: folder + "4L8.tape", toPath: folder + "3L8.tape")
        try files.moveItem(atPath: folder + "x", toPath: folder + "4L8.tape")
        try await serving { controller in
            let cartridges = try await controller.cartridges(library: "vtl")
            #expect(cartridges.map(\.status.state) == [.missing, .damaged, .damaged, .damaged, .ready])
            #expect(cartridges[2].status.problem?.contains("those of cartridge 'V00004L8'") == true)
            #expect(try await controller.libraries().first?.status.state == .degraded)
            #expect(try await controller.status().problems.first?.contains("4 cartridges cannot be used") == true)
            for slot in [1, 2] {
                let request = Library.Move.Arguments(from: "slot:\(slot)", to: "drive:\(slot)")
                #expect(await code { try await controller.move(library: "vtl", request) } == .damaged)
            }
            let good = Library.Move.Arguments(from: "slot:5", to: "slot:1")
            #expect(try await controller.move(library: "vtl", good).status.state == .ready)
            // Each is all that there is of the other, until they are where they belong.
            for barcode in ["V00003L8", "V00004L8"] {
                #expect(await code { try await controller.deleteCartridge(barcode, library: "vtl") } == .conflict)
            }
            try files.moveItem(atPath: folder + "3L8.tape", toPath: folder + "x")
            try files.moveItem(atPath: folder + "4L8.tape", toPath: folder + "3L8.tape")
            try files.moveItem(atPath: folder + "x", toPath: folder + "4L8.tape")
            for barcode in ["V00003L8", "V00004L8"] {
                try await controller.deleteCartridge(barcode, library: "vtl")
            }
            #expect(try await controller.status().problems.first?.contains("2 cartridges cannot be used") == true)
        }
        // What disappears while the daemon runs is noticed when it is examined.
        try await serving { controller in
            try files.removeItem(atPath: folder + "2L8.tape")
            #expect(try await controller.cartridge("V00002L8", library: "vtl").status.state == .missing)
            try await controller.deleteLibrary("vtl")
            #expect(try files.contentsOfDirectory(atPath: path + "/libraries").isEmpty)
        }
    }

    /// Changes the catalog behind the daemon's back.
    func edit(_ statement: String) throws {
        let raw = try DatabaseQueue(path: path + "/catalog.sqlite")
        try raw.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA foreign_keys = OFF")
            try database.execute(sql: statement)
        }
        try raw.close()
    }

    @Test(
        "a library that its profile or its elements contradict is not served, and says why; everything else is",
        arguments: [
            ("INSERT INTO element SELECT library, 'slot', number + 7000 FROM element WHERE kind = 'slot'", "slot"),
            ("UPDATE cartridge SET elementNumber = 9999 WHERE barcode = 'V00001L8'", "slot 9999"),
            ("UPDATE cartridge SET elementKind = 'drive', elementNumber = 7 WHERE barcode = 'V00001L8'", "drive 7"),
            ("UPDATE drive SET number = 5 WHERE number = 2", "not numbered"),
            ("DELETE FROM drive WHERE number = 1", "not numbered"),
            ("UPDATE library SET profile = 'gone'", "no library profile 'gone'"),
            ("UPDATE drive SET profile = 'gone'", "no drive profile 'gone'"),
            ("UPDATE library SET created = 'never'", ""),
        ])
    func contradictions(statement: String, words: String) async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library(slots: 4000))
            try await controller.createDisk("d", Disk.Spec(size: 4096))
        }
        try edit(statement)
        try await serving { controller in
            #expect(try await controller.disk("d").status.state == .serving)
            let found = try #require(try await controller.libraries().first)
            #expect(found.status.state == (words.isEmpty ? .serving : .notServed))
            #expect(words.isEmpty || found.status.problem?.contains(words) == true, "\(found.status.problem ?? "-")")
            // What is not served can be seen, and deleted.
            _ = try await controller.library("vtl")
            _ = try await controller.targets()
            try await controller.deleteLibrary("vtl")
        }
    }

    @Test("what the catalog asks for and this program does not know is damage, not a mistake of the command line")
    func strictStart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in try await controller.createLibrary("vtl", library()) }
        try edit("UPDATE library SET profile = 'gone'")
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let controller = try Controller(folder: try StateFolder(path: path), logger: logger) {
            resources throws(ManagementError) in try LocalDevices(resources)
        }
        #expect(
            await code {
                try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 0)], isStrict: true)
            } == .damaged)
        await controller.shutDown()
        controller.folder.release()
    }

    @Test(
        "a limit of elements is told the same way however far it is exceeded",
        arguments: [
            (0, 4, 1, "drives 0 is not possible in a library of profile 'ibm-03584l32'; give 1 to 64"),
            (-1, 4, 1, "drives -1 is not possible in a library of profile 'ibm-03584l32'; give 1 to 64"),
            (65, 4, 1, "drives 65 is not possible in a library of profile 'ibm-03584l32'; give 1 to 64"),
            (1000, 4, 1, "drives 1000 is not possible in a library of profile 'ibm-03584l32'; give 1 to 64"),
            (1, 0, 1, "slots 0 is not possible in a library of profile 'ibm-03584l32'; give 1 to 6887"),
            (1, 6888, 1, "slots 6888 is not possible in a library of profile 'ibm-03584l32'; give 1 to 6887"),
            (1, .max, 1, "slots \(Int.max) is not possible in a library of profile 'ibm-03584l32'; give 1 to 6887"),
            (1, 4, -1, "mail slots -1 is not possible in a library of profile 'ibm-03584l32'; give 0 to 255"),
            (1, 4, 256, "mail slots 256 is not possible in a library of profile 'ibm-03584l32'; give 0 to 255"),
            (1, 4, 300, "mail slots 300 is not possible in a library of profile 'ibm-03584l32'; give 0 to 255"),
        ])
    func limits(drives: Int, slots: Int, mailSlots: Int, sentence: String) async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let error = await #expect(throws: ManagementError.self) {
                try await controller.createLibrary(
                    "vtl",
                    Library.Spec(
                        profile: "ibm-03584l32", drives: drives, driveProfile: "ibm-ult3580-td8", slots: slots,
                        mailSlots: mailSlots))
            }
            #expect(error?.message == sentence)
        }
    }

    @Test("that the operator put a cartridge into its mail slot is known after a restart")
    func importedCartridge() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        func isImported(_ devices: LocalDevices) throws -> Bool? {
            let changer = try #require(devices.libraries.withLock { $0.values.first?.changer })
            let outcome = Outcome<Bool?>()
            #expect(
                changer.reactor.post { outcome.set(changer.content(of: LibraryElement(.importExport, 1))?.isImported) })
            return try #require(outcome.wait(atMost: .seconds(10)))
        }
        try await servingDevices { controller, devices in
            try await controller.createLibrary("vtl", library())
            try await controller.exportCartridge("V00001L8", library: "vtl")
            try await controller.importCartridge("V00001L8", library: "vtl")
            #expect(try isImported(devices) == true)
        }
        try await servingDevices { controller, devices in
            #expect(try isImported(devices) == true)
            _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "mail:1", to: "slot:1"))
            _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "mail:1"))
            #expect(try isImported(devices) == false)
        }
        try await servingDevices { _, devices in
            let isStillImported = try isImported(devices)
            #expect(isStillImported == false)
        }
    }

    @Test("what profiles do not allow is refused and leaves nothing")
    func profiles() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let requests = [
                library(profile: "x"), library(driveProfile: "x"), library(slots: 7000),
                library(firstBarcode: "V1"), library(firstBarcode: "V00001L1"), library(firstBarcode: "V00001LW"),
                library(firstBarcode: "CLN001L8"),
            ]
            for request in requests {
                #expect(await code { try await controller.createLibrary("vtl", request) } == .invalid)
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: path + "/libraries")
            #expect(left.isEmpty)
        }
    }

    @Test("the label decides format, capacity and WORM")
    func labels() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library(slots: 7, cartridges: 0))
            let expected: [(String, Int64, String)] = [
                ("V00001L8", 12, "Ultrium 8/32T"), ("V00001L7", 6, "Ultrium 7/16T"), ("V00001M8", 9, "Ultrium 8M/16T"),
                ("V00001LY", 12, "Ultrium 8/32T, WORM"), ("V00001LX", 6, "Ultrium 7/16T, WORM"),
            ]
            for (barcode, terabytes, medium) in expected {
                let made = try await controller.createCartridge(barcode, library: "vtl")
                #expect(made.spec.size == terabytes * 1_000_000_000_000)
                #expect(try await controller.cartridge(barcode, library: "vtl").status.medium == medium)
            }
            for barcode in ["CLNU01L8", "V00002LZ", "V00002L6"] {
                let create = {
                    try await controller.createCartridge(barcode, library: "vtl")
                }
                #expect(await code(create) == .invalid)
            }
            let mixed = Library.Spec(
                profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 2,
                mailSlots: 0,
                cartridges: 2, firstBarcode: "W00001L7")
            try await controller.createLibrary("old", mixed)
            let capacities = try await controller.cartridges(library: "old").map(\.spec.size)
            #expect(capacities == [6_000_000_000_000, 6_000_000_000_000])
        }
    }

    @Test("only the libraries of a profile with a fault are not served")
    func brokenProfile() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let content = try await controller.profile("ibm-ult3580-td8").content
            try await controller.addProfile(
                ProfileAddition(
                    file: "a", content: content.replacingOccurrences(of: "ibm-ult3580-td8", with: "mine")))
            try await controller.createLibrary("vtl", library(driveProfile: "mine"))
            try await controller.createLibrary("other", library(cartridges: 0))
            try await controller.createDisk("d", Disk.Spec(size: 4096))
        }
        let file = path + "/profiles/mine.json"
        let whole = try String(contentsOfFile: file, encoding: .utf8)
        try whole.replacingOccurrences(of: "N9M1", with: "TOOLONG").write(
            toFile: file, atomically: true, encoding: .utf8)
        try await serving { controller in
            let libraries = try await controller.libraries()
            #expect(libraries.map(\.status.state) == [.serving, .notServed])
            #expect(
                libraries[1].status.problem
                    == "library 'vtl': drive profile 'mine' cannot be used: \(file): revision must have 1 to 4 "
                    + "characters, not 7")
            #expect(try await controller.disk("d").status.state == .serving)
            #expect(try await controller.status().problems.count == 2)
        }
        try whole.write(toFile: file, atomically: true, encoding: .utf8)
        try await serving { controller in
            let states = try await controller.libraries().map(\.status.state)
            #expect(states == [.serving, .serving])
        }
    }

    @Test("a disk grows, is kept over a restart, and its image is locked")
    func disk() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            #expect(try await controller.changeDisk("a", to: Disk.Spec(size: 3 << 20)).spec.size == 3 << 20)
            #expect(try await controller.targets().map(\.name) == ["iqn.2026-11.dev.carousel:a"])
        }
        try await serving { controller in
            #expect(try await controller.disk("a").spec.size == 3 << 20)
            try await controller.deleteDisk("a")
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
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
            try await controller.createLibrary("vtl", library(slots: 100, cartridges: 100))
        }
        let clock = ContinuousClock()
        let began = clock.now
        try await serving { _ in #expect(clock.now - began < .seconds(2)) }
    }
}
