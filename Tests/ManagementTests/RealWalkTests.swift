import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// The folder that all of them begin with; its controller has ended.
private let template = Task { try await RealRun.makeFolder() }

/// One run of an operation with devices that serve, and media that are read and written.
private struct RealRun {
    let folder: WalkFolder
    let gate = EffectGate()
    /// Nil between the end of one and the start of the next: images are closed when their devices go.
    private var present: Controller?
    var controller: Controller {
        get throws { try #require(present) }
    }

    init() async throws {
        folder = try await template.value.copy()
        present = try await Self.controller(folder.path, gate)
    }

    private static func controller(_ path: String, _ gate: EffectGate? = nil) async throws -> Controller {
        let state = try StateFolder(path: path) { path throws(ManagementError) in try gate?.pass(path) }
        let controller = try Controller(folder: state, logger: .silent) { resources throws(ManagementError) in
            try LocalDevices(resources)
        }
        try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 0)])
        return controller
    }

    /// A disk `d`, and a library `vtl` with a cartridge in a drive and one in the vault.
    static func makeFolder() async throws -> WalkFolder {
        let folder = WalkFolder(NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(atPath: folder.elsewhere, withIntermediateDirectories: true)
        let controller = try await controller(folder.path)
        try await controller.createDisk("d", .raw(size: 1 << 20))
        try await controller.createLibrary("vtl", library(cartridges: 2, firstBarcode: "A00001L8"))
        try await controller.createCartridge("V00001L8", library: "vtl")
        try await controller.exportCartridge("V00001L8", library: "vtl")
        try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:2", to: "drive:1"))
        await controller.shutDown()
        controller.folder.release()
        return folder
    }

    static func library(cartridges: Int, firstBarcode: String) -> Library.Spec {
        Library.Spec(
            profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
            cartridges: cartridges, firstBarcode: firstBarcode, cartridgeSize: 16 << 20)
    }

    /// What there is; without portals, whose ports the system chooses, and without indexes, which a check makes anew.
    func snapshot() async throws -> WalkState {
        var snapshot = try await WalkState(controller, folder)
        snapshot.lines = snapshot.lines.filter {
            !$0.hasPrefix("portal ") && !$0.contains("/index.sqlite")
        }
        return snapshot
    }

    /// The end of this controller, and another one on the folder.
    mutating func restart() async throws {
        await end()
        present = try await Self.controller(folder.path)
    }

    mutating func end() async {
        await present?.shutDown()
        present?.folder.release()
        present = nil
    }

    /// What a check of everything finds that is no note.
    func errors() async throws -> [String] {
        let job = try await controller.startCheck(CheckRequest()).id
        try await controller.finish(job)
        return try await controller.checkStatus().findings.filter { $0.severity != .note }.map {
            "\($0.name): \($0.sentence)"
        }
    }
}

@Suite("A crash and a refusal at every effect, with real devices and media", .serialized)
struct RealWalkTests {
    private static let operations: [WalkOperation] = [
        WalkOperation("disk create", gives: true) { controller, _ in
            try await controller.createDisk("new", .raw(size: 1 << 20))
        },
        WalkOperation("disk set --size") { controller, _ in
            _ = try await controller.changeDisk("d", to: .raw(size: 2 << 20))
        },
        WalkOperation("disk delete") { controller, _ in try await controller.deleteDisk("d") },
        WalkOperation("library create", gives: true) { controller, _ in
            try await controller.createLibrary("new", RealRun.library(cartridges: 2, firstBarcode: "N00001L8"))
        },
        WalkOperation("library delete") { controller, _ in try await controller.deleteLibrary("vtl") },
        WalkOperation("library move, into a slot") { controller, _ in
            try await controller.move(library: "vtl", Library.Move.Arguments(from: "drive:1", to: "slot:3"))
        },
        WalkOperation("library move, to a mail slot") { controller, _ in
            try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "mail:1"))
        },
        WalkOperation("library export") { controller, _ in
            try await controller.exportCartridge("A00001L8", library: "vtl")
        },
        WalkOperation("library import") { controller, _ in
            try await controller.importCartridge("V00001L8", library: "vtl")
        },
        WalkOperation("tape create") { controller, _ in
            try await controller.createCartridge("N00001L8", library: "vtl")
        },
        WalkOperation("tape delete") { controller, _ in
            try await controller.deleteCartridge("A00001L8", library: "vtl")
        },
    ]

    @Test("all of it or nothing, rows and media agree, and nobody sees more", arguments: operations)
    func walk(_ operation: WalkOperation) async throws {
        var reference = try await RealRun()
        let before = try await reference.snapshot()
        reference.gate.arm()
        try await operation.perform(reference.controller, reference.folder)
        reference.gate.disarm()
        let after = try await reference.snapshot()
        #expect(after.lines != before.lines)
        await reference.end()
        let count = reference.gate.paths.count
        #expect(count > 0)
        let limit = operation.gives ? before.permissions.union(after.permissions) : before.permissions
        for mode in [EffectGate.Mode.crash, .failure] {
            for number in 1...max(1, count) {
                var run = try await RealRun()
                run.gate.arm(failing: number, mode)
                var isRefused = false
                do { try await operation.perform(run.controller, run.folder) } catch { isRefused = true }
                #expect(run.gate.hasFailed)
                let place = "\(mode) at effect \(number), \(run.gate.paths.dropFirst(number - 1).first ?? "none")"
                if mode == .failure { run.gate.disarm() }
                try await run.restart()
                let found = try await run.snapshot()
                let isAfter = found.lines == after.lines
                #expect(
                    isAfter || (isRefused && found.lines == before.lines), "\(place): \(found.difference(from: before))"
                )
                #expect(found.permissions.isSubset(of: limit), "\(place)")
                #expect(try await run.errors() == [], "\(place)")
                if !isAfter {
                    // Nothing is in the way of doing it again.
                    try await operation.perform(run.controller, run.folder)
                    let done = try await run.snapshot()
                    #expect(done.lines == after.lines, "\(place), again: \(done.difference(from: after))")
                }
                await run.end()
            }
        }
    }
}
