import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import SCSI
import Testing

@testable import Management

@Suite("Files beside images that are, or are called, protection information")
final class ProtectionFilesTests {
    private let fixture: ControllerFixture
    private let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    deinit { try? FileManager.default.removeItem(atPath: elsewhere) }

    private var elsewhere: String { fixture.path + "-elsewhere" }
    private var files: FileManager { .default }

    private func image(_ name: String) -> String { fixture.path + "/disks/\(name).img" }

    private func write(_ bytes: Data, _ path: String) throws { try bytes.write(to: URL(fileURLWithPath: path)) }

    /// Makes protection information of so many blocks beside the image at `path`.
    private static func protect(_ path: String, blocks: Int = 16) throws {
        try RawDiskImage.createProtection(ofImage: path, .type1, blockSize: 512, capacity: Int64(blocks) * 512)
    }

    @Test("an image is adopted with what is beside it when that fits, refused with anything else")
    func adoption() async throws {
        try await controller.start()
        let path = image("left")
        let file = path + ".pi"
        try write(Data(count: 8192), path)
        try Self.protect(path)
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        try files.removeItem(atPath: file)
        var damaged = whole
        damaged[20] ^= 1
        let wrong: [(String, () throws -> Void)] = [
            ("empty", { try self.write(Data(), file) }), ("no header", { try self.write(Data(count: 100), file) }),
            ("damaged", { try self.write(damaged, file) }), ("cut", { try self.write(whole.dropLast(), file) }),
            ("a folder", { try self.files.createDirectory(atPath: file, withIntermediateDirectories: false) }),
            ("a link", { try self.files.createSymbolicLink(atPath: file, withDestinationPath: "/none") }),
            (
                "two names",
                {
                    try self.write(whole, file)
                    try self.files.linkItem(atPath: file, toPath: self.fixture.path + "-other")
                }
            ), ("of more blocks than the image", { try Self.protect(path, blocks: 17) }),
        ]
        for (name, make) in wrong {
            try make()
            let refusal = await fixture.refusal { try await controller.adoptDisk(DiskAdoption(image: "left")) }
            #expect(refusal?.code == .conflict, "\(name): \(refusal?.message ?? "-")")
            #expect(refusal?.message.contains("left.img.pi") == true, "\(name): \(refusal?.message ?? "-")")
            try files.removeItem(atPath: file)
            try? files.removeItem(atPath: fixture.path + "-other")
        }
        #expect(try await controller.disks().isEmpty)
        try write(whole, file)
        let refusal = await fixture.refusal {
            try await controller.adoptDisk(DiskAdoption(image: "left", blockSize: 4096))
        }
        #expect(refusal?.message.contains("is of blocks of 512 bytes") == true)
        #expect(try await controller.adoptDisk(DiskAdoption(image: "left")).spec.protection == 1)
        await controller.shutDown()
    }

    @Test("no file is the medium of one disk and the protection information of another")
    func bothAtOnce() async throws {
        try await controller.start()
        let path = image("left")
        try write(Data(count: 8192), path)
        try Self.protect(path)
        let itself = await fixture.refusal {
            try await controller.adoptDisk(DiskAdoption(image: "left.img.pi", name: "thief", blockSize: 512))
        }
        #expect(itself?.code == .conflict, "\(itself?.message ?? "-")")
        #expect(itself?.message.contains("adopt \(path)") == true, "\(itself?.message ?? "-")")
        try write(Data(count: 8192), image("other") + ".pi")
        let spec = Disk.Spec(size: nil, blockSize: 512, image: image("other") + ".pi")
        try await controller.createDisk("thief", spec)
        try write(Data(count: 8192), image("other"))
        let image = await fixture.refusal { try await controller.adoptDisk(DiskAdoption(image: "other")) }
        #expect(image?.code == .conflict && image?.message.contains("'thief'") == true, "\(image?.message ?? "")")
        #expect(try await controller.disks().map(\.name) == ["thief"])
        await controller.shutDown()
    }

    @Test("an image that stays where it is, is not used with anything beside it")
    func external() async throws {
        try await controller.start()
        try files.createDirectory(atPath: elsewhere, withIntermediateDirectories: true)
        let path = elsewhere + "/x.img"
        try write(Data(count: 8192), path)
        try Self.protect(path)
        for name in ["whole", "damaged"] {
            let adoption = await fixture.refusal { try await controller.adoptDisk(DiskAdoption(image: path)) }
            let creation = await fixture.refusal {
                try await controller.createDisk("x", Disk.Spec(size: nil, image: path))
            }
            for refusal in [adoption, creation] {
                #expect(refusal?.code == .conflict && refusal?.message.contains("x.img.pi is there") == true, "\(name)")
            }
            try write(Data([1]), path + ".pi")
        }
        try files.removeItem(atPath: path + ".pi")
        #expect(try await controller.adoptDisk(DiskAdoption(image: path)).spec.protection == 0)
        await controller.shutDown()
    }

    @Test("what is left of another disk is in the way of a new one, and does not go with one that has none")
    func leftovers() async throws {
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec.raw(size: 8192))
        try Self.protect(image("a"))
        try await controller.deleteDisk("a")
        #expect(!files.fileExists(atPath: image("a")) && files.fileExists(atPath: image("a") + ".pi"))
        let refusal = await fixture.refusal { try await controller.createDisk("a", Disk.Spec.raw(size: 8192)) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("a.img.pi exists already") == true)
        #expect(files.fileExists(atPath: image("a") + ".pi") && !files.fileExists(atPath: image("a")))
        await controller.shutDown()
    }

    @Test("a creation that fails removes the protection information that it has made, and no other")
    func failure() async throws {
        // It comes after the daemon has looked.
        let fixture = try ControllerFixture { path throws(ManagementError) in
            guard path.hasSuffix("late.img.pi") else { return }
            do {
                try Self.protect(String(path.dropLast(3)))
            } catch {
                throw ManagementError(.internal, "\(error)")
            }
        }
        try await fixture.controller.start()
        var spec = Disk.Spec.raw(size: 8192)
        spec.protection = 1
        let wanted = spec
        #expect(await fixture.refusal { try await fixture.controller.createDisk("late", wanted) }?.code == .system)
        #expect(try files.contentsOfDirectory(atPath: fixture.path + "/disks") == ["late.img.pi"])
        fixture.devices.fail(with: ManagementError(.system, "no"))
        #expect(await fixture.refusal { try await fixture.controller.createDisk("own", wanted) }?.code == .system)
        #expect(try files.contentsOfDirectory(atPath: fixture.path + "/disks") == ["late.img.pi"])
        #expect(try await fixture.controller.disks().isEmpty)
        await fixture.controller.shutDown()
    }

    @Test("a check finds protection information that is missing, cut, damaged, or of other blocks")
    func check() async throws {
        try await controller.start()
        var spec = Disk.Spec.raw(size: 8192)
        spec.protection = 1
        let wanted = spec
        let names = ["cut", "damaged", "few", "many", "missing", "whole"]
        for name in names { try await controller.createDisk(name, wanted) }
        for name in names where name != "whole" && name != "cut" && name != "damaged" {
            try files.removeItem(atPath: image(name) + ".pi")
        }
        #expect(try File.open(path: image("cut") + ".pi", .readWrite).truncate(to: 8192 + 15 * 8) == 0)
        try write(Data(count: 8192 + 16 * 8), image("damaged") + ".pi")
        try Self.protect(image("few"), blocks: 15)
        try Self.protect(image("many"), blocks: 17)
        _ = try await controller.startCheck(CheckRequest(names: [], repairs: false))
        await controller.plane.check?.finished()
        let findings = try await controller.checkStatus().findings
        #expect(findings.map(\.name) == ["cut", "damaged", "few", "many", "missing"])
        #expect(findings.map(\.severity) == [.error, .error, .error, .note, .error])
        let parts = ["is truncated, with 8312 bytes", "is damaged", "of 15 blocks only", "of 17 blocks", "is missing"]
        for (finding, part) in zip(findings, parts) { #expect(finding.sentence.contains(part), "\(finding.sentence)") }
        await controller.shutDown()
    }
}
