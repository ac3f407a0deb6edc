import Bytes
import Catalog
import Foundation
import GRDB
import ISCSI
import Initiator
import Logging
import ManagementTestSupport
import Media
import Platform
import Resources
import SCSI
import Testing

@testable import Management

@Suite("Disks that initiators format to other protection information", .serialized)
final class FormattedDiskTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func logIn(_ devices: LocalDevices) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first)
        let portal = try #require(SocketAddress(open.name))
        var settings = InitiatorSettings(targetName: DeviceName.targetName("a"))
        settings.initiatorName = "iqn.2026-11.test:i"
        let session = try BlockingInitiator.logIn(to: portal, settings)
        for _ in 0..<8 where try session.execute(testUnitReady, on: LogicalUnitNumber(0)).status != .good {}
        return session
    }

    /// FORMAT UNIT without a list, for types up to 2.
    private func format(_ session: BlockingInitiator, _ type: UInt8) throws -> SenseData? {
        let information: [UInt8] = [0, 0x80, 0xC0]
        return try session.execute(
            CommandDescriptorBlock([OperationCode.formatUnit, information[Int(type)], 0, 0, 0, 0]),
            on: LogicalUnitNumber(0)
        ).sense
    }

    /// PROTECT of INQUIRY.
    private func isProtected(_ session: BlockingInitiator) throws -> Bool {
        try session.execute(
            CommandDescriptorBlock([0x12, 0, 0, 0, 36, 0]), on: LogicalUnitNumber(0), expectedDataInLength: 36
        ).dataIn[5] & 1 != 0
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/disks").sorted()
    }

    private func waitUntilServed(_ controller: Controller) async throws {
        for _ in 0..<200 where try await controller.disk("a").status.state != .serving {
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(try await controller.disk("a").status.state == .serving)
    }

    @Test("file, row, event and log follow, and a restart serves what was made of it")
    func life() async throws {
        let lines = Lock<[String]>([])
        let logger = Logger.collecting(.notice) { line in lines.withLock { $0.append(line) } }
        try await serveDevices(at: path, logger: logger) { [self] controller, devices in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            let session = try logIn(devices)
            for (type, files) in [
                (1, ["a.img", "a.img.pi"]), (2, ["a.img", "a.img.pi"]), (0, ["a.img"]), (2, ["a.img", "a.img.pi"]),
            ] as [(UInt8, [String])] {
                #expect(try format(session, type) == nil)
                #expect(try isProtected(session) == (type != 0))
                #expect(try names() == files)
                #expect(try await controller.disk("a").spec.protection == Int(type))
            }
            let events = try await controller.events(limit: 1000).filter { $0.verb == "format" }
            #expect(events.count == 4 && events.allSatisfy { $0.kind == "disk" && $0.name == "a" })
            #expect(events.allSatisfy { $0.actor == "iqn.2026-11.test:i" })
            #expect(
                lines.withLock { lines in
                    lines.count { $0.hasPrefix("disk was formatted to other protection information disk=a") }
                } == 4)
            _ = await controller.reconcile()
            #expect(try await controller.disk("a").status.state == .serving)
            // What else changes leaves the type alone.
            var spec = try await controller.disk("a").spec
            (spec.size, spec.isReadOnly) = (2 << 20, true)
            let wanted = spec
            #expect(try await controller.changeDisk("a", to: wanted).spec.protection == 2)
            #expect(try RawDiskImage.protection(ofImage: path + "/disks/a.img")?.blocks == 4096)
        }
        try await serveDevices(at: path) { [self] controller, devices in
            try await waitUntilServed(controller)
            #expect(try isProtected(try logIn(devices)))
            #expect(try await controller.status().unclaimed.isEmpty)
            try await controller.deleteDisk("a")
            #expect(try names() == [])
        }
    }

    @Test("a change of another field that was read before the end of a format operation does not bring the type back")
    func staleSpec() async throws {
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            let record = try controller.plane.diskRecord("a")
            var spec = record.spec
            spec.isReadOnly = true
            let catalog = controller.plane.catalog
            try catalog.setProtection(3, disk: record.identity.id)
            try catalog.changeDisk(named: "a", to: spec)
            let found = try controller.plane.diskRecord("a").spec
            #expect(found.protection == 3 && found.isReadOnly)
            try catalog.setProtection(0, disk: record.identity.id)
            #expect(throws: CatalogError.self) { try catalog.setProtection(1, disk: 4711) }
        }
    }

    @Test("a row that was read before the end of a format operation displaces no file that the operation has removed")
    func staleRow() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            var spec = Disk.Spec.raw(size: 1 << 20)
            spec.protection = 1
            let wanted = spec
            try await controller.createDisk("a", wanted)
            let plane = controller.plane
            let row = try plane.diskRecord("a")
            let disks = DiskReconciliation(plane: plane, ownFiles: { OwnFiles() })
            #expect(disks.observe(row) == .served)
            #expect(try format(try logIn(devices), 0) == nil)
            #expect(try names() == ["a.img"])
            #expect(disks.observe(row) == .served)
        }
    }

    @Test("a catalog that does not keep the type fails the command; the start takes the type that is there")
    func failingCatalog() async throws {
        let raw = Lock<DatabaseQueue?>(nil)
        func execute(_ statement: String) throws {
            try raw.withLock { $0 }?.write { try $0.execute(sql: statement) }
        }
        let trigger = "CREATE TRIGGER refusal BEFORE UPDATE OF spec ON resource BEGIN SELECT RAISE(ABORT, 'no'); END"
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            // The daemon writes its events meanwhile.
            var configuration = GRDB.Configuration()
            configuration.busyMode = .timeout(10)
            let database = try DatabaseQueue(path: path + "/catalog.sqlite", configuration: configuration)
            raw.withLock { $0 = database }
            try execute(trigger)
            let session = try logIn(devices)
            #expect(try format(session, 1) == SenseData(.mediumError, .formatCommandFailed))
            #expect(
                try session.execute(testUnitReady, on: LogicalUnitNumber(0)).sense
                    == SenseData(.mediumError, .mediumFormatCorrupted))
            #expect(try await controller.disk("a").spec.protection == 0)
            #expect(try names() == ["a.img", "a.img.pi"])
        }
        // It still fails: the disk waits.
        try await serveDevices(at: path) { controller, _ in
            var problem: String?
            for _ in 0..<200 where problem == nil {
                problem = try await controller.disk("a").status.problem
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(problem?.contains("the catalog does not keep which protection information") == true)
        }
        try execute("DROP TRIGGER refusal")
        try await serveDevices(at: path) { [self] controller, devices in
            try await waitUntilServed(controller)
            #expect(try await controller.disk("a").spec.protection == 1)
            #expect(try await controller.status().unclaimed.isEmpty)
            let formats = try await controller.events(limit: 1000).filter { $0.verb == "format" }
            #expect(formats.last?.actor == "daemon")
            let session = try logIn(devices)
            #expect(
                try session.execute(testUnitReady, on: LogicalUnitNumber(0)).sense
                    == SenseData(.mediumError, .mediumFormatCorrupted))
            #expect(try format(session, 1) == nil)
            #expect(try session.execute(testUnitReady, on: LogicalUnitNumber(0)).status == .good)
            // The file of a change that the catalog does not know goes with the disk.
            try execute(trigger)
            #expect(try format(session, 0) == SenseData(.mediumError, .formatCommandFailed))
            #expect(try format(session, 2) == SenseData(.mediumError, .formatCommandFailed))
            try execute("DROP TRIGGER refusal")
            try controller.plane.catalog.setProtection(
                0, disk: try controller.plane.diskRecord("a").identity.id)
            try session.logOut()
            try await controller.deleteDisk("a")
            #expect(try names() == [])
        }
    }

    @Test("an image of one's own keeps having no protection information")
    func external() async throws {
        let image = path + ".img"
        defer { try? FileManager.default.removeItem(atPath: image) }
        try Data(count: 1 << 20).write(to: URL(fileURLWithPath: image))
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", Disk.Spec(size: nil, image: image))
            let session = try logIn(devices)
            #expect(
                try format(session, 1)
                    == SenseData(
                        .illegalRequest, .invalidFieldInCDB,
                        fieldPointer: FieldPointer(isInCommand: true, byte: 1, bit: 7)))
            #expect(!FileManager.default.fileExists(atPath: image + ".pi"))
        }
    }
}
