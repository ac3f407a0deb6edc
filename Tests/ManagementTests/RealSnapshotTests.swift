import Bytes
import Foundation
import ISCSI
import Initiator
import ManagementTestSupport
import Platform
import Resources
import SCSI
import Testing

@testable import Management

@Suite("Disks with snapshots, as initiators find them", .serialized)
final class RealSnapshotTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private static let length = 4096

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func logIn(_ name: String, _ devices: LocalDevices) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first)
        let portal = try #require(SocketAddress(open.name))
        var settings = InitiatorSettings(targetName: DeviceName.targetName(name))
        settings.initiatorName = "iqn.2026-11.test:i"
        let session = try BlockingInitiator.logIn(to: portal, settings)
        let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        for _ in 0..<8 where try session.execute(testUnitReady, on: LogicalUnitNumber(0)).status != .good {}
        return session
    }

    /// Eight blocks with that byte at that block; the sense of a refusal.
    @discardableResult
    private func write(_ byte: UInt8, at block: UInt8 = 0, _ session: BlockingInitiator) throws -> SenseData? {
        let command = CommandDescriptorBlock([OperationCode.write10, 0, 0, 0, 0, block, 0, 0, 8, 0])
        return try session.execute(
            command, on: LogicalUnitNumber(0), dataOut: [UInt8](repeating: byte, count: Self.length)
        ).sense
    }

    /// The byte that all of eight blocks have; nil when they have several.
    private func read(at block: UInt8 = 0, _ session: BlockingInitiator) throws -> UInt8? {
        let command = CommandDescriptorBlock([0x28, 0, 0, 0, 0, block, 0, 0, 8, 0])
        let data = try session.execute(
            command, on: LogicalUnitNumber(0), expectedDataInLength: Self.length
        ).dataIn
        guard data.count == Self.length, let first = data.first, data.allSatisfy({ $0 == first }) else { return nil }
        return first
    }

    private func makeDisk(_ controller: Controller) async throws {
        var spec = Disk.Spec(size: 8 << 20)
        spec.format = .carousel
        try await controller.createDisk("a", spec)
    }

    @Test("what was stays in snapshot and clone, a rollback brings it back, and initiators are told")
    func life() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk(controller)
            let disk = try logIn("a", devices)
            try write(1, disk)
            try await controller.takeSnapshots(["a@one"])
            try write(2, disk)
            let (ranges, next) = try await controller.differences(Self.comparison("a@one", "a"))
            #expect(ranges == [0..<4096] && next == nil)

            try await controller.mapSnapshot("a@one", Snapshot.Map.Arguments())
            let shown = try logIn("a-one", devices)
            #expect(try read(shown) == 1)
            // DATA PROTECT.
            #expect(try write(3, shown)?.key == .dataProtect)
            #expect(try read(disk) == 2)

            try await controller.cloneSnapshot("a@one", as: "c")
            let clone = try logIn("c", devices)
            #expect(try read(clone) == 1)
            #expect(try write(4, clone) == nil)
            #expect(try read(shown) == 1 && read(disk) == 2)
            #expect(try await controller.snapshot("a@one").status.clones == ["c"])

            let kept = try await controller.rollBackDisk(to: "a@one")
            // MEDIUM MAY HAVE CHANGED
            let sense = try write(5, disk)
            #expect(sense?.additionalSenseCode == .mediumMayHaveChanged)
            #expect(try read(disk) == 1 && read(clone) == 4 && read(shown) == 1)
            #expect(try await controller.snapshots(ofDisk: "a").map(\.name) == [kept.name, "a@one"].sorted())
            try await controller.rollBackDisk(to: kept.name)
            _ = try write(5, at: 64, disk)
            #expect(try read(disk) == 2)
        }
        try await serveDevices(at: path) { [self] controller, devices in
            for _ in 0..<200 where try await controller.disks().contains(where: { $0.status.state != .serving }) {
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(try read(try logIn("a", devices)) == 2)
            #expect(try read(try logIn("c", devices)) == 4)
            #expect(try read(try logIn("a-one", devices)) == 1)
            #expect(try await controller.snapshot("a@one").status.mappedAs == "a-one")
        }
    }

    @Test("what is locked stays, and the image goes with the last of its disks")
    func deletion() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await makeDisk(controller)
            try await controller.takeSnapshots(["a@one"])
            try await controller.cloneSnapshot("a@one", as: "c")
            var lock = Snapshot.LockUntil.Arguments()
            lock.until = Date(timeIntervalSince1970: 4_000_000_000)
            try await controller.takeSnapshots(["c@locked"])
            #expect(try await controller.lockSnapshot("c@locked", lock).status.lockedUntil == lock.until)
            await #expect(throws: ManagementError.self) { try await controller.deleteSnapshot("c@locked") }
            try await controller.deleteSnapshot("a@one")
            let image = try await controller.disk("a").status.image
            try await controller.deleteDisk("a")
            #expect(FileManager.default.fileExists(atPath: image))
            #expect(try await controller.snapshots().map(\.name) == ["c@locked"])
            #expect(try write(1, try logIn("c", devices)) == nil)
        }
    }

    private static func comparison(_ from: String, _ to: String) -> Snapshot.Compare.Arguments {
        var arguments = Snapshot.Compare.Arguments()
        (arguments.from, arguments.to) = (from, to)
        return arguments
    }
}
