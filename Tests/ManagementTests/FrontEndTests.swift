import Catalog
import Foundation
import ISCSI
import ISCSIPort
import Initiator
import ManagementTestSupport
import Platform
import Resources
import SCSI
import TargetCore
import Testing

@testable import Management

@Suite("The front end of real devices", .serialized)
struct FrontEndTests {
    let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    /// Runs `body` with a controller that serves two disks and two libraries on a free port, and stops it.
    func serving(_ body: (Controller, LocalDevices) async throws -> Void) async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, devices in
            for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 1 << 20)) }
            for name in ["x", "y"] {
                try await controller.createLibrary(
                    name,
                    Library.Spec(
                        profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 2,
                        mailSlots: 0))
            }
            try await body(controller, devices)
        }
    }

    func request(_ name: String, from address: String = "192.0.2.1:5000") throws -> AccessRequest {
        AccessRequest(
            initiatorName: name, peerAddress: try #require(SocketAddress(address)),
            localAddress: try #require(SocketAddress("127.0.0.1:3260")), portalGroupTag: 1)
    }

    /// The numbers that the initiator would see; nil when it does not get in.
    func numbers(_ devices: LocalDevices, _ target: String, for request: AccessRequest) throws -> [Int]? {
        let target = try #require(devices.targets[DeviceName.targetName(target)])
        guard case .granted(_, let map) = devices.access.access(request, to: target) else { return nil }
        return (map ?? target.logicalUnits).all.keys.sorted()
    }

    @Test("maps follow the catalog, unit by unit")
    func maps() async throws {
        try await serving { controller, devices in
            let anyone = try request("iqn.2026-11.test:z")
            let member = try request("iqn.2026-11.test:m")
            _ = try await controller.createTarget("t")
            #expect(try numbers(devices, "t", for: anyone) == [])
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(units: [2: "a", 9: "b"]))
            #expect(try numbers(devices, "t", for: anyone) == [2, 9])
            let target = try #require(devices.targets[DeviceName.targetName("t")])
            #expect(target.logicalUnits[9] === devices.targets[DeviceName.targetName("b")]?.logicalUnits[0])
            _ = try await controller.createInitiatorGroup(
                "g", InitiatorGroup.Spec(names: ["iqn.2026-11.test:m"]))
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(group: "g", units: [0: "b"]))
            #expect(try numbers(devices, "t", for: anyone) == nil)
            #expect(!devices.access.isVisible(target, to: anyone))
            #expect(devices.access.isVisible(target, to: member))
            #expect(try numbers(devices, "t", for: member) == [0])
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(group: "g", units: [1: "a"]))
            #expect(try numbers(devices, "t", for: member) == [0, 1])
            _ = try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(group: "g", units: [0]))
            #expect(try numbers(devices, "t", for: member) == [1])
            try await controller.deleteDisk("a")
            #expect(try numbers(devices, "t", for: member) == [])
            #expect(target.logicalUnits.all.keys.sorted() == [9])
            _ = try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(group: "g"))
            #expect(try numbers(devices, "t", for: anyone) == nil)
            #expect(!devices.access.isVisible(target, to: anyone))
            // What nobody can use is not registered with iSNS servers.
            #expect(!devices.access.isUsable(target))
            _ = try await controller.setAccess(
                ofTarget: "t", to: .loopback, mayWiden: true)
            #expect(try numbers(devices, "t", for: anyone) == [9])
            #expect(devices.access.isUsable(target))
            try await controller.deleteTarget("t")
            #expect(devices.targets[DeviceName.targetName("t")] == nil)
        }
    }

    @Test("a new target lets in through loopback addresses only, whatever portal that is, until it is opened")
    func accessLevels() async throws {
        try await serving { controller, devices in
            func request(through local: String) throws -> AccessRequest {
                AccessRequest(
                    initiatorName: "iqn.2026-11.test:z", peerAddress: try #require(SocketAddress("192.0.2.1:5000")),
                    localAddress: try #require(SocketAddress(local)), portalGroupTag: 1)
            }
            let inside = ["127.0.0.1:3260", "127.255.0.9:1", "[::1]:3260", "[::ffff:127.0.0.1]:3260"]
            let outside = ["192.0.2.7:3260", "[2001:db8::1]:3260", "[::ffff:192.0.2.7]:3260", "[::2]:3260", "/socket"]
            for target in ["a", "x"] {
                for local in inside { #expect(try numbers(devices, target, for: request(through: local)) != nil) }
                for local in outside { #expect(try numbers(devices, target, for: request(through: local)) == nil) }
            }
            _ = try await controller.setAccess(ofTarget: "a", to: .open, mayWiden: true)
            for local in inside + outside {
                #expect(try numbers(devices, "a", for: request(through: local)) == [0])
            }
            _ = try await controller.setAccess(ofTarget: "a", to: .closed)
            for local in inside + outside {
                #expect(try numbers(devices, "a", for: request(through: local)) == nil)
            }
            // The next of its name does not inherit anything.
            _ = try await controller.setAccess(ofTarget: "a", to: .open, mayWiden: true)
            try await controller.deleteDisk("a")
            try await controller.createDisk("a", Disk.Spec(size: 1 << 20))
            #expect(try numbers(devices, "a", for: request(through: outside[0])) == nil)
            #expect(try numbers(devices, "a", for: request(through: inside[0])) == [0])
        }
    }

    @Test("the first group that matches decides; addresses count too")
    func ranks() async throws {
        try await serving { controller, devices in
            for (name, names, addresses, rank) in [
                ("near", ["*"], ["10.0.0.0/8"], 20), ("all", ["*"], [], 30), ("one", ["iqn.2026-11.test:1"], [], 10),
            ] {
                _ = try await controller.createInitiatorGroup(
                    name, InitiatorGroup.Spec(names: names, addresses: addresses, rank: rank))
            }
            _ = try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "near", units: [1: "b"]))
            let near = try request("iqn.2026-11.test:2", from: "10.1.2.3:1")
            let far = try request("iqn.2026-11.test:2", from: "[fd00::1]:1")
            let one = try request("iqn.2026-11.test:1", from: "10.1.2.3:1")
            #expect(try numbers(devices, "a", for: near) == [1])
            #expect(try numbers(devices, "a", for: far) == nil)
            #expect(try numbers(devices, "a", for: one) == [1])
            _ = try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "all"))
            _ = try await controller.map(target: "a", ISCSITarget.Map.Arguments(group: "one", units: [7: "b"]))
            #expect(try numbers(devices, "a", for: near) == [1])
            #expect(try numbers(devices, "a", for: far) == [0])
            #expect(try numbers(devices, "a", for: one) == [7])
            var spec = try await controller.initiatorGroup("one").spec
            spec.rank = 40
            _ = try await controller.changeInitiatorGroup("one", to: spec)
            #expect(try numbers(devices, "a", for: one) == [1])
        }
    }

    @Test("sessions of a target run where its library does; redirection and CHAP are asked for")
    func homes() async throws {
        try await serving { controller, devices in
            let home = try #require(devices.targets[DeviceName.targetName("y")]?.homeReactor)
            _ = try await controller.createTarget("t")
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(units: [0: "a"]))
            #expect(devices.targets[DeviceName.targetName("t")]?.homeReactor == nil)
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(units: [5: "y/drive:1"]))
            let target = try #require(devices.targets[DeviceName.targetName("t")])
            #expect(target.homeReactor === home)
            #expect(target.logicalUnits.all.keys.sorted() == [0, 5])
            let anyone = try request("iqn.2026-11.test:z")
            // A drive of another library lives elsewhere, if there is another reactor.
            let elsewhere = try #require(devices.targets[DeviceName.targetName("x")]?.homeReactor)
            _ = try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(units: [5]))
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(units: [6: "x/drive:1"]))
            let moved = try #require(devices.targets[DeviceName.targetName("t")])
            #expect(devices.reactors.count == 1 || elsewhere !== home)
            #expect(moved.homeReactor === elsewhere)
            #expect(moved.logicalUnits.all.keys.sorted() == [0, 6])
            let secret = Secret(Array("swordfish-swordfish".utf8))
            _ = try await controller.createCredential("target:t/u", Credential.Spec(secret: secret))
            _ = try await controller.allow(
                Credential.Allow.Arguments(place: "target:t", algorithms: ["sha3-256", "sha-256"]))
            guard case .granted(.chap(let initiators, _, let provider), nil) = devices.access.access(anyone, to: moved)
            else { throw ManagementError(.internal, "no CHAP is asked for") }
            #expect(initiators.map(\.name) == ["u"])
            #expect(Set(provider.algorithms) == [.sha256, .sha3256])
            var spec = try await controller.target("t").spec
            (spec.redirection, spec.isPermanent) = ("192.0.2.9:3260", true)
            _ = try await controller.changeTarget("t", to: spec)
            guard case .moved("192.0.2.9:3260", permanently: true) = devices.access.access(anyone, to: moved)
            else { throw ManagementError(.internal, "it is not redirected") }
        }
    }
    @Test("a session that began before its target was replaced by one with a home ends, and begins again there")
    func replacedTarget() async throws {
        try await serving { controller, devices in
            let name = DeviceName.targetName("t")
            _ = try await controller.createTarget("t")
            _ = try await controller.map(target: "t", ISCSITarget.Map.Arguments(units: [0: "a"]))
            let open = try #require(devices.portals().first)
            let portal = try #require(SocketAddress(open.name))
            let initiator = try BlockingInitiator.logIn(to: portal, InitiatorSettings(targetName: name))
            func key(_ target: String, _ number: Int) throws -> Int64 {
                let unit = devices.targets[DeviceName.targetName(target)]?.logicalUnits[number]
                return try #require(devices.units.withLock { $0.first { $0.value === unit }?.key })
            }
            // The control plane refuses this while it sees the session.
            let units = [0: try key("a", 0), 5: try key("y", 1)]
            devices.configure(
                FrontEndPlan(targets: [
                    TargetPlan(
                        name: name, alias: "t", belongsToDevice: false, logicalUnits: units, accessLevel: .loopback,
                        groups: [])
                ]))
            try initiator.connection.waitUntilClosed()
            let home = try #require(devices.targets[DeviceName.targetName("y")]?.homeReactor)
            let second = try BlockingInitiator.logIn(to: portal, InitiatorSettings(targetName: name))
            let sessions = devices.server.sessions().filter {
                $0.initiatorSessionID == second.settings.initiatorSessionID
            }
            #expect(sessions.map(\.reactor) == [home.index])
            #expect(try second.execute(testUnitReady, on: LogicalUnitNumber(5)).sense?.key == .unitAttention)
        }
    }

    private let testUnitReady = CommandDescriptorBlock([OperationCode.testUnitReady, 0, 0, 0, 0, 0])

    @Test("what is served again is closed until what was set for it is in force", arguments: ["a", "x"])
    func servedAgain(name: String) async throws {
        try await serving { controller, devices in
            let local = AccessRequest(
                initiatorName: "iqn.2026-11.test:z", peerAddress: try #require(SocketAddress("127.0.0.1:5000")),
                localAddress: try #require(SocketAddress("127.0.0.1:3260")), portalGroupTag: 1)
            func access() throws -> TargetAccess {
                devices.access.access(local, to: try #require(devices.targets[DeviceName.targetName(name)]))
            }
            // A new one is reached at once, and asks for nothing.
            guard case .granted(.none, nil) = try access() else { throw ManagementError(.internal, "it is closed") }
            let secret = Secret(Array("swordfish-swordfish".utf8))
            _ = try await controller.createCredential("target:\(name)/u", Credential.Spec(secret: secret))
            let plan = try controller.plane.frontEndPlan()
            let (plane, target) = (controller.plane, DeviceName.targetName(name))
            let units: [Int64]
            if name == "a" {
                let disk = try plane.diskRecord(name)
                units = [disk.identity.id]
                devices.stopDisk(disk, targetName: target)
                devices.configure(plan)
                _ = try devices.startDisk(disk, imagePath: path + "/disks/a.img", userKey: nil, targetName: target)
            } else {
                let library = try plane.libraryRecord(name)
                units = library.unitKeys
                devices.stopLibrary(library, targetName: target)
                devices.configure(plan)
                try devices.startLibrary(
                    library, cartridges: [], cartridgeFolder: path + "/libraries/x", targetName: target)
            }
            guard case .refused = try access() else { throw ManagementError(.internal, "it is open") }
            plane.admit(name, units: units)
            guard case .granted(.chap, nil) = try access() else { throw ManagementError(.internal, "no proof") }
        }
    }

    @Test("devices that are made beside changes of access keep their units and their rules")
    func creationBesideChanges() async throws {
        try await serving { controller, devices in
            try await controller.createInitiatorGroup("g", InitiatorGroup.Spec())
            let changes = Task {
                for number in 0..<100 {
                    _ = try? await controller.extendInitiatorGroup(
                        "g", InitiatorGroup.Add.Arguments(names: ["iqn.2004-10.com.example:\(number)"]))
                    await Task.yield()
                }
            }
            for number in 0..<40 { try await controller.createDisk("n\(number)", Disk.Spec(size: 4096)) }
            await changes.value
            for number in 0..<40 {
                let target = try #require(devices.targets[DeviceName.targetName("n\(number)")])
                #expect(target.logicalUnits[0] != nil, "n\(number)")
                let request = AccessRequest(
                    initiatorName: "iqn.2004-10.com.example:x", peerAddress: try #require(SocketAddress("127.0.0.1:1")),
                    localAddress: try #require(SocketAddress("127.0.0.1:3260")), portalGroupTag: 1)
                guard case .granted = devices.access.access(request, to: target) else {
                    Issue.record("n\(number) is closed")
                    continue
                }
            }
        }
    }
}
