import Bytes
import Foundation
import ISCSI
import Initiator
import Logging
import ManagementTestSupport
import Media
import Platform
import Resources
import SCSI
import Testing

@testable import DiskDevice
@testable import Management

@Suite("Operations on all blocks of disks, as operators see them", .serialized)
final class DiskOperationTests {
    // Extended attributes are needed, which a file system in memory may not have.
    private let path = "/var/tmp/carousel-\(UUID().uuidString.prefix(8))"
    private let unit = LogicalUnitNumber(0)
    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func logIn(_ devices: LocalDevices) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first)
        let portal = try #require(SocketAddress(open.name))
        var settings = InitiatorSettings(targetName: DeviceName.targetName("a"))
        settings.initiatorName = "iqn.2026-11.test:i"
        let session = try BlockingInitiator.logIn(to: portal, settings)
        for _ in 0..<8 {
            let result = try session.execute(testUnitReady, on: unit)
            if result.sense?.key != .unitAttention { break }
        }
        return session
    }

    private func sanitize(_ action: UInt8) -> CommandDescriptorBlock {
        CommandDescriptorBlock([OperationCode.sanitize, action, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// The events of the disk that are of such operations, when there are so many of them.
    private func events(_ controller: Controller, _ count: Int) async throws -> [EventSummary] {
        var found: [EventSummary] = []
        for _ in 0..<200 {
            found = try await controller.events(limit: 1000).filter { !["create", "change"].contains($0.verb) }
            if found.count >= count { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        return found
    }

    @Test("SANITIZE and FORMAT UNIT leave events, with who has asked, and what FORMAT UNIT has changed")
    func life() async throws {
        try await serveDevices(at: path) { [self] controller, devices in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            let session = try logIn(devices)
            #expect(try session.execute(sanitize(0x02), on: unit).status == .good)
            let plain = CommandDescriptorBlock([OperationCode.formatUnit, 0, 0, 0, 0, 0])
            #expect(try session.execute(plain, on: unit).status == .good)
            let protected = CommandDescriptorBlock([OperationCode.formatUnit, 0x80, 0, 0, 0, 0])
            #expect(try session.execute(protected, on: unit).status == .good)
            let found = try await events(controller, 6)
            let verbs = ["begin-sanitize", "sanitize", "begin-format", "format", "begin-format", "format"]
            #expect(found.map(\.verb).sorted() == verbs.sorted())
            #expect(found.allSatisfy { $0.kind == "disk" && $0.name == "a" && $0.actor == "iqn.2026-11.test:i" })
            #expect(found.prefix(2).map(\.verb) == ["begin-sanitize", "sanitize"])
            #expect(found.prefix(2).allSatisfy { $0.new == ["method": "block-erase"] })
            let change = try #require(found.first { $0.old != nil })
            #expect(change.verb == "format" && change.old == ["protection": 0] && change.new == ["protection": 1])
            let disk = try await controller.disk("a")
            #expect(disk.status.operation == nil && disk.status.problem == nil)
        }
    }

    @Test("a failure of SANITIZE is a problem of the disk, over restarts, until an initiator has ended it")
    func failure() async throws {
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        }
        var operation = MediumOperation(.overwrite)
        (operation.pattern, operation.hasFailed, operation.allowsUnrestrictedExit) = ([1], true, true)
        let file = try File.open(path: path + "/disks/a.img", .readWrite)
        #expect(file.setNote(.operation, operation.encoded) == 0)
        for isLast in [false, true] {
            try await serveDevices(at: path) { [self] controller, devices in
                let disk = try await controller.disk("a")
                #expect(disk.status.operation?.method == .overwrite && disk.status.operation?.state == .failed)
                #expect(disk.status.operation?.percent == nil)
                #expect(disk.status.problem?.contains("SANITIZE (overwrite) has failed") == true)
                #expect(disk.status.state == .serving)
                let problems = try await controller.status().problems
                #expect(problems == [try #require(disk.status.problem)])
                guard isLast else { return }
                let session = try logIn(devices)
                #expect(try session.execute(sanitize(0x1F), on: unit).status == .good)
                let mended = try await controller.disk("a")
                #expect(mended.status.operation == nil && mended.status.problem == nil)
                #expect(try await controller.status().problems.isEmpty)
                #expect(try await events(controller, 1).map(\.verb) == ["exit-failure-mode"])
            }
        }
    }

    @Test("a failure leaves an event with the reason, and a flood of operations fills neither queue nor log")
    func flood() async throws {
        let lines = Lock(0)
        let logger = Logger.collecting(.notice) { line in
            if line.contains("an operation on all blocks") { lines.withLock { $0 += 1 } }
        }
        try await serveDevices(at: path, logger: logger) { [self] controller, _ in
            try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
            let catalog = controller.plane.catalog
            let operations = CatalogOperations(catalog, disk: 1, name: "a", logger: logger)
            operations.note(
                DiskOperationNotice(
                    method: .cryptographicErase, change: .failed(.hostFull),
                    initiatorPort: "iqn.2026-11.test:i,i,0x1"))
            let event = try #require(try await events(controller, 1).first)
            #expect(event.verb == "fail-sanitize" && event.actor == "iqn.2026-11.test:i")
            #expect(
                event.new == ["method": "cryptographic-erase", "reason": .text("\(MediaFailure.hostFull)")])
            for _ in 0..<10_000 {
                operations.note(DiskOperationNotice(method: .blockErase, change: .begun, initiatorPort: nil))
            }
            #expect(lines.withLock { $0 } <= 2 * NoticePace.lineLimit)
            _ = try await events(controller, 2)
        }
    }
}
