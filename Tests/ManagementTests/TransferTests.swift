import Bytes
import Catalog
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Copies of disks")
struct TransferTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    /// Content with zeros in between.
    private static let content: [UInt8] =
        (0..<4 << 20).map { index in index >> 20 == 1 ? 0 : UInt8(truncatingIfNeeded: index % 251 + 1) }

    private func makeDisk(_ name: String, _ format: DiskFormat = .carousel) async throws {
        var spec = Disk.Spec(size: 8 << 20)
        (spec.format, spec.description, spec.formFactor) = (format, "the first", .twoAndAHalf)
        try await controller.createDisk(name, spec)
        devices.setContent(of: name, Self.content)
    }

    private func copy(_ source: String, _ name: String, _ format: DiskFormat? = nil) async throws -> JobSummary {
        let job = try await controller.startCopy(Disk.Copy.Arguments(source: source, name: name, format: format))
        try await controller.finish(job.id)
        return try controller.job(job.id)
    }

    private func words(_ body: () async throws -> some Sendable) async -> String {
        await fixture.refusal(body)?.message ?? ""
    }

    private func nodes(_ name: String) throws -> [String] {
        let image = try controller.plane.diskRecord(name).image
        return try devices.nodes(inImage: controller.folder.imagePath(image)).map(\.name)
    }

    @Test("a copy has the content at one instant, what the disk says of itself, and a target of its own")
    func copies() async throws {
        try await makeDisk("a")
        let job = try await copy("a", "b")
        #expect(job.state == .done && job.unit == "bytes" && job.done == 4 << 20 && job.work == "copy disk a to b")
        #expect(devices.content(of: "b") == Self.content)
        let made = try await controller.disk("b")
        #expect(made.status.state == .serving && made.spec.size == 8 << 20 && made.spec.format == .carousel)
        #expect(made.spec.formFactor == .twoAndAHalf && made.spec.description == nil)
        // What was made for it has gone, and nobody has seen it.
        #expect(try nodes("a").isEmpty)
        let events = try await controller.events(limit: 1000)
        #expect(events.map { "\($0.verb) \($0.name)" } == ["create a", "create b"])
        #expect(events.last?.new?["source"] == "a")
        #expect(try await copy("a", "c", .raw).state == .done)
        #expect(try await controller.disk("c").spec.format == .raw)
        #expect(devices.content(of: "c") == Self.content)
    }

    @Test("a copy of a snapshot has what that has")
    func snapshots() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        devices.setContent(of: "a", [9])
        _ = try await copy("a@one", "b")
        #expect(devices.content(of: "b") == Self.content)
        #expect(try nodes("a") == ["a@one"])
    }

    @Test("what cannot be copied is refused at once, in one sentence")
    func refusals() async throws {
        try await makeDisk("a")
        try await makeDisk("raw", .raw)
        devices.logIn(to: "raw")
        #expect(await words { try await copy("raw", "b") }.contains("is in use by iqn.2026-11.test:i; log it out"))
        #expect(await words { try await copy("a", "raw") }.contains("disk 'raw' exists already"))
        #expect(await words { try await copy("a@no", "b") }.contains("there is no snapshot 'a@no'"))
        #expect(await words { try await copy("no", "b") }.contains("there is no disk 'no'"))
        #expect(await words { try await copy("raw@x", "b") }.contains("'carousel disk copy raw NEW"))
        let path = fixture.path
        func export(_ file: String) -> Disk.Export.Arguments { Disk.Export.Arguments(source: "a", file: file) }
        for file in [path + "/x.img", path + "/disks/x.img"] {
            #expect(await words { try await controller.startExport(export(file)) }.contains("in the daemon's state"))
        }
        #expect(await words { try await controller.startExport(export("/etc/hosts")) }.contains("exists already"))
        let file = Disk.Import.Arguments(file: path + "/catalog.sqlite", name: "b")
        #expect(await words { try await controller.startImport(file) }.contains("in the daemon's state"))
        #expect(controller.jobSummaries().isEmpty)
        devices.logOut(of: "raw")
        _ = try await copy("raw", "b")
        #expect(devices.content(of: "b") == Self.content)
    }

    @Test("one that is cancelled leaves nothing, and what it reads is not deleted before")
    func cancellation() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        for source in ["a", "a@one"] {
            let barrier = devices.hangAtContent()
            let job = try await controller.startCopy(Disk.Copy.Arguments(source: source, name: "b"))
            await barrier.waitForArrival()
            #expect(try await controller.disk("b").status.state == .creating)
            #expect(await words { try await controller.deleteDisk("a") }.contains("job \(job.id) reads this"))
            if source == "a@one" {
                #expect(await words { try await controller.deleteSnapshot("a@one") }.contains("job \(job.id) reads"))
            }
            // Others go on.
            try await controller.takeSnapshots(["a@two"])
            try await controller.deleteSnapshot("a@two")
            #expect(try await controller.snapshots().map(\.name) == ["a@one"])
            _ = try controller.cancelJob(job.id)
            barrier.open()
            #expect(await fixture.refusal { try await controller.finish(job.id) } == Job.wasCancelled)
            #expect(try await controller.disks().map(\.name) == ["a"])
            #expect(fixture.files().allSatisfy { !$0.contains("/b.img") })
            #expect(try nodes("a") == ["a@one"])
        }
        #expect(try await controller.status().problems.isEmpty)
        _ = try await copy("a", "b")
    }

    @Test("a raw disk that is being copied is nobody else's, and one that was written meanwhile gives no copy")
    func raw() async throws {
        try await makeDisk("a", .raw)
        let barrier = devices.hangAtContent()
        let job = try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "b"))
        await barrier.waitForArrival()
        #expect(await words { try await controller.deleteDisk("a") }.contains("job \(job.id), copy disk a to b"))
        let image = try #require(FileHandle(forWritingAtPath: try await controller.disk("a").status.image))
        try image.write(contentsOf: Data([1]))
        barrier.open()
        #expect(await words { try await controller.finish(job.id) }.contains("was written while it was copied"))
        #expect(try await controller.disks().map(\.name) == ["a"])
    }

    @Test("what copies have left that ended with the daemon goes at the next start")
    func forgotten() async throws {
        try await makeDisk("a")
        try await controller.takeSnapshots(["a@one"])
        let record = try controller.plane.diskRecord("a")
        let path = controller.folder.imagePath(record.image)
        let left = NewSnapshot(disk: record, imagePath: path, name: "a@.copy-1-2")
        try devices.takeSnapshots([left], time: .current())
        #expect(try nodes("a") == ["a@one", "a@.copy-1-2"])
        #expect(try await controller.snapshots().map(\.name) == ["a@one"])
        controller.plane.removeForgottenCopies(inImage: path)
        #expect(try nodes("a") == ["a@one"])
    }

    // MARK: Files of the host

    private static func job() -> Job {
        let subject = Job.Subject(verb: "import", kind: "disk", name: "x", unit: JobSummary.bytes)
        return Job(id: 1, subject: subject, actor: .daemon, total: 0)
    }

    /// A file beside the state, which is gone when this returns.
    private func withFile(_ body: (File) async throws -> Void) async throws {
        let path = fixture.path + "-file"
        let file = try File.open(path: path, [.readWrite, .create, .exclusive], permissions: 0o600)
        defer { try? File.remove(path) }
        try await body(file)
    }

    @Test("a file of any length is read in whole blocks, wherever its holes are, and zeros follow it")
    func wholeBlocks() async throws {
        try await withFile { file in
            let (block, capacity) = (1 << 16, 8 << 16)
            var expected = [UInt8](repeating: 0, count: capacity)
            // Behind a hole in the middle of a block, and at an end that is none of a block.
            for (offset, length) in [(block * 3 + 20480, 4096), (block * 7 + 8192, 1000)] {
                let bytes = [UInt8](repeating: 7, count: length)
                #expect(file.write(bytes.rawSpan, fileOffset: Int64(offset)) == .done(length))
                expected.replaceSubrange(offset..<(offset + length), with: bytes)
            }
            let content = FileContent(file: file, capacity: Int64(capacity), blockSize: block, name: "x")
            var found = [UInt8](repeating: 0, count: capacity)
            var isWhole = true
            try ContentCopy.copy(content, job: Self.job()) { bytes, offset throws(ManagementError) in
                isWhole = isWhole && Int(offset) % block == 0 && bytes.count % block == 0
                found.replaceSubrange(Int(offset)..<(Int(offset) + bytes.count), with: bytes)
            }
            #expect(isWhole && found == expected)
            // The last block has the end of the file, and is not asked for again.
            #expect(try content.next(from: Int64(block * 7)) == Int64(block * 7)..<Int64(capacity))
            #expect(try content.next(from: Int64(capacity)) == nil)
        }
    }

    @Test("a raw file that ends in the middle of a block makes a disk")
    func oddLength() async throws {
        try await withFile { file in
            let bytes = [UInt8](repeating: 7, count: 1000)
            #expect(file.write(bytes.rawSpan, fileOffset: 0) == .done(1000))
            let job = try await controller.startImport(Disk.Import.Arguments(file: file.path, name: "b"))
            try await controller.finish(job.id)
            #expect(devices.content(of: "b") == bytes + [UInt8](repeating: 0, count: 24))
            #expect(try await controller.disk("b").spec.size == 1024)
        }
    }

    /// Content whose runs lead nowhere.
    private struct EndlessContent: DiskContent {
        let run: Range<Int64>
        var capacity: Int64 { 4096 }
        func next(from offset: Int64) throws(ManagementError) -> Range<Int64>? { run }
        func read(into bytes: inout MutableRawSpan, at offset: Int64) -> ManagementError? { nil }
    }

    @Test("a copy of what does not lead on ends, with an error", arguments: [Int64(0)..<0, 0..<512])
    func endless(_ run: Range<Int64>) {
        let refusal = #expect(throws: ManagementError.self) {
            try ContentCopy.copy(EndlessContent(run: run), job: Self.job()) { _, _ throws(ManagementError) in }
        }
        #expect(refusal?.code == .internal)
    }

    @Test("only whole blocks inside a disk are written to it")
    func firstBlocks() throws {
        func first(_ count: Int, _ offset: Int64) throws(ManagementError) -> UInt64 {
            try LocalDevices.firstBlock(of: count, at: offset, blockSize: 4096, capacity: 16384)
        }
        #expect(try first(4096, 12288) == 3)
        for (count, offset) in [(4096, Int64(512)), (512, 4096), (4096, -4096), (8192, 12288)] {
            let refusal = #expect(throws: ManagementError.self) { _ = try first(count, offset) }
            #expect(refusal?.code == .internal)
        }
    }

    @Test("a file that is longer than any disk is refused, whatever its format is")
    func longFiles() async throws {
        for length in [0, Disk.maximumSize + 1, 4 << 60] {
            #expect(throws: ManagementError.self) { try ControlPlane.checkLength(length, "x") }
        }
        try ControlPlane.checkLength(Disk.maximumSize, "x")
        try await withFile { file in
            let header = [UInt8]("QFI".utf8) + [0xFB, 0, 0, 0, 3]
            #expect(file.write(header.rawSpan, fileOffset: 0) == .done(header.count))
            // Most file systems have no files of that length.
            guard file.truncate(to: 4 << 60) == 0 else { return }
            for format in [nil, ImportFormat.raw, .qcow2, .vmdk, .vhdx] {
                var arguments = Disk.Import.Arguments(file: file.path, name: "b")
                arguments.sourceFormat = format
                let long = arguments
                #expect(await words { try await controller.startImport(long) }.contains("are possible"))
            }
        }
    }

    @Test("an image of disks with snapshots is no content of a disk", arguments: [Int64(0), 16384, 32768, 49152])
    func families(_ offset: Int64) async throws {
        try await withFile { file in
            #expect(file.truncate(to: 1 << 20) == 0)
            #expect(file.write([UInt8]("CRSLDISK".utf8).rawSpan, fileOffset: offset) == .done(8))
            for format in [nil, ImportFormat.raw] {
                var arguments = Disk.Import.Arguments(file: file.path, name: "b")
                arguments.sourceFormat = format
                let image = arguments
                #expect(await words { try await controller.startImport(image) }.contains("'carousel adopt disk'"))
            }
            let disks = try await controller.disks()
            #expect(disks.isEmpty)
        }
    }

    @Test("what a program writes of its progress is read, however it is divided")
    func progress() {
        var text = ProgressText()
        let pieces = ["    (0.00/1", "00%)\r   (12.", "50/100%)\r", "", "(25/100%)\r(50.00/100%)\rno (more) room"]
        let found = pieces.map { text.add(Array($0.utf8)) }
        #expect(found == [0, nil, 0.125, nil, 0.5])
        #expect(text.rest.hasSuffix("no (more) room"))
    }
}
