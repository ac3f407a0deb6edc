import Bytes
import Foundation
import ISCSI
import Initiator
import Logging
import ManagementTestSupport
import Platform
import Resources
import SCSI
import Testing

@testable import Management

@Suite("Parameters that initiators set", .serialized)
struct ParameterTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    /// A session with the target of the device `name`, past its unit attentions.
    private func logIn(_ name: String, _ devices: LocalDevices, unit: Int = 0) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first)
        let portal = try #require(SocketAddress(open.name))
        let session = try BlockingInitiator.logIn(
            to: portal, InitiatorSettings(targetName: DeviceName.targetName(name)))
        let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        for _ in 0..<4 { _ = try session.execute(testUnitReady, on: LogicalUnitNumber(unit)) }
        return session
    }

    private func dataIn(_ session: BlockingInitiator, _ command: [UInt8], unit: Int = 0) throws -> [UInt8] {
        try session.execute(
            CommandDescriptorBlock(command), on: LogicalUnitNumber(unit), expectedDataInLength: 255
        ).dataIn
    }

    private func send(
        _ session: BlockingInitiator, _ command: [UInt8], _ list: [UInt8], unit: Int = 0
    ) throws -> SCSIStatus {
        try session.execute(CommandDescriptorBlock(command), on: LogicalUnitNumber(unit), dataOut: list).status
    }

    @Test("saved mode pages and identifying information of a disk and a drive are there after a restart")
    func restart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let information: [UInt8] = [1, 2, 3]
        let setInformation: [UInt8] = [OperationCode.maintenanceOut, 0x06, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0]
        let reportInformation: [UInt8] = [OperationCode.maintenanceIn, 0x05, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]
        // WCE zero, with SP one.
        let caching: [UInt8] = [0, 0, 0, 0, 0x08, 18] + [UInt8](repeating: 0, count: 18)
        let select: [UInt8] = [OperationCode.modeSelect6, 0x11, 0, 0, UInt8(caching.count), 0]
        let sense: [UInt8] = [OperationCode.modeSense6, 0x08, 0x08, 0, 255, 0]
        try await serveDevices(at: path) { controller, devices in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            try await controller.createDisk("b", Disk.Spec(size: 1 << 20))
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
                    cartridges: 1, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            let session = try logIn("a", devices)
            #expect(try dataIn(session, sense).dropFirst(4).prefix(3) == [0x88, 18, 4])
            #expect(try send(session, select, caching) == .good)
            #expect(try send(session, setInformation, information) == .good)
            let library = try logIn("vtl", devices, unit: 1)
            #expect(try send(library, setInformation, information, unit: 1) == .good)
        }
        try await serveDevices(at: path) { _, devices in
            let session = try logIn("a", devices)
            #expect(try dataIn(session, sense).dropFirst(4).prefix(3) == [0x88, 18, 0])
            #expect(try dataIn(session, reportInformation) == [0, 0, 0, 3] + information)
            let other = try logIn("b", devices)
            #expect(try dataIn(other, sense)[6] == 4 && dataIn(other, reportInformation) == [0, 0, 0, 0])
            let library = try logIn("vtl", devices, unit: 1)
            #expect(try dataIn(library, reportInformation, unit: 1) == [0, 0, 0, 3] + information)
        }
    }

    @Test("microcode of a drive is shown, an event and the log tell of it, and it stays where it was saved")
    func microcode() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        func download(_ session: BlockingInitiator, _ mode: UInt8, _ revision: String) throws -> SCSIStatus {
            let bytes = Array(revision.utf8)
            return try send(
                session, [OperationCode.writeBuffer, mode, 0, 0, 0, 0, 0, 0, UInt8(bytes.count), 0], bytes, unit: 1)
        }
        let lines = Lock<[String]>([])
        let logger = Logger.collecting(.notice) { line in lines.withLock { $0.append(line) } }
        try await serveDevices(at: path, logger: logger) { controller, devices in
            let content = try await controller.profile("ibm-ult3580-td8").content
                .replacingOccurrences(of: "\"ibm-ult3580-td8\"", with: "\"mine\"")
                .replacingOccurrences(of: "\"revision\"", with: "\"acceptsMicrocode\": true, \"revision\"")
            _ = try await controller.addProfile(ProfileAddition(file: "a.json", content: content, replaces: false))
            try await controller.createLibrary(
                "vtl", Library.Spec(profile: "ibm-03584l32", drives: 1, driveProfile: "mine", slots: 4))
            let session = try logIn("vtl", devices, unit: 1)
            #expect(try await controller.drives(library: "vtl").map(\.status.revision) == ["N9M1"])
            #expect(try download(session, 0x05, "N9M2") == .good)
            #expect(try download(session, 0x04, "X1  ") == .good)
            #expect(try await controller.drives(library: "vtl").map(\.status.revision) == ["X1"])
            var events: [EventSummary] = []
            for _ in 0..<500 where events.count < 2 {
                events = try await controller.events(kind: "drive")
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(events.map(\.name) == ["vtl/drive:1", "vtl/drive:1"])
            #expect(events.map(\.verb) == ["microcode", "microcode"])
            #expect(Set(events.map(\.new)) == [["revision": "N9M2"], ["revision": "X1"]])
            #expect(events.allSatisfy { $0.actor.hasPrefix("iqn.") })
            let told = lines.withLock { $0 }.filter { $0.hasPrefix("microcode activated") }
            #expect(told.count == 2 && told[1].contains("from=N9M2") && told[1].contains("to=X1"), "\(told)")
        }
        try await serveDevices(at: path) { controller, _ in
            let revisions = try await controller.drives(library: "vtl").map(\.status.revision)
            #expect(revisions == ["N9M2"])
        }
    }
}
