import Foundation
import ISCSI
import ISCSIPort
import ManagementTestSupport
import Platform
import Resources
import TargetCore
import TestSupport
import Testing

@testable import Management

/// What somebody may do.
struct Permission: Hashable, CustomStringConvertible {
    let initiator: String
    let address: String
    let local: String
    let portalGroup: UInt16
    let target: String
    let unit: Int64
    /// Whether it need not prove who it is.
    let isWithoutProof: Bool

    var description: String {
        "\(initiator) from \(address) through \(local),\(portalGroup): unit \(unit) of \(target)"
            + (isWithoutProof ? " without proof" : "")
    }
}

/// All that a plan permits in a small world, by the code that decides at logins.
struct World {
    static let initiators = ["iqn.2026-11.test:a", "iqn.2026-11.test:b", "iqn.2026-11.other:a"]
    static let addresses = ["127.0.0.1", "10.0.0.1", "10.1.0.1", "2001:db8::1"]
    static let locals = ["127.0.0.1", "192.0.2.1"]
    static let names = ["*", "iqn.2026-11.test:*", "iqn.2026-11.test:a", "*:a", "iqn.2026-11.other:a"]
    static let ranges = ["127.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.1/32", "2001:db8::/32"]
    static let portals = ["127.0.0.1:3260", "192.0.2.1:3260", "0.0.0.0:3261"]

    /// What `plan` permits through `portals`; redirection has no say in it.
    static func permissions(_ plan: FrontEndPlan, _ portals: [Resource<Portal>]) -> Set<Permission> {
        var units: [ObjectIdentifier: [Int64]] = [:]
        var maps: [LogicalUnitMap] = []
        let rules = AccessTable.Rules(plan) { _, group in
            let map = LogicalUnitMap()
            maps.append(map)
            units[ObjectIdentifier(map)] = Array((group.logicalUnits ?? [:]).values)
            return map
        }
        let requests = portals.flatMap { portal in
            locals.filter { portal.name.hasPrefix("0.0.0.0:") || portal.name.hasPrefix("\($0):") }.flatMap {
                local in
                initiators.flatMap { initiator in
                    addresses.compactMap { address in
                        let peer = address.contains(":") ? "[\(address)]:5000" : "\(address):5000"
                        return SocketAddress(peer).map {
                            AccessRequest(
                                initiatorName: initiator, peerAddress: $0,
                                localAddress: SocketAddress("\(local):3260") ?? $0,
                                portalGroupTag: UInt16(portal.spec.portalGroup))
                        }
                    }
                }
            }
        }
        var permissions: Set<Permission> = []
        for target in plan.targets {
            guard let rule = rules.targets[target.name] else { continue }
            for request in requests where rule.portalGroupTags?.contains(request.portalGroupTag) ?? true {
                guard let grant = rule.grant(request) else { continue }
                let seen =
                    grant.logicalUnits.map { units[ObjectIdentifier($0)] ?? [] } ?? Array(target.logicalUnits.values)
                let proofs: [Bool] =
                    switch grant.authentication {
                    case .none: [true, false]
                    case .chap(let initiators, _, _): initiators.isEmpty ? [] : [false]
                    }
                for unit in seen {
                    for isWithoutProof in proofs {
                        permissions.insert(
                            Permission(
                                initiator: request.initiatorName, address: request.peerAddress.host,
                                local: request.localAddress.host, portalGroup: request.portalGroupTag,
                                target: target.name, unit: unit, isWithoutProof: isWithoutProof))
                    }
                }
            }
        }
        return permissions
    }
}

/// Random changes of who may see what, and what they do to the permissions.
private final class Walk {
    /// Whether a change may add permissions.
    enum Kind {
        case grants
        /// It takes away, forgets or clears.
        case removes
        /// It says nothing about who may see what.
        case neutral
    }

    /// Its folder goes with it.
    private let fixture: ControllerFixture
    var path: String { fixture.path }
    var (controller, devices): (Controller, FakeDevices)
    var random: SeededRandom
    var counts: [String: Int] = [:]
    /// What the last change was, in words.
    var last = ""

    init(_ fixture: ControllerFixture, seed: UInt64) {
        self.fixture = fixture
        (controller, devices) = (fixture.controller, fixture.devices)
        random = SeededRandom(seed: seed)
    }

    func pick<Value>(_ values: [Value]) -> Value? { values.randomElement(using: &random) }
    func some(_ values: [String]) -> [String] { values.filter { _ in Int.random(in: 0..<4, using: &random) == 0 } }
    func chance(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &random) == 0 }

    /// What is permitted now. What is in force says the same, but of targets that are new since.
    func permissions() async throws -> Set<Permission> {
        let portals = devices.portals()
        let all = World.permissions(try controller.plane.frontEndPlan(), portals)
        if let plan = devices.plan {
            let inForce = World.permissions(plan, portals)
            let names = Set(plan.targets.map(\.name))
            let stale = inForce.symmetricDifference(all.filter { names.contains($0.target) })
                .filter { permission in all.contains { $0.target == permission.target } }
            #expect(stale.isEmpty, "\(last): what is in force is not what is stored: \(stale.prefix(1))")
        }
        return all
    }

    func restart(losingSecrets: Bool) async throws {
        // Another portal that is asked for would be added.
        let known = try pick(devices.portals().map(\.name)).map { try PortalAddress.parse($0) }
        await controller.shutDown()
        controller.folder.release()
        if losingSecrets { try? FileManager.default.removeItem(atPath: path + "/chap.json") }
        (controller, devices) = try ControllerFixture.make(path)
        try await controller.start(portals: chance(2) ? known.map { [$0] } ?? [] : [])
    }

    /// Makes one change, which may be refused, and says of what kind it is.
    func change() async throws -> Kind {
        let groups = try await controller.initiatorGroups().map(\.name)
        let targets = try await controller.targets()
        let group = pick(groups) ?? "none"
        let target = pick(targets)
        let name = target?.name ?? "none"
        let place = pick(["target:\(DeviceName.alias(ofTarget: name))", "group:\(group)"])!
        let disk = pick(["a", "b", "c"])!
        let kinds: [(String, Kind, () async throws -> Void)] = [
            (
                "map \(name) \(group)", .grants,
                { [self] in
                    let units = chance(2) ? [Int.random(in: 0..<4, using: &random): disk] : [:]
                    _ = try await controller.map(
                        target: name, ISCSITarget.Map.Arguments(group: group, units: units, allUnits: chance(4))
                    )
                }
            ),
            (
                "map \(name)", .grants,
                { [self] in
                    let units = [Int.random(in: 0..<4, using: &random): disk]
                    _ = try await controller.map(target: name, ISCSITarget.Map.Arguments(units: units))
                }
            ),
            (
                "unmap \(name) \(group)", .removes,
                { [self] in
                    let member = pick(target?.status.groups ?? []) ?? group
                    let numbers = chance(2) ? [] : [Int.random(in: 0..<4, using: &random)]
                    _ = try await controller.unmap(
                        target: name, ISCSITarget.Unmap.Arguments(group: member, units: numbers))
                }
            ),
            (
                "unmap \(name)", .removes,
                { [self] in
                    let number = Int.random(in: 0..<4, using: &random)
                    _ = try await controller.unmap(target: name, ISCSITarget.Unmap.Arguments(units: [number]))
                }
            ),
            (
                "access \(name), without --open", .removes,
                { [self] in
                    var spec = try await controller.target(name).spec
                    spec.access = pick(AccessLevel.allCases)!
                    if chance(3) { spec.authentication = pick([.none, .chap])! }
                    _ = try await controller.changeTarget(name, to: spec)
                }
            ),
            (
                "access \(name), with --open", .grants,
                { [self] in
                    let level = pick([AccessLevel.loopback, .groups, .open])!
                    _ = try await controller.setAccess(ofTarget: name, to: level, mayWiden: true)
                }
            ),
            (
                "group create", .grants,
                { [self] in
                    _ = try await controller.createInitiatorGroup(
                        pick(["g", "h", "i", "j"])!,
                        InitiatorGroup.Spec(
                            names: some(World.names), addresses: some(World.ranges),
                            rank: Int.random(in: 1...9, using: &random)))
                }
            ),
            (
                "group add \(group)", .grants,
                { [self] in
                    _ = try await controller.extendInitiatorGroup(
                        group, InitiatorGroup.Add.Arguments(names: some(World.names), addresses: some(World.ranges)))
                }
            ),
            (
                "group set --rank \(group)", .grants,
                { [self] in
                    var spec = try await controller.initiatorGroup(group).spec
                    spec.rank = Int.random(in: 1...9, using: &random)
                    if chance(2) { spec.authentication = pick([.none, .chap])! }
                    _ = try await controller.changeInitiatorGroup(group, to: spec, mayWiden: chance(2))
                }
            ),
            (
                "group set, fewer members, \(group)", .removes,
                { [self] in
                    var spec = try await controller.initiatorGroup(group).spec
                    (spec.names, spec.addresses) = (some(spec.names), some(spec.addresses))
                    if chance(3) { spec.authentication = pick([.none, .chap])! }
                    _ = try await controller.changeInitiatorGroup(group, to: spec)
                }
            ),
            (
                "group remove \(group)", .removes,
                { [self] in
                    let spec = try await controller.initiatorGroup(group).spec
                    _ = try await controller.reduceInitiatorGroup(
                        group,
                        InitiatorGroup.Remove.Arguments(names: some(spec.names), addresses: some(spec.addresses)))
                }
            ),
            ("group delete \(group)", .removes, { [self] in try await controller.deleteInitiatorGroup(group) }),
            (
                "chap create \(place)", .grants,
                { [self] in
                    let user = pick(["u", "v"])!
                    let secret = Secret(Array("swordfish-swordfish".utf8))
                    _ = try await controller.createCredential("\(place)/\(user)", Credential.Spec(secret: secret))
                }
            ),
            (
                "chap delete", .removes,
                { [self] in
                    let names = try await controller.credentials().map(\.name)
                    try await controller.deleteCredential(pick(names) ?? "discovery/none")
                }
            ),
            (
                "chap waive \(place)", .grants,
                { [self] in try await controller.waive(Credential.Waive.Arguments(place: place, mayWiden: true)) }
            ),
            (
                "portal create", .grants,
                { [self] in
                    _ = try await controller.addPortal(
                        pick(World.portals)!, Portal.Spec(portalGroup: Int.random(in: 1...2, using: &random)))
                }
            ),
            ("portal delete", .removes, { [self] in try await controller.removePortal(pick(World.portals)!) }),
            (
                "target portals \(name)", .grants,
                { [self] in
                    var spec = try await controller.target(name).spec
                    spec.portalGroups = pick([nil, [1], [2], [1, 2]])!
                    _ = try await controller.changeTarget(name, to: spec)
                }
            ),
            (
                "redirect \(name)", .neutral,
                { [self] in
                    var spec = try await controller.target(name).spec
                    spec.redirection = chance(2) ? "192.0.2.9:3260" : nil
                    _ = try await controller.changeTarget(name, to: spec)
                }
            ),
            (
                "disk create \(disk)", .grants,
                { [self] in
                    try await controller.createDisk(disk, Disk.Spec(size: 4096))
                    // Devices do this for their own targets, without a plan.
                    try controller.plane.configureFrontEnd()
                }
            ),
            (
                "disk delete \(disk)", .removes,
                { [self] in
                    try await controller.deleteDisk(disk)
                    try controller.plane.configureFrontEnd()
                }
            ),
            (
                "target create", .grants,
                { [self] in _ = try await controller.createTarget("t") }
            ),
            ("target delete", .removes, { [self] in try await controller.deleteTarget("t") }),
            (
                "library delete", .removes,
                { [self] in
                    try await controller.deleteLibrary("vtl")
                    try controller.plane.configureFrontEnd()
                }
            ),
            ("restart", .removes, { [self] in if chance(4) { try await restart(losingSecrets: false) } }),
            ("lost secrets", .removes, { [self] in if chance(4) { try await restart(losingSecrets: true) } }),
        ]
        let (words, kind, body) = kinds.randomElement(using: &random)!
        last = words
        do {
            try await body()
            counts[String(words.prefix { $0 != " " }), default: 0] += 1
        } catch let error as ManagementError {
            last += ": \(error.message)"
            #expect(error.code != .internal && error.code != .system, "\(last)")
        }
        return kind
    }
}

@Suite("Whatever takes away never gives")
struct MonotonyTests {
    @Test("no removal, unmapping, clearing or lost file permits anything new", arguments: Effort.seeds(12, few: 4))
    func monotony(seed: UInt64) async throws {
        let fixture = try ControllerFixture()
        let walk = Walk(fixture, seed: seed)
        try await walk.controller.start()
        try await fixture.makeLibrary(cartridges: 0)
        for name in ["a", "b"] { try await walk.controller.createDisk(name, Disk.Spec(size: 4096)) }
        var before = try await walk.permissions()
        var done: [String] = []
        for step in 0..<250 {
            let kind = try await walk.change()
            let after = try await walk.permissions()
            done.append(walk.last)
            let added = after.subtracting(before)
            let removed = before.subtracting(after)
            switch kind {
            case .grants: break
            case .removes:
                #expect(added.isEmpty, "step \(step), \(walk.last): \(added.prefix(1)); after \(done.suffix(8))")
            case .neutral: #expect(added.isEmpty && removed.isEmpty, "step \(step), \(walk.last)")
            }
            before = after
        }
        await walk.controller.shutDown()
        walk.controller.folder.release()
    }
}
