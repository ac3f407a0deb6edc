import Bytes
import Catalog
import DiskDevice
import Foundation
import ManagementTestSupport
import Media
import Platform
import Resources
import Testing

@testable import Management

@Suite("Content that goes in and out")
struct RealTransferTests {
    private static let size: Int64 = 16 << 20

    /// A folder for state and files, which goes with it.
    private final class Place {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        var state: String { path + "/state" }
        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }

        func names() -> [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
    }

    /// What is at these offsets, in megabytes; zeros else.
    private static let pieces: [Int: UInt8] = [0: 7, 5: 9, 15: 11]

    private func makeDisk(_ name: String, _ format: DiskFormat, _ controller: Controller) async throws {
        var spec = Disk.Spec(size: Self.size)
        spec.format = format
        try await controller.createDisk(name, spec)
        let disk = try controller.plane.diskRecord(name)
        let devices = try #require(controller.plane.assembly as? LocalDevices)
        let image = try #require(devices.disks.withLock { $0[disk.identity.id] }).server.image
        for (place, byte) in Self.pieces {
            #expect(image.fill(first: UInt64(place) << 11, with: [UInt8](repeating: byte, count: 8192)) == nil)
        }
        #expect(image.synchronize() == nil)
    }

    private func content(of name: String, _ controller: Controller) throws -> [UInt8] {
        let disk = try controller.plane.diskRecord(name)
        var bytes = [UInt8](repeating: 0, count: Int(disk.size))
        let path = controller.folder.imagePath(disk.image)
        try controller.plane.assembly.read(disk, node: disk.node, imagePath: path) { content throws(ManagementError) in
            if let failure = bytes.modifyBytes({ content.read(into: &$0, at: 0) }) { throw failure }
        }
        return bytes
    }

    private static var expected: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(size))
        for (place, byte) in pieces { for index in 0..<8192 { bytes[place << 20 + index] = byte } }
        return bytes
    }

    private func finish(_ job: JobSummary, _ controller: Controller) async throws {
        try await controller.finish(job.id)
        #expect(try controller.job(job.id).state == .done)
    }

    private func allocated(_ path: String) throws -> Int64 { try File.open(path: path).allocatedSize() }

    @Test("content is the same in either format, and holes stay holes", arguments: [DiskFormat.raw, .carousel])
    func copies(_ format: DiskFormat) async throws {
        let place = try Place()
        try await serveDevices(at: place.state) { controller, _ in
            try await makeDisk("a", format, controller)
            for other in [DiskFormat.raw, .carousel] {
                let name = "to-\(other.rawValue)"
                let arguments = Disk.Copy.Arguments(source: "a", name: name, format: other)
                try await finish(try await controller.startCopy(arguments), controller)
                #expect(try content(of: name, controller) == Self.expected)
                let made = try await controller.disk(name)
                #expect(made.status.state == .serving && made.spec.size == Self.size && made.spec.format == other)
                if other == .raw { #expect(try allocated(made.status.image) < 1 << 20) }
            }
            let file = place.path + "/a.img"
            let export = Disk.Export.Arguments(source: "a", file: file)
            try await finish(try await controller.startExport(export), controller)
            #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: file))) == Self.expected)
            #expect(try allocated(file) < 1 << 20 && FileStatus.of(file).permissions == 0o600)
            let events = try await controller.events(limit: 1000)
            #expect(events.last?.verb == "export" && events.last?.new?["file"] == .text(file))
            let back = Disk.Import.Arguments(file: file, name: "back", format: format, blockSize: 4096)
            try await finish(try await controller.startImport(back), controller)
            #expect(try content(of: "back", controller) == Self.expected)
            #expect(place.names() == ["a.img", "state"])
            #expect(try await controller.snapshots().isEmpty)
        }
    }

    @Test("what a killed daemon was filling is gone at the next start")
    func kill() async throws {
        let place = try Place()
        try await serveDevices(at: place.state) { controller, _ in
            try await makeDisk("a", .carousel, controller)
            // As it is in the middle of a copy.
            let source = try controller.plane.beginCopy(of: "a", by: 1)
            #expect(source.isTemporary)
            var spec = Disk.Spec(size: Self.size)
            spec.format = .carousel
            let wanted = spec
            let record = try controller.plane.catalog.addDisk(
                name: "b", targetName: DeviceName.targetName("b"), wanted, image: "disks/b.img", node: "b",
                imageIsExternal: false, created: Date())
            try controller.folder.createFamily(
                at: controller.folder.imagePath(record.image), size: Self.size, blockSize: 512, name: "b",
                userKey: nil)
        }
        try await serveDevices(at: place.state) { controller, devices in
            #expect(try await controller.disks().map(\.name) == ["a"])
            #expect(controller.folder.names(in: place.state + "/disks") == ["a.img"])
            let path = controller.folder.imagePath(try controller.plane.diskRecord("a").image)
            #expect(try devices.nodes(inImage: path).map(\.name) == ["a"])
            #expect(try content(of: "a", controller) == Self.expected)
        }
    }

    // MARK: Images of other programs

    private static let tool = try? ImageTool()

    @discardableResult
    private func run(_ words: [String]) throws -> Program.Ending? {
        guard let tool = Self.tool else { return nil }
        return try Program.follow([tool.path] + words) { _ in true }
    }

    @Test("images of QEMU go out and come back, and nothing is left beside them", .enabled(if: tool != nil))
    func foreign() async throws {
        let place = try Place()
        try await serveDevices(at: place.state) { controller, _ in
            try await makeDisk("a", .carousel, controller)
            let image = place.path + "/a.qcow2"
            let export = Disk.Export.Arguments(source: "a", file: image, format: .qcow2)
            try await finish(try await controller.startExport(export), controller)
            for format in ["vmdk", "vhdx"] {
                let words = ["convert", "-f", "qcow2", "-O", format, image, place.path + "/a." + format]
                #expect(try run(words) == .exited(0))
            }
            for format in ["qcow2", "vmdk", "vhdx"] {
                let arguments = Disk.Import.Arguments(file: "\(place.path)/a.\(format)", name: format)
                try await finish(try await controller.startImport(arguments), controller)
                #expect(try content(of: format, controller) == Self.expected)
            }
            #expect(place.names() == ["a.qcow2", "a.vhdx", "a.vmdk", "state"])
            #expect(
                controller.folder.names(in: place.state + "/disks").sorted() == [
                    "a.img", "qcow2.img", "vhdx.img", "vmdk.img",
                ])
        }
    }

    @Test("an image that needs other files is refused, and nothing of them is read", .enabled(if: tool != nil))
    func attacks() async throws {
        let place = try Place()
        let secret = place.path + "/secret"
        try Data(count: 1 << 20).write(to: URL(fileURLWithPath: secret))
        func path(_ name: String) -> String { place.path + "/" + name }
        try run(["create", "-f", "qcow2", "-b", secret, "-F", "raw", path("backing")])
        try run(["create", "-f", "qcow2", "-o", "data_file=\(secret),data_file_raw=on", path("data"), "1M"])
        try run(["create", "-f", "vmdk", path("whole"), "1M"])
        try run(["create", "-f", "vmdk", "-o", "backing_file=\(path("whole")),backing_fmt=vmdk", path("parent")])
        // Its header says that a text inside of it has the extents.
        var empty = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path("whole"))))
        for index in 12..<20 { empty[index] = 0 }
        try Data(empty).write(to: URL(fileURLWithPath: path("extents")))
        try Data("# Disk DescriptorFile\nRW 2048 FLAT \"\(secret)\" 0\n".utf8).write(
            to: URL(fileURLWithPath: path("text")))
        try Data("QFI".utf8 + [0xFB]).write(to: URL(fileURLWithPath: path("short")))
        try await serveDevices(at: place.state) { controller, _ in
            for (name, words) in [
                ("backing", "has a backing file"), ("data", "has its data in another file"),
                ("parent", "has a backing file"), ("extents", "has its data in other files"),
                ("text", "VMDK in several files"), ("short", "is too short"),
            ] {
                guard FileManager.default.fileExists(atPath: path(name)) else { continue }
                var message = ""
                do {
                    let job = try await controller.startImport(Disk.Import.Arguments(file: path(name), name: "x"))
                    try await controller.finish(job.id)
                } catch {
                    message = (error as? ManagementError)?.message ?? "\(error)"
                }
                #expect(message.contains(words), "\(name): \(message)")
                #expect(try await controller.disks().isEmpty)
            }
            #expect(controller.folder.names(in: place.state + "/disks").isEmpty)
            // What only looks like one is a raw image, for who says so.
            try Data([UInt8]("QFI".utf8) + [0xFB] + [UInt8](repeating: 1, count: 508)).write(
                to: URL(fileURLWithPath: path("short")))
            var raw = Disk.Import.Arguments(file: path("short"), name: "x")
            raw.sourceFormat = .raw
            try await finish(try await controller.startImport(raw), controller)
            #expect(try content(of: "x", controller).prefix(4) == [0x51, 0x46, 0x49, 0xFB])
        }
    }

    @Test("an image that is cut is refused, and makes no disk", .enabled(if: tool != nil))
    func cut() async throws {
        let place = try Place()
        try await serveDevices(at: place.state) { controller, _ in
            try await makeDisk("a", .carousel, controller)
            let whole = place.path + "/a.qcow2"
            let export = Disk.Export.Arguments(source: "a", file: whole, format: .qcow2)
            try await finish(try await controller.startExport(export), controller)
            for format in ["vmdk", "vhdx", "qcow2"] {
                let path = "\(place.path)/a.\(format)"
                if path != whole { #expect(try run(["convert", "-O", format, whole, path]) == .exited(0)) }
                let file = try File.open(path: path, .readWrite)
                #expect(try file.truncate(to: file.status().length - 128 << 10) == 0)
                var message = ""
                do {
                    let job = try await controller.startImport(Disk.Import.Arguments(file: path, name: format))
                    try await controller.finish(job.id)
                } catch {
                    message = (error as? ManagementError)?.message ?? "\(error)"
                }
                // A VHDX that is cut cannot be opened at all.
                let words = format == "vhdx" ? "cannot read it as an image" : "is damaged or not whole: "
                #expect(message.contains(words), "\(format): \(message)")
                #expect(message.contains(", and says: "), "\(format): \(message)")
            }
            #expect(try await controller.disks().map(\.name) == ["a"])
            #expect(controller.folder.names(in: place.state + "/disks") == ["a.img"])
        }
    }

    @Test("a host without the program says what to install")
    func noTool() {
        let refusal = #expect(throws: ManagementError.self) { try ImageTool(path: "/nowhere:relative") }
        #expect(refusal?.message.contains("install it") == true)
    }
}
