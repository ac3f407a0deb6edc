import Bytes
import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management
@testable import Media

@Suite("Repairs of images of several disks")
struct ImageRepairTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private var image: String { path + "/disks/a.img" }

    private func removeAll() { try? FileManager.default.removeItem(atPath: path) }

    private func check(
        _ controller: Controller, _ names: [String] = ["a", "b"], repairs: Bool = false
    ) async throws -> CheckStatus {
        _ = try await controller.startCheck(CheckRequest(names: names, repairs: repairs))
        await controller.plane.check?.finished()
        return try await controller.checkStatus()
    }

    private func disk(_ name: String, _ devices: LocalDevices) throws -> EpochDiskImage {
        let running = try #require(devices.disks.withLock { $0.values.first { $0.name == name } })
        return try #require(running.server.image as? EpochDiskImage)
    }

    private func byte(_ name: String, at offset: Int64, _ devices: LocalDevices) throws -> UInt8? {
        let image = try disk(name, devices)
        var bytes = [UInt8](repeating: 0, count: 512)
        let failure = bytes.modifyBytes { image.file.readContent(of: image.node, into: &$0, at: offset) }
        return failure == nil ? bytes.first : nil
    }

    /// Disks a and b, its clone, with a byte 1 at the beginning and 2 in another region.
    private func make(_ controller: Controller, _ devices: LocalDevices) async throws {
        var spec = Disk.Spec(size: 8 << 20)
        spec.format = .carousel
        try await controller.createDisk("a", spec)
        for (value, block) in [(1, 0), (2, 8192)] as [(UInt8, UInt64)] {
            let failure = try disk("a", devices).fill(first: block, with: [UInt8](repeating: value, count: 4096))
            #expect(failure == nil)
        }
        try await controller.takeSnapshots(["a@one"])
        try await controller.cloneSnapshot("a@one", as: "b")
        let file = try disk("a", devices).file
        let code = file.withFamily { $0.checkpoint() }
        #expect(code == 0)
    }

    /// Changes a byte of a unit.
    private func damage(_ unit: UInt64) throws {
        let file = try File.open(path: image, .readWrite)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let offset = EpochFormat.offset(ofUnit: unit)
        let found = bytes.modifyBytes { file.read(into: &$0, fileOffset: offset) }
        #expect(found == .done(4096))
        bytes[5] ^= 0x10
        let written = file.write(bytes.rawSpan, offset: offset)
        #expect(written == .done(4096))
    }

    private func superblock() throws -> EpochSuperblock {
        let file = try File.open(path: image)
        guard case .valid(let found) = EpochSuperblock.newest(of: EpochSuperblock.readCopies(file)) else {
            throw ManagementError(.internal, "no superblock")
        }
        return found
    }

    private func leaf(of number: UInt32) throws -> UInt64 {
        let superblock = try superblock()
        let file = try File.open(path: image)
        let reader = PageReader(file, seed: superblock.seed, firstUnit: superblock.firstPoolUnit)
        let record = try #require(try NodeTable.read(superblock, reader)[number])
        return try reader.regionPointer(0, of: MapRoot(pointer: record.map, levels: record.levels)).unit
    }

    @Test("a damaged page of a map is found once, repaired while the disks run, and what it had is told as lost")
    func online() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await make(controller, devices)
            let clean = try await check(controller)
            #expect(clean.findings.isEmpty && clean.subjects == 2)
            let length = try FileStatus.of(image).length
            #expect(clean.total >= length && clean.total < 2 * length, "it is read once")
            try damage(try leaf(of: 1))
            let found = try await check(controller)
            #expect(!found.findings.isEmpty && Set(found.findings.map(\.name)) == ["a"])
            #expect(found.findings.contains { $0.sentence.contains("cannot be read") })
            let everything = try await check(controller, [], repairs: true)
            #expect(everything.findings.contains { $0.isOpen && $0.sentence.contains("cannot be read") })
            #expect(!everything.findings.contains { $0.isRepaired }, "nobody has named it")
            #expect(try await !controller.events(limit: 1000).contains { $0.verb == "repair" })
            let repaired = try await check(controller, repairs: true)
            #expect(repaired.findings.contains { $0.isRepaired })
            #expect(repaired.findings.contains { $0.isOpen && $0.sentence.contains("lost") })
            let events = try await controller.events(limit: 1000).filter { $0.verb == "repair" }
            #expect(events.map(\.name) == ["a"] && events.map(\.kind) == ["disk"])
            #expect(events.first?.new?["mended"]?.elements?.isEmpty == false)
            for name in ["a", "b"] {
                #expect(try byte(name, at: 0, devices) == nil)
                #expect(try byte(name, at: 8192 * 512, devices) == 2)
            }
            let failure = try disk("a", devices).fill(first: 0, with: [UInt8](repeating: 3, count: 4096))
            #expect(failure == nil)
            #expect(try byte("a", at: 0, devices) == 3)
        }
    }

    @Test("a disk that is not complete is not the one that reads the image for the others")
    func incomplete() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in
            try await make(controller, devices)
            try damage(try leaf(of: 1))
            let disk = try controller.plane.diskRecord("a")
            try controller.plane.catalog.setPhase(.deleting, ofDevice: disk.identity.id)
            let found = try await check(controller)
            #expect(found.findings.contains { $0.name == "a" && $0.severity == .note })
            #expect(found.findings.contains { $0.name == "b" && $0.sentence.contains("cannot be read") })
        }
    }

    @Test("an image that is not opened because of its free map is repaired, and served after the next start")
    func offline() async throws {
        defer { removeAll() }
        try await serveDevices(at: path) { controller, devices in try await make(controller, devices) }
        try damage(try superblock().freeMap.unit)
        try await serveDevices(at: path) { controller, _ in
            let found = try await check(controller)
            #expect(found.findings.contains { $0.sentence.contains("--repair") })
            let repaired = try await check(controller, repairs: true)
            #expect(repaired.findings.contains { $0.isRepaired && $0.sentence.contains("free map") })
            let again = try await check(controller)
            #expect(again.findings.isEmpty, "\(again.findings.map(\.sentence))")
        }
        try await serveDevices(at: path) { controller, devices in
            let bytes = (try byte("a", at: 0, devices), try byte("b", at: 0, devices))
            #expect(bytes == (1, 1))
            let problems = try await controller.status().problems
            #expect(problems.isEmpty)
        }
    }
}
