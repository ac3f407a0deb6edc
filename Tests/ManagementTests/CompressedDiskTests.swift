import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Compressed disks")
struct CompressedDiskTests {
    private func spec(_ compression: String?, format: DiskFormat? = nil) -> Disk.Spec {
        var spec = Disk.Spec(size: 16 << 20)
        (spec.compression, spec.format) = (compression, format)
        return spec
    }

    @Test("zstd has levels from 1 to 19, and 3 is the one without a choice")
    func levels() throws {
        #expect(spec("zstd").compressionLevel == 3)
        #expect(spec("zstd:1").compressionLevel == 1)
        #expect(spec("zstd:19").compressionLevel == 19)
        #expect(spec(nil).compressionLevel == nil)
        #expect(spec("zstd").formatWithoutChoice == .carousel)
        for word in ["", "zstd:", "zstd:0", "zstd:20", "zstd:01", "zstd:1:2", "lz4", "ZSTD"] {
            #expect(spec(word).compressionLevel == nil, "\(word)")
            #expect(throws: ManagementError.self, "\(word)") { try Disk.validate(spec(word), changing: nil) }
        }
        try Disk.validate(spec("zstd:5", format: .carousel), changing: nil)
        try Disk.validate(spec("zstd"), changing: nil)
        #expect(throws: ManagementError.self) { try Disk.validate(spec("zstd", format: .raw), changing: nil) }
        var protected = spec("zstd")
        protected.protection = 1
        #expect(throws: ManagementError.self) { try Disk.validate(protected, changing: nil) }
    }

    @Test("The image keeps its compression over a restart, and a copy has it too")
    func creation() async throws {
        let folder = NSTemporaryDirectory() + "carousel-compressed-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await serveDevices(at: folder) { controller, _ in
            try await controller.createDisk("a", spec("zstd:1"))
            try await controller.createDisk("b", spec(nil, format: .carousel))
            #expect(try await controller.disk("a").status.compression == "zstd:1")
            #expect(try await controller.disk("a").spec.format == .carousel)
            #expect(try await controller.disk("b").status.compression == nil)
            let job = try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "c", format: nil))
            try await controller.finish(job.id)
            #expect(try await controller.disk("c").status.compression == "zstd:1")
            let raw = try await controller.startCopy(Disk.Copy.Arguments(source: "a", name: "d", format: .raw))
            try await controller.finish(raw.id)
            let copy = try await controller.disk("d").spec
            #expect(copy.format == .raw && copy.compression == nil)
            try Disk.validate(copy, changing: copy)
        }
        try await serveDevices(at: folder) { controller, _ in
            for name in ["a", "c"] {
                let disk = try await controller.disk(name)
                #expect(disk.status.compression == "zstd:1")
            }
        }
    }
}
