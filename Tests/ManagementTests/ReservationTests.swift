import Bytes
import Catalog
import Foundation
import ISCSI
import Initiator
import ManagementTestSupport
import Platform
import Resources
import SCSI
import TargetCore
import Testing

@testable import Management

@Suite("Reservations of devices", .serialized)
struct ReservationTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    /// A session with the target of the device `name`, past its unit attentions.
    private func logIn(
        _ initiator: String, _ name: String, _ devices: LocalDevices, unit: Int = 0
    ) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first)
        let portal = try #require(SocketAddress(open.name))
        var settings = InitiatorSettings(targetName: DeviceName.targetName(name))
        settings.initiatorName = "iqn.2026-11.test:\(initiator)"
        settings.initiatorSessionID = InitiatorSessionID(rawValue: 0x8000_0000_0001)
        let session = try BlockingInitiator.logIn(to: portal, settings)
        let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        for _ in 0..<4 { _ = try session.execute(testUnitReady, on: LogicalUnitNumber(unit)) }
        return session
    }

    @discardableResult
    private func reserveOut(
        _ session: BlockingInitiator, _ action: UInt8, _ type: UInt8 = 0, key: UInt64 = 0, newKey: UInt64 = 0,
        persists: Bool = false, unit: Int = 0
    ) throws -> SCSIStatus {
        var list: [UInt8] = []
        list.appendBE64(key)
        list.appendBE64(newKey)
        list += [0, 0, 0, 0, persists ? 1 : 0, 0, 0, 0]
        let command = CommandDescriptorBlock(
            [OperationCode.persistentReserveOut, action, type, 0, 0, 0, 0, 0, UInt8(list.count), 0])
        return try session.execute(command, on: LogicalUnitNumber(unit), dataOut: list).status
    }

    private func writes(_ session: BlockingInitiator) throws -> Bool {
        let command = CommandDescriptorBlock([OperationCode.write10, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        return try session.execute(command, on: LogicalUnitNumber(0), dataOut: [UInt8](repeating: 7, count: 512))
            .status == .good
    }

    @Test("what was to survive is there after a restart, keeps others away, and is cleared; the rest is gone")
    func restart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 1 << 20)) }
            #expect(try await controller.reservations().isEmpty)
            for name in ["a", "b"] {
                let session = try logIn("one", name, devices)
                #expect(try reserveOut(session, 0, newKey: 0xA1, persists: name == "a") == .good)
                #expect(try reserveOut(session, 1, 5, key: 0xA1) == .good)
                #expect(try !writes(try logIn("two", name, devices)))
            }
            #expect(try await controller.reservations().map(\.name) == ["a", "b"])
        }
        try await serveDevices(at: path) { controller, devices in
            let found = try await controller.reservations()
            #expect(found.map(\.name) == ["a"])
            let status = try #require(found.first?.status)
            #expect(status.type == "Write Exclusive - Registrants Only" && status.persists)
            #expect(status.holder == "iqn.2026-11.test:one,i,0x800000000001" && status.since != nil)
            #expect(status.registrations.map(\.key) == ["00000000000000a1"])
            let (one, two) = (try logIn("one", "a", devices), try logIn("two", "a", devices))
            #expect(try writes(one) && !writes(two))
            #expect(try writes(try logIn("two", "b", devices)))
            let refusal = await #expect(throws: ManagementError.self) {
                try await ReservationDriver(controller).perform("clear", on: "a", ["force": true])
            }
            #expect(refusal?.code == .invalid)
            try await controller.clearReservation("a")
            #expect(try await controller.reservation("a").status == Reservation.Status())
            #expect(try writes(two))
            // Who had it is told.
            #expect(try !writes(one) && writes(one))
            let events = try await controller.events()
            #expect(events.contains { $0.kind == "reservation" && $0.verb == "clear" && $0.name == "a" })
        }
    }

    @Test("numbers that there are not are told as that", arguments: [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
    func impossibleNumbers(next: Int64, holder: Int64, number: Int64) {
        let time = Date(timeIntervalSince1970: 0)
        let record = ReservationRecord(
            persists: true, generation: 0, nextNumber: next,
            reservation: ReservationRecord.Reservation(type: 1, holder: holder, time: time),
            registrations: [
                ReservationRecord.Registration(
                    number: number, transportID: [0, 0, 0, 0], target: "t", targetPort: 1, key: 1, isUnused: false,
                    time: time)
            ])
        #expect(PersistentReservationRecord(record) == nil)
    }

    @Test("drives and changers have reservations too, RESERVE is shown, and they go with their device")
    func library() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
                    cartridges: 1, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            let session = try logIn("one", "vtl", devices, unit: 1)
            #expect(try reserveOut(session, 0, newKey: 7, persists: true, unit: 1) == .good)
            let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
            _ = try session.execute(testUnitReady, on: LogicalUnitNumber(0))
            let reserve = CommandDescriptorBlock([OperationCode.reserve6, 0, 0, 0, 0, 0])
            #expect(try session.execute(reserve, on: LogicalUnitNumber(0)).status == .good)
            let found = try await controller.reservations()
            #expect(found.map(\.name) == ["vtl", "vtl/drive:1"])
            #expect(found.first?.status.type == "RESERVE")
            #expect(found.first?.status.holder?.hasPrefix("iqn.2026-11.test:one") == true)
            #expect(found.last?.status.registrations.count == 1 && found.last?.status.type == nil)
            try await controller.clearReservation("vtl")
            #expect(try await controller.reservations().map(\.name) == ["vtl/drive:1"])
            let refusal = await #expect(throws: ManagementError.self) { try await controller.reservation("nothing") }
            #expect(refusal?.code == .notFound)
        }
        try await serveDevices(at: path) { controller, _ in
            #expect(try await controller.reservations().map(\.name) == ["vtl/drive:1"])
            try await controller.deleteLibrary("vtl")
            #expect(try await controller.reservations().isEmpty)
        }
    }
}
