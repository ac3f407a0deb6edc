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

@Suite("Delta streams between daemons", .serialized)
final class DeltaTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private static let size: Int64 = 16 << 20

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func makeDisk(_ name: String, _ controller: Controller) async throws {
        var spec = Disk.Spec(size: Self.size)
        spec.format = .carousel
        try await controller.createDisk(name, spec)
    }

    private func image(_ name: String, _ controller: Controller) throws -> any DiskImage {
        let disk = try controller.plane.diskRecord(name)
        let devices = try #require(controller.plane.assembly as? LocalDevices)
        return try #require(devices.disks.withLock { $0[disk.identity.id] }).server.image
    }

    /// Writes 64 KiB of a byte at a multiple of that; 0 discards.
    private func write(_ name: String, _ byte: UInt8, at place: UInt64, _ controller: Controller) throws {
        let image = try image(name, controller)
        if byte == 0 {
            #expect(image.erase(first: place << 7, blocks: 128) == nil)
        } else {
            #expect(image.fill(first: place << 7, with: [UInt8](repeating: byte, count: 65536)) == nil)
        }
        #expect(image.synchronize() == nil)
    }

    private func content(of node: String, _ controller: Controller) throws -> [UInt8] {
        let disk = try controller.plane.diskRecord(SnapshotName(node)?.disk ?? node)
        var bytes: [UInt8] = []
        let path = controller.folder.imagePath(disk.image)
        try controller.plane.assembly.read(disk, node: node, imagePath: path) { content throws(ManagementError) in
            bytes = [UInt8](repeating: 0, count: Int(content.capacity))
            if let failure = bytes.modifyBytes({ content.read(into: &$0, at: 0) }) { throw failure }
        }
        return bytes
    }

    private func export(_ source: String, since: String? = nil, _ name: String, _ controller: Controller) async throws {
        let arguments = Disk.Export.Arguments(
            source: source, file: "\(path)/\(name)", format: .delta, since: since)
        let job = try await controller.startExport(arguments)
        try await controller.finish(job.id)
        #expect(try controller.job(job.id).state == .done)
    }

    private func apply(_ name: String, to disk: String, _ controller: Controller) async throws {
        var arguments = Disk.Import.Arguments(file: "\(path)/\(name)", name: disk)
        arguments.isDelta = true
        let job = try await controller.startImport(arguments)
        try await controller.finish(job.id)
        #expect(try controller.job(job.id).state == .done)
    }

    private func refusal(_ name: String, to disk: String, _ controller: Controller) async -> String {
        do {
            try await apply(name, to: disk, controller)
            return ""
        } catch {
            return (error as? ManagementError)?.message ?? "\(error)"
        }
    }

    private func nodes(_ disk: String, _ controller: Controller) throws -> [String] {
        let record = try controller.plane.diskRecord(disk)
        return try controller.plane.assembly.nodes(inImage: controller.folder.imagePath(record.image)).map(\.name)
    }

    /// Makes a disk with three snapshots, and streams of them.
    private func makeStreams() async throws -> [String: [UInt8]] {
        var contents: [String: [UInt8]] = [:]
        try await serveDevices(at: path + "/source") { [self] controller, _ in
            try await makeDisk("a", controller)
            for place: UInt64 in 0..<40 { try write("a", UInt8(place + 1), at: place * 5, controller) }
            try await controller.takeSnapshots(["a@one"])
            for place: UInt64 in 0..<10 { try write("a", 99, at: place * 10, controller) }
            for place: UInt64 in 0..<8 { try write("a", 0, at: place * 15, controller) }
            try write("a", 77, at: 3, controller)
            try await controller.takeSnapshots(["a@two"])
            var spec = try await controller.disk("a").spec
            spec.size = 32 << 20
            _ = try await controller.changeDisk("a", to: spec)
            try write("a", 55, at: 400, controller)
            try await controller.takeSnapshots(["a@three"])
            try write("a", 56, at: 0, controller)
            try await export("a@one", "one", controller)
            try await export("a@two", since: "one", "two", controller)
            try await export("a@three", since: "a@two", "three", controller)
            try await export("a@three", "all", controller)
            for name in ["a@one", "a@two", "a@three"] { contents[name] = try content(of: name, controller) }
        }
        #expect(try FileStatus.of(path + "/one").length < 40 * 65536 + 40 * 100 + 8192, "sparse stays sparse")
        #expect(try FileStatus.of(path + "/three").length < 65536 + 8192)
        #expect(try FileStatus.of(path + "/one").permissions == 0o600)
        return contents
    }

    @Test("a chain of streams makes the same disk elsewhere, and is not applied twice, nor in another order")
    func chain() async throws {
        let contents = try await makeStreams()
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            #expect(await refusal("two", to: "b", controller).contains("no snapshot with that content"))
            #expect(try await controller.disks().isEmpty)
            try await apply("one", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@one"])
            #expect(try nodes("b", controller).sorted() == ["b", "b@one"])
            #expect(await refusal("three", to: "b", controller).contains("no snapshot with that content"))
            try await apply("two", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@two"])
            try await apply("two", to: "b", controller)
            #expect(try content(of: "b@one", controller) == contents["a@one"])
            try write("b", 9, at: 200, controller)
            #expect(await refusal("three", to: "b", controller).contains("snapshot rollback b@two --yes"))
            try await controller.rollBackDisk(to: "b@two")
            try await apply("three", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@three"])
            #expect(try await controller.disk("b").spec.size == 32 << 20)
            #expect(try content(of: "b@three", controller) == contents["a@three"])
            try await apply("all", to: "c", controller)
            #expect(try content(of: "c", controller) == contents["a@three"])
            #expect(await refusal("one", to: "c", controller).contains("apply it to a new one"))
            // Onwards from here: what was received has the identity of its origin.
            try write("b", 12, at: 8, controller)
            try await controller.takeSnapshots(["b@four"])
            try await export("b@four", since: "b@three", "four", controller)
            try await apply("four", to: "c", controller)
            #expect(try content(of: "c", controller) == content(of: "b", controller))
            let uuid = try await controller.snapshot("b@three").status.uuid
            #expect(try await controller.snapshot("c@three").status.uuid == uuid && uuid.count == 32)
            for disk in ["b", "c"] {
                let record = try controller.plane.diskRecord(disk)
                let image = controller.folder.imagePath(record.image)
                #expect(try controller.plane.assembly.check(image: image) { _ in true }.isEmpty)
            }
            #expect(try nodes("c", controller).sorted() == ["c", "c@four", "c@three"])
            #expect(try await controller.events(limit: 1000).contains { $0.verb == "import" && $0.name == "b" })
        }
    }

    @Test("a stream that is cut, damaged or replaced brings nothing, and the whole one goes on where it was kept")
    func interrupted() async throws {
        let contents = try await makeStreams()
        let whole = try Data(contentsOf: URL(fileURLWithPath: path + "/two"))
        func put(_ data: Data) throws { try data.write(to: URL(fileURLWithPath: path + "/two")) }
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            try await apply("one", to: "b", controller)
            try put(whole.prefix(whole.count / 2))
            let cut = await refusal("two", to: "b", controller)
            #expect(cut.contains("cut off at byte") && cut.contains("is what it was"), "\(cut)")
            #expect(try content(of: "b", controller) == contents["a@one"])
            #expect(try await controller.snapshots(ofDisk: "b").map(\.name) == ["b@one"])
            let work = try #require(try nodes("b", controller).first { $0.hasPrefix("b@.delta-") })
            #expect(DeltaPosition(text: work.suffix(DeltaPosition.textLength))?.record ?? 0 > 0)
            // Nobody sees it, and it keeps nobody from anything.
            try await controller.takeSnapshots(["b@mine"])
            try await controller.deleteSnapshot("b@mine")
        }
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            var damaged = whole
            damaged[whole.count - 100] ^= 1
            try put(damaged)
            let flipped = await refusal("two", to: "b", controller)
            #expect(flipped.contains("is damaged") && flipped.contains("is what it was"), "\(flipped)")
            #expect(try content(of: "b", controller) == contents["a@one"])
            try put(whole)
            try await apply("two", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@two"])
            #expect(try nodes("b", controller).sorted() == ["b", "b@one", "b@two"])
            let image = controller.folder.imagePath(try controller.plane.diskRecord("b").image)
            #expect(try controller.plane.assembly.check(image: image) { _ in true }.isEmpty)
            // One that is begun goes with its disk.
            try put(whole.prefix(whole.count / 2))
            try await apply("one", to: "c", controller)
            #expect(!(await refusal("two", to: "c", controller)).isEmpty)
            try await controller.deleteSnapshot("c@one")
            try await controller.deleteDisk("c")
        }
    }

    @Test("a disk that was made for a stream that is cut off stays, and the same command goes on")
    func cutAtFirst() async throws {
        let contents = try await makeStreams()
        let file = URL(fileURLWithPath: path + "/one")
        let whole = try Data(contentsOf: file)
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            try whole.prefix(whole.count / 2).write(to: file)
            let cut = await refusal("one", to: "b", controller)
            #expect(cut.contains("disk 'b' was made for it and holds nothing yet"), "\(cut)")
            #expect(cut.contains("goes on there; 'carousel disk delete b' takes the disk away"), "\(cut)")
            #expect(try await controller.disks().map(\.name) == ["b"])
            try whole.write(to: file)
            try await apply("one", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@one"])
        }
    }

    @Test("what was killed before the disk became its snapshot is ended by the next import")
    func killedLate() async throws {
        let contents = try await makeStreams()
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            try await apply("one", to: "b", controller)
            var wanted = Disk.Import.Arguments(file: "\(path)/two", name: "b")
            wanted.isDelta = true
            let arguments = wanted
            let job = try controller.jobs.start(
                Job.Subject(verb: "import", kind: "disk", name: "b", unit: "byte"), total: 0
            ) { [path] job async throws(ManagementError) in
                try await controller.change([]) { plane throws(ManagementError) in
                    let begun = try plane.beginReceiving(arguments, job: job)
                    try plane.receive(begun, job: job)
                    let disk = try plane.diskRecord("b")
                    let image = plane.folder.imagePath(disk.image)
                    let work = try plane.assembly.nodes(inImage: image).first { $0.name.hasPrefix("b@.delta-") }
                    try plane.assembly.keepReceived(
                        work?.name ?? path, inImage: image, as: begun.target, begun.header.target.identity)
                    plane.endReceiving(begun)
                }
            }
            try await controller.finish(job.id)
            #expect(try content(of: "b", controller) == contents["a@one"])
        }
        try await serveDevices(at: path + "/target") { [self] controller, _ in
            try await apply("two", to: "b", controller)
            #expect(try content(of: "b", controller) == contents["a@two"])
            #expect(try nodes("b", controller).sorted() == ["b", "b@one", "b@two"])
        }
    }

    @Test("an export that was cut off goes on, and what is no beginning of it is left alone")
    func continued() async throws {
        _ = try await makeStreams()
        let whole = try Data(contentsOf: URL(fileURLWithPath: path + "/two"))
        try await serveDevices(at: path + "/source") { [self] controller, _ in
            for cut in [10, 4096, 4200, whole.count / 3, whole.count - 1, whole.count] {
                try begin("again", whole.prefix(cut))
                try await export("a@two", since: "one", "again", controller)
                let made = try Data(contentsOf: URL(fileURLWithPath: path + "/again"))
                // A stream that is begun anew has another UUID.
                #expect(cut < 4096 ? made.count == whole.count : made == whole, "cut at \(cut)")
                #expect(!FileManager.default.fileExists(atPath: path + "/again.part"))
                try FileManager.default.removeItem(atPath: path + "/again")
            }
            let other = try Data(contentsOf: URL(fileURLWithPath: path + "/three"))
            try begin("again", other)
            let error = await #expect(throws: ManagementError.self) {
                try await export("a@two", since: "one", "again", controller)
            }
            #expect(error?.message.contains("not the beginning of this stream") == true)
            #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/again.part")) == other)
        }
    }

    /// Leaves what an export would that was broken off.
    private func begin(_ name: String, _ data: Data) throws {
        try data.write(to: URL(fileURLWithPath: "\(path)/\(name).part"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(path)/\(name).part")
    }

    @Test("an export goes on with no file that is not its own: a link, one of two names, one that others may use")
    func foreignPart() async throws {
        _ = try await makeStreams()
        let files = FileManager.default
        let part = path + "/again.part"
        let foreign: [() throws -> Void] = [
            { [path] in try files.createSymbolicLink(atPath: part, withDestinationPath: path + "/aim") },
            { [path] in
                try Data().write(to: URL(fileURLWithPath: path + "/aim"))
                try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path + "/aim")
                try files.linkItem(atPath: path + "/aim", toPath: part)
            },
            {
                try Data().write(to: URL(fileURLWithPath: part))
                try files.setAttributes([.posixPermissions: 0o640], ofItemAtPath: part)
            },
            { try files.createDirectory(atPath: part, withIntermediateDirectories: false) },
            {
                // Safe: a string of Swift ends with a zero and lives until the call returns.
                #expect(unsafe mkfifo(part, 0o600) == 0)
            },
        ]
        try await serveDevices(at: path + "/source") { [self] controller, _ in
            for (number, put) in foreign.enumerated() {
                try put()
                let error = await #expect(throws: ManagementError.self) {
                    try await export("a@two", since: "one", "again", controller)
                }
                let message = error?.message ?? ""
                #expect(message.contains("not what a former export has left"), "\(number): \(message)")
                #expect(!files.fileExists(atPath: path + "/again"))
                #expect((try? FileStatus.of(path + "/aim").length) ?? 0 == 0)
                try files.removeItem(atPath: part)
            }
        }
    }

    @Test("what makes no stream, or takes none, is refused with a sentence")
    func refused() async throws {
        _ = try await makeStreams()
        try await serveDevices(at: path + "/source") { [self] controller, _ in
            try await makeDisk("other", controller)
            try await controller.takeSnapshots(["other@x"])
            for (source, since, words) in [
                ("a", nil, "brings a snapshot"), ("a@two", "two", "nothing has changed"),
                ("a@two", "none", "no snapshot"),
                ("a@two", "other@x", "different images"), ("a@two", "three", "does not become smaller"),
                ("a@none", nil, "no snapshot"),
            ] as [(String, String?, String)] {
                let error = await #expect(throws: ManagementError.self) {
                    try await export(source, since: since, "x", controller)
                }
                #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
            }
            for (field, change) in [
                ("format", { $0.format = .ram }), ("format", { $0.format = .raw }),
                ("blockSize", { $0.blockSize = 512 }),
            ] as [(String, (inout Disk.Import.Arguments) -> Void)] {
                var arguments = Disk.Import.Arguments(file: path + "/one", name: "new")
                arguments.isDelta = true
                change(&arguments)
                let wanted = arguments
                let error = await #expect(throws: ManagementError.self) {
                    _ = try await controller.startImport(wanted)
                }
                #expect(error?.code == .invalid && error?.field == field, "\(error?.message ?? "")")
            }
            try Data("no stream".utf8).write(to: URL(fileURLWithPath: path + "/x"))
            #expect(await refusal("x", to: "other", controller).contains("no delta stream"))
            #expect(await refusal("two", to: "other", controller).contains("no snapshot with that content"))
            #expect(await refusal("all", to: "other", controller).isEmpty, "it holds nothing, and grows")
            var spec = Disk.Spec(size: Self.size, blockSize: 4096)
            spec.format = .carousel
            try await controller.createDisk("blocks", spec)
            #expect(await refusal("one", to: "blocks", controller).contains("--block-size 512"))
            spec = Disk.Spec(size: Self.size)
            spec.format = .raw
            try await controller.createDisk("raw", spec)
            #expect(await refusal("one", to: "raw", controller).contains("is raw"))
            try await controller.takeSnapshots(["other@one"])
            try await makeDisk("named", controller)
            try await controller.takeSnapshots(["named@one"])
            #expect(await refusal("one", to: "named", controller).contains("exists already"))
        }
    }
}
