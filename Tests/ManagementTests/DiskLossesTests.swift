import Foundation
import ManagementTestSupport
import Platform
import Resources
import TestSupport
import Testing

@testable import Management

@Suite("Which disks have lost data", .serialized)
struct DiskLossesTests {
    @Test("a disk is asked after it was noted, until it has lost nothing any more, and again when it is noted again")
    func notes() {
        let losses = DiskLosses()
        func asked(_ answer: Bool) -> [Int64] {
            var keys: [Int64] = []
            losses.forEach { key in
                keys.append(key)
                return answer
            }
            return keys.sorted()
        }
        #expect(asked(true).isEmpty)
        for key in [Int64(3), 5, 3] { losses.note(key) }
        #expect(asked(true) == [3, 5])
        #expect(asked(false) == [3, 5])
        #expect(asked(true).isEmpty)
        losses.note(5)
        #expect(asked(true) == [5])
    }

    @Test("the status tells of each loss of a disk that runs until that is acknowledged, or the disk has gone")
    func status() async throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            try await controller.createDisk("whole", Disk.Spec.raw(size: 1 << 20))
            let disk = try await controller.createDisk("cut", Disk.Spec.raw(size: 1 << 20))
            let file = try File.open(path: disk.status.image, .readWrite)
            for _ in 0..<2 {
                #expect(try await controller.status().problems.isEmpty)
                try #require(file.truncate(to: 1 << 19) == 0)
                // Who looks closely finds that it is shorter.
                _ = try? await controller.changeDisk("cut", to: Disk.Spec.raw(size: 2 << 20))
                #expect(devices.lossesOfDisks().keys.sorted() == ["cut"])
                let problem = try #require(try await controller.disk("cut").status.problem)
                #expect(try await controller.status().problems == [problem])
                #expect(try await controller.status().problems == [problem])
                try #require(file.truncate(to: 1 << 20) == 0)
                try await controller.acknowledgeLoss(ofDisk: "cut")
            }
            try #require(file.truncate(to: 1 << 19) == 0)
            _ = try? await controller.changeDisk("cut", to: Disk.Spec.raw(size: 2 << 20))
            #expect(devices.lossesOfDisks().count == 1)
            try await controller.deleteDisk("cut")
            #expect(devices.lossesOfDisks().isEmpty)
        }
    }
}
