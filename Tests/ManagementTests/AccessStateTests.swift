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

@Suite("Access states of devices", .serialized)
struct AccessStateTests {
    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

    /// A session with the target of the device `name` through the open portal of `group`, past its unit attentions.
    private func logIn(
        _ name: String, group: Int, _ devices: LocalDevices, unit: Int = 0
    ) throws -> BlockingInitiator {
        let open = try #require(devices.portals().first { $0.spec.portalGroup == group })
        let portal = try #require(SocketAddress(open.name))
        var settings = InitiatorSettings(targetName: DeviceName.targetName(name))
        settings.initiatorName = "iqn.2026-11.test:\(group)"
        let session = try BlockingInitiator.logIn(to: portal, settings)
        for _ in 0..<4 { _ = try session.execute(testUnitReady, on: LogicalUnitNumber(unit)) }
        return session
    }

    private func sense(_ session: BlockingInitiator, unit: Int = 0) throws -> AdditionalSenseCode? {
        try session.execute(testUnitReady, on: LogicalUnitNumber(unit)).sense?.additionalSenseCode
    }

    /// ASYMMETRIC ACCESS STATE by group, of logical unit 0.
    private func report(_ session: BlockingInitiator) throws -> [UInt16: UInt8] {
        let command = CommandDescriptorBlock([OperationCode.maintenanceIn, 0x0A, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
        let data = try session.execute(command, on: LogicalUnitNumber(0), expectedDataInLength: 256).dataIn
        return Dictionary(
            uniqueKeysWithValues: stride(from: 4, to: data.count, by: 12).map {
                (data.rawSpan.loadBE16(at: $0 + 2), data[$0] & 0x0F)
            })
    }

    private func set(_ session: BlockingInitiator, _ state: UInt8, group: UInt8) throws -> SCSIStatus {
        let command = CommandDescriptorBlock([OperationCode.maintenanceOut, 0x0A, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0])
        return try session.execute(
            command, on: LogicalUnitNumber(0), dataOut: [0, 0, 0, 0, state, 0, 0, group]
        ).status
    }

    private typealias Arguments = AccessState.SetState.Arguments

    @Test("the groups are those of the portals; what operator and initiators change is there after a restart")
    func restart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            _ = try await controller.addPortal("127.0.0.2:0", Portal.Spec(portalGroup: 2))
            let first = try await controller.accessStates()
            #expect(first.map(\.name) == ["a"])
            #expect(first.first?.status.groups.map(\.line) == ["1 active/optimized", "2 active/optimized"])
            let (one, two) = (try logIn("a", group: 1, devices), try logIn("a", group: 2, devices))
            #expect(try report(one) == [1: 0, 2: 0])
            try await controller.setAccessState("a", Arguments(group: 2, state: .standby, isPreferred: true))
            #expect(try sense(one) == .asymmetricAccessStateChanged && sense(one) == nil)
            #expect(try sense(two) == .asymmetricAccessStateChanged && sense(two) == .targetPortInStandbyState)
            #expect(try set(two, 1, group: 1) == .good)
            #expect(try sense(one) == .asymmetricAccessStateChanged && report(one) == [1: 1, 2: 2])
            let events = try await controller.events()
            #expect(events.contains { $0.kind == "accessState" && $0.verb == "set" && $0.name == "a" })
        }
        try await serveDevices(at: path) { controller, devices in
            let groups = try await controller.accessState("a").status.groups
            #expect(groups.map(\.line) == ["1 active/non-optimized", "2 standby, preferred"])
            #expect(groups.map(\.changedBy) == [.explicit, .implicit] && groups.allSatisfy(\.isOpen))
            #expect(try sense(try logIn("a", group: 2, devices)) == .targetPortInStandbyState)
            let portal = try #require(devices.portals().first { $0.spec.portalGroup == 2 })
            // The session ends with its last reference, unless this ends it before.
            let sessions = Session.Close.Arguments(initiator: "iqn.2026-11.test:2", seconds: 1)
            do {
                try await controller.closeSessions(nil, sessions)
            } catch let error as ManagementError where error.code == .notFound {
            }
            while devices.sessions().contains(where: { $0.status.portalGroup == 2 }) {
                try await Task.sleep(for: .milliseconds(5))
            }
            try await controller.removePortal(portal.name)
            // Kept, but told to no initiator.
            #expect(try await controller.accessState("a").status.groups.map(\.isOpen) == [true, false])
            #expect(try report(try logIn("a", group: 1, devices)) == [1: 1])
        }
    }

    @Test("what cannot be is refused in one sentence, and changes nothing")
    func refusals() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            let driver = AccessStateDriver(controller)
            for (arguments, code) in [
                ([:], .invalid), (["group": 1], .invalid), (["group": 0, "state": "standby"], .invalid),
                (["group": 1, "state": "transitioning"], .invalid),
                (["group": 1, "state": "standby", "transition": 256], .invalid),
                (["group": 1, "state": "standby", "force": true], .invalid),
                (["group": 9, "state": "standby"], .notFound),
            ] as [([String: JSONValue], ManagementError.Code)] {
                let refusal = await #expect(throws: ManagementError.self) {
                    try await driver.perform("set", on: "a", arguments)
                }
                #expect(refusal?.code == code, "\(arguments)")
            }
            let refusal = await #expect(throws: ManagementError.self) {
                try await driver.perform("set", on: "nothing", ["group": 1, "state": "standby"])
            }
            #expect(refusal?.code == .notFound)
            #expect(try await controller.accessState("a").status.groups.map(\.line) == ["1 active/optimized"])
            // While a transition lasts, there is no other change.
            let answer = try await driver.perform("set", on: "a", ["group": 1, "state": "standby", "transition": 255])
            #expect(answer == ["done": "in portal group 1, 'a' is standby in 255 s"])
            #expect(try await controller.accessState("a").status.groups.first?.isTransitioning == true)
            let busy = await #expect(throws: ManagementError.self) {
                try await controller.setAccessState("a", Arguments(group: 1, state: .offline))
            }
            #expect(busy?.code == .conflict)
        }
        // The transition has ended with the daemon.
        try await serveDevices(at: path) { controller, _ in
            let groups = try await controller.accessState("a").status.groups
            #expect(groups.map(\.line) == ["1 standby"])
        }
    }

    @Test("drives and changers have access states too, and they go with their device")
    func library() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4, mailSlots: 1,
                    cartridges: 1, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            let session = try logIn("vtl", group: 1, devices, unit: 1)
            try await controller.setAccessState("vtl/drive:1", Arguments(group: 1, state: .unavailable))
            try await controller.setAccessState("vtl", Arguments(group: 1, state: .standby))
            #expect(try sense(session, unit: 1) == .asymmetricAccessStateChanged)
            #expect(try sense(session, unit: 1) == .targetPortInUnavailableState)
            for _ in 0..<2 { _ = try sense(session) }
            #expect(try sense(session) == .targetPortInStandbyState)
            let states = try await controller.accessStates()
            #expect(states.map(\.name) == ["vtl", "vtl/drive:1"])
            #expect(states.map { $0.status.groups.map(\.line) } == [["1 standby"], ["1 unavailable"]])
        }
        try await serveDevices(at: path) { controller, _ in
            #expect(
                try await controller.accessState("vtl/drive:1").status.groups.map(\.line) == ["1 unavailable"])
            try await controller.deleteLibrary("vtl")
            #expect(try await controller.accessStates().isEmpty)
        }
    }

    @Test("a device that is not served has its states, and they can be changed")
    func unserved() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            try await controller.setAccessState("a", Arguments(group: 1, state: .standby, transition: 0))
        }
        let image = path + "/disks/a.img"
        try FileManager.default.moveItem(atPath: image, toPath: image + ".away")
        try await serveDevices(at: path) { controller, devices in
            #expect(devices.accessStates(ofUnit: nil).isEmpty)
            #expect(try await controller.accessState("a").status.groups.map(\.line) == ["1 standby"])
            let changed = try await controller.setAccessState(
                "a", Arguments(group: 1, state: .activeNonOptimized, isPreferred: true))
            #expect(changed.line == "1 active/non-optimized, preferred" && changed.changedBy == .implicit)
        }
        try FileManager.default.moveItem(atPath: image + ".away", toPath: image)
        try await serveDevices(at: path) { controller, devices in
            #expect(devices.accessStates(ofUnit: nil).values.map { $0.map(\.state) } == [[.activeNonOptimized]])
        }
    }

    @Test("a state that cannot be read is taken for unavailable")
    func unreadable() {
        let kept = KeptAccessState(
            group: 3, state: nil, isPreferred: true, transitionTime: 5, cause: 7, time: Date(timeIntervalSince1970: 0))
        let wanted = AccessStateRecord(group: 3, state: .unavailable, isPreferred: true, transitionTime: 5)
        #expect(AccessStateRecord(kept) == wanted)
        for state in AsymmetricAccessState.allCases {
            for cause in AccessStateCause.allCases {
                let record = AccessStateRecord(group: 3, state: state, transitionTime: 255, cause: cause)
                #expect(AccessStateRecord(KeptAccessState(record, time: Date())) == record)
                var shown = AccessState.Group(record, isTransitioning: false).record
                shown.cause = cause
                #expect(shown == record)
            }
        }
    }
}
