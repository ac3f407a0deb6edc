import Catalog
import Foundation
import ISCSI
import ManagementTestSupport
import Platform
import Resources
import TestSupport
import Testing

@testable import Management

/// Configurations by chance, all of which are possible, and lead to each other with `prunes`.
struct RandomConfiguration {
    var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private mutating func chance(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &random) == 0 }
    private mutating func some<Value>(_ values: [Value]) -> [Value] { values.filter { _ in chance(2) } }
    private mutating func pick<Value>(_ values: [Value]) -> Value { values.randomElement(using: &random)! }

    private static func item(_ name: String, _ spec: [String: JSONValue]) -> JSONValue {
        ["name": .text(name), "spec": .object(spec)]
    }

    private static func secret(_ text: String) -> JSONValue { Secret(Array(text.utf8)).json }

    /// The next one. Disks have the size `size`.
    mutating func next(size: Int64 = 1 << 20) -> JSONValue {
        let disks = some(["a", "b", "c"])
        let hasLibrary = chance(2)
        let groups = some(["g", "h", "i"])
        var document: [String: JSONValue] = ["formatVersion": 1]
        var portals = [Self.item("127.0.0.1:3260", [:])]
        let hasSecondGroup = chance(2)
        if hasSecondGroup { portals.append(Self.item("192.0.2.1:3260", ["portalGroup": 2])) }
        document["portals"] = .array(portals)
        document["disks"] = .array(
            disks.map { Self.item($0, ["size": .integer(size), "blockSize": $0 == "b" ? 4096 : 512]) })
        document["libraries"] = .array(
            hasLibrary
                ? [
                    Self.item(
                        "vtl", ["profile": "p", "driveProfile": "d", "drives": 2, "slots": 4, "mailSlots": 1])
                ] : [])
        var homes = ["slot:1", "slot:2", "slot:3", "slot:4", "mail:1", "vault", "vault"].shuffled(using: &random)
        document["cartridges"] = .array(
            (hasLibrary ? some((1...6).map { "A0000\($0)L8" }) : []).map { barcode in
                Self.item("vtl/\(barcode)", ["size": .integer(1 << 20), "home": .text(homes.removeLast())])
            })
        var places: [String] = chance(3) ? ["discovery"] : []
        document["initiator-groups"] = .array(
            groups.enumerated().map { index, name in
                let asks = chance(3)
                if asks { places.append("group:\(name)") }
                return Self.item(
                    name,
                    [
                        "names": some(World.names).json, "addresses": some(World.ranges).json,
                        "rank": .integer(Int64(10 * index + Int.random(in: 1...9, using: &random))),
                        "authentication": asks ? "chap" : "none",
                    ])
            })
        var targets: [JSONValue] = []
        let own = some(["t", "u"])
        for name in disks + (hasLibrary ? ["vtl"] : []) + own {
            let asks = chance(4)
            if asks { places.append("target:\(name)") }
            targets.append(
                Self.item(
                    name,
                    target(
                        name, disks: disks, groups: groups, isOwn: own.contains(name), asks: asks,
                        portalGroups: hasSecondGroup ? [1, 2] : [1])))
        }
        document["targets"] = .array(targets)
        document["credentials"] = .array(
            places.flatMap { place -> [JSONValue] in
                guard chance(2) else { return [] }
                let algorithms = pick([Credential.algorithms, ["sha-256"], ["md5", "sha3-256"]]).json
                var credentials = [
                    Self.item(
                        "\(place)/user", ["secret": Self.secret("swordfish-swordfish"), "algorithms": algorithms])
                ]
                if chance(2), place != "discovery" {
                    credentials.append(
                        Self.item(
                            "\(place)/own",
                            [
                                "secret": Self.secret("pike-pike-pike"), "isMutual": true, "algorithms": algorithms,
                            ]))
                }
                return credentials
            })
        document["name-servers"] = .array(chance(3) ? [Self.item("isns", ["server": "127.0.0.1:9"])] : [])
        return .object(document)
    }

    private mutating func target(
        _ name: String, disks: [String], groups: [String], isOwn: Bool, asks: Bool, portalGroups: [Int]
    ) -> [String: JSONValue] {
        var units: [String: JSONValue] = [:]
        if name == "vtl" { units = ["0": "vtl", "1": "vtl/drive:1", "2": "vtl/drive:2"] }
        if !isOwn, name != "vtl" { units["0"] = .text(name) }
        for (index, disk) in some(disks).enumerated() where disk != name { units["\(index + 10)"] = .text(disk) }
        var access: [String: JSONValue] = [:]
        for group in some(groups) {
            access[group] =
                chance(2)
                ? [:]
                : [
                    "units": .object(
                        Dictionary(
                            uniqueKeysWithValues: some(disks).enumerated().map { ("\($0.offset)", .text($0.element)) }))
                ]
        }
        var spec: [String: JSONValue] = [
            "access": pick(AccessLevel.allCases).json, "authentication": asks ? "chap" : "none",
            "units": .object(units), "groups": .object(access),
        ]
        if chance(3) { spec["portalGroups"] = some(portalGroups + [1]).isEmpty ? .array([1]) : portalGroups.json }
        if chance(4) {
            spec["redirection"] = "192.0.2.9:3260"
            spec["isPermanent"] = .bool(chance(2))
        }
        return spec
    }
}

extension JSONValue {
    /// The document with the secrets that `other` has.
    fileprivate func takingSecrets(from other: JSONValue) -> JSONValue {
        guard case .object(var members) = self, let credentials = members["credentials"]?.elements else { return self }
        let known = Dictionary(
            (other["credentials"]?.elements ?? []).map { ($0["name"]?.text ?? "", $0["spec"]?["secret"]) },
            uniquingKeysWith: { first, _ in first })
        members["credentials"] = .array(
            credentials.map { item in
                guard case .object(var spec)? = item["spec"], let name = item["name"] else { return item }
                spec["secret"] = known[name.text ?? ""] ?? nil
                return ["name": name, "spec": .object(spec)]
            })
        return .object(members)
    }
}

extension Controller {
    /// Makes of everything what `configuration` says, whatever that opens or deletes.
    @discardableResult
    fileprivate func apply(
        _ configuration: JSONValue, prunes: Bool = true, mayWiden: Bool = true
    ) async throws -> ConfigurationChanges {
        var request = ConfigurationRequest(configuration: configuration, prunes: prunes, mayWiden: mayWiden)
        request.deletableMedia = try await compareConfiguration(request).deletedMedia
        return try await applyConfiguration(request)
    }
}

@Suite("Configurations")
struct ConfigurationTests {
    let fixture: ControllerFixture

    init() throws { fixture = try ControllerFixture() }

    /// A controller on a folder of its own that has what `configuration` says.
    private func make(
        _ configuration: JSONValue, gate: ChangeGate? = nil
    ) async throws -> ControllerFixture {
        let made = try ControllerFixture(gate: gate)
        try await made.controller.start()
        try await made.controller.apply(configuration)
        return made
    }

    /// All that is permitted by what is in force.
    private func inForce(_ devices: FakeDevices) -> Set<Permission> {
        devices.plan.map { World.permissions($0, devices.portals()) } ?? []
    }

    @Test("media are deleted only when it is them that were agreed to")
    func agreedMedia() async throws {
        let controller = fixture.controller
        try await controller.start()
        let empty = try await controller.exportConfiguration()
        try await controller.createDisk("a", Disk.Spec(size: 4096))
        var request = ConfigurationRequest(configuration: empty, prunes: true)
        #expect(await fixture.refusal { try await controller.applyConfiguration(request) }?.code == .conflict)
        request.deletableMedia = try await controller.compareConfiguration(request).deletedMedia
        // Made while somebody was asked about the other.
        try await controller.createDisk("b", Disk.Spec(size: 4096))
        let refusal = await fixture.refusal { try await controller.applyConfiguration(request) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("disk 'b'") == true)
        #expect(try await controller.disks().map(\.name) == ["a", "b"])
        request.deletableMedia = try await controller.compareConfiguration(request).deletedMedia
        try await controller.applyConfiguration(request)
        #expect(try await controller.disks().isEmpty)
    }

    // MARK: Round trips

    @Test("what is exported changes nothing, and makes the same of nothing", arguments: Effort.seeds(12, few: 5))
    func roundTrip(seed: UInt64) async throws {
        var random = RandomConfiguration(seed: seed)
        let configuration = random.next()
        let first = try await make(configuration)
        let exported = try await first.controller.exportConfiguration()
        let changes = try await first.controller.apply(exported)
        #expect(changes.lines.isEmpty)
        let other = try await make(exported.takingSecrets(from: configuration))
        #expect(try await other.controller.exportConfiguration() == exported)
        #expect(
            try APICoding.encode(try await other.controller.exportConfiguration()) == (try APICoding.encode(exported)))
        #expect(other.devices.disks == first.devices.disks && other.devices.libraries == first.devices.libraries)
    }

    @Test("a disk that is older than the choice of formats is raw elsewhere too")
    func oldFormat() async throws {
        let controller = fixture.controller
        try await controller.start()
        try await controller.createDisk("a", .raw(size: 4096))
        var spec = try controller.plane.diskRecord("a").spec
        spec.format = nil
        try controller.plane.catalog.changeDisk(named: "a", to: spec)
        #expect(try await controller.disk("a").spec.format == nil)
        let exported = try await controller.exportConfiguration()
        #expect(exported["disks"]?.elements?.first?["spec"]?["format"] == "raw")
        #expect(try await controller.apply(exported).lines.isEmpty)
        let other = try await make(exported)
        #expect(try await other.controller.disk("a").spec.format == .raw)
    }

    @Test("one configuration becomes another, whatever was there", arguments: Effort.seeds(12, few: 5))
    func replacement(seed: UInt64) async throws {
        var random = RandomConfiguration(seed: seed)
        let fixture = try await make(random.next())
        for size: Int64 in [1 << 20, 1 << 21, 1 << 21] {
            let next = random.next(size: size)
            try await fixture.controller.apply(next)
            let expected = try await make(next)
            #expect(
                try await fixture.controller.exportConfiguration()
                    == (try await expected.controller.exportConfiguration()))
            #expect(try await fixture.controller.apply(next).lines.isEmpty)
            #expect(try await fixture.controller.status().problems.isEmpty)
            #expect(!FileManager.default.fileExists(atPath: fixture.controller.folder.journalPath))
            let all = World.permissions(
                try fixture.controller.plane.frontEndPlan(), fixture.devices.portals())
            #expect(inForce(fixture.devices) == all)
        }
    }

    // MARK: All or nothing

    /// Two configurations that differ in all kinds of things.
    private static let former: JSONValue = [
        "formatVersion": 1,
        "portals": [["name": "127.0.0.1:3260"], ["name": "192.0.2.1:3260", "spec": ["portalGroup": 2]]],
        "disks": [["name": "a", "spec": ["size": 4096]], ["name": "b", "spec": ["size": 4096]]],
        "libraries": [
            [
                "name": "vtl",
                "spec": ["profile": "p", "driveProfile": "d", "drives": 1, "slots": 3, "mailSlots": 1],
            ]
        ],
        "cartridges": [
            ["name": "vtl/A00001L8", "spec": ["home": "slot:1"]], ["name": "vtl/A00002L8", "spec": ["home": "slot:2"]],
        ],
        "initiator-groups": [
            ["name": "g", "spec": ["names": ["*"], "rank": 1]], ["name": "h", "spec": ["addresses": ["10.0.0.0/8"]]],
        ],
        "targets": [
            ["name": "a", "spec": ["access": "groups", "units": ["0": "a"], "groups": ["g": [:]]]],
            ["name": "t", "spec": ["access": "open", "units": ["5": "b"], "portalGroups": [2]]],
        ],
        "credentials": [
            ["name": "discovery/u", "spec": ["secret": .text(Data("swordfish-swordfish".utf8).base64EncodedString())]]
        ],
    ]
    /// Nothing in it that cannot be taken back.
    private static let wanted: JSONValue = [
        "formatVersion": 1,
        "portals": [["name": "127.0.0.1:3260"], ["name": "0.0.0.0:3261", "spec": ["portalGroup": 3]]],
        "disks": [
            ["name": "a", "spec": ["size": 4096]], ["name": "b", "spec": ["size": 4096]],
            ["name": "c", "spec": ["size": 4096]],
        ],
        "libraries": [
            [
                "name": "vtl",
                "spec": ["profile": "p", "driveProfile": "d", "drives": 1, "slots": 3, "mailSlots": 1],
            ]
        ],
        "cartridges": [
            ["name": "vtl/A00001L8", "spec": ["home": "slot:2"]], ["name": "vtl/A00002L8", "spec": ["home": "slot:1"]],
            ["name": "vtl/A00003L8", "spec": ["home": "vault"]],
        ],
        "initiator-groups": [
            ["name": "g", "spec": ["names": ["iqn.2026-11.test:a"], "rank": 7]],
            ["name": "i", "spec": ["names": ["*:b"]]],
        ],
        "targets": [
            [
                "name": "a",
                "spec": [
                    "access": "open", "authentication": "chap", "units": ["0": "a", "1": "c"], "groups": ["i": [:]],
                ],
            ],
            ["name": "c", "spec": ["access": "groups", "units": ["0": "c"], "groups": ["g": ["units": ["9": "b"]]]]],
        ],
        "credentials": [
            ["name": "target:a/u", "spec": ["secret": .text(Data("swordfish-swordfish".utf8).base64EncodedString())]]
        ],
        "name-servers": [["name": "isns", "spec": ["server": "127.0.0.1:9"]]],
    ]
    /// With something that cannot be taken back: a disk that grows.
    private static var grown: JSONValue {
        guard case .object(var members) = wanted else { return .null }
        members["disks"] = [
            ["name": "a", "spec": ["size": 8192]], ["name": "b", "spec": ["size": 4096]],
            ["name": "c", "spec": ["size": 4096]],
        ]
        return .object(members)
    }

    /// The most effects that an `apply` can have.
    private static let effectLimit = 1000

    @Test("a step that fails, at any effect, leaves everything as it was", arguments: [false, true])
    func failure(grows: Bool) async throws {
        var effects = 0
        // What is the same in both is tried at every effect once.
        for count in stride(from: 0, to: Self.effectLimit, by: grows ? 5 : 1) {
            let breaker = Breaker()
            let fixture = try await make(Self.former) { path throws(ManagementError) in try breaker.pass(path) }
            let before = try await fixture.controller.exportConfiguration()
            let permitted = inForce(fixture.devices)
            breaker.set(after: count, isLasting: false)
            let refusal = await fixture.refusal {
                try await fixture.controller.apply(grows ? Self.grown : Self.wanted)
            }
            guard breaker.hasBroken else { break }
            effects += 1
            let after = try await fixture.controller.exportConfiguration()
            guard refusal != nil else {
                // What failed was the end of the journal, or an event: all of it is done, and stays.
                #expect(after != before)
                continue
            }
            #expect(after == before, "effect \(count): \(refusal?.message ?? "")")
            #expect(inForce(fixture.devices) == permitted, "effect \(count)")
            // That a disk has grown is not taken back; where the catalog does not take it, that is told.
            let problems = try await fixture.controller.status().problems.filter {
                !grows || !$0.contains("bytes now, but the catalog says")
            }
            #expect(problems == [], "effect \(count)")
            #expect(!FileManager.default.fileExists(atPath: fixture.controller.folder.journalPath))
            #expect(fixture.controller.plane.freeze == nil)
            // And it can be done then.
            try await fixture.controller.apply(grows ? Self.grown : Self.wanted)
        }
        #expect(effects > 10 && effects < Self.effectLimit)
    }

    @Test("after a crash, at any effect, either all of it is there or nothing", arguments: [false, true])
    func crash(grows: Bool) async throws {
        let wanted = grows ? Self.grown : Self.wanted
        let complete = try await make(Self.former)
        try await complete.controller.apply(wanted)
        let done = try await complete.controller.exportConfiguration()
        var (effects, wasDone) = (0, 0)
        // What is the same in both is tried at every effect once.
        for count in stride(from: 0, to: Self.effectLimit, by: grows ? 5 : 1) {
            let breaker = Breaker()
            let fixture = try await make(Self.former) { path throws(ManagementError) in try breaker.pass(path) }
            let before = try await fixture.controller.exportConfiguration()
            breaker.set(after: count, isLasting: true)
            _ = await fixture.refusal { try await fixture.controller.apply(wanted) }
            guard breaker.hasBroken else { break }
            effects += 1
            await fixture.controller.shutDown()
            fixture.controller.folder.release()
            let (again, devices) = try ControllerFixture.make(fixture.path)
            try await again.start()
            let after = try await again.exportConfiguration()
            if after == done { wasDone += 1 }
            #expect(after == before || after == done, "effect \(count)")
            #expect(!again.folder.exists(again.folder.journalPath), "effect \(count)")
            #expect(try await again.status().problems.isEmpty, "effect \(count)")
            #expect(try await again.status().unclaimed.isEmpty, "effect \(count)")
            let all = World.permissions(try again.plane.frontEndPlan(), devices.portals())
            #expect(inForce(devices) == all)
            await again.shutDown()
            again.folder.release()
        }
        #expect(effects > 10 && effects < Self.effectLimit && wasDone < effects)
    }

    @Test("nobody sees half of it")
    func atomicity() async throws {
        let seen = Lock<[Set<Permission>]>([])
        let watched = Lock<FakeDevices?>(nil)
        let fixture = try await make(Self.former) { _ throws(ManagementError) in
            guard let devices = watched.withLock({ $0 }), let plan = devices.plan else { return }
            let permitted = World.permissions(plan, devices.portals())
            seen.withLock { $0.append(permitted) }
        }
        let before = inForce(fixture.devices)
        watched.withLock { $0 = fixture.devices }
        try await fixture.controller.apply(Self.wanted)
        watched.withLock { $0 = nil }
        let after = inForce(fixture.devices)
        let plans = seen.withLock { $0 }
        #expect(plans.count > 20)
        for permitted in plans {
            #expect(permitted.isSubset(of: before) || permitted.isSubset(of: after))
        }
        #expect(before != after)
    }

    // MARK: Access

    @Test("without being asked for nothing opens", arguments: Effort.seeds(40, few: 12))
    func monotony(seed: UInt64) async throws {
        var random = RandomConfiguration(seed: seed)
        let first = random.next()
        let fixture = try await make(first)
        for _ in 0..<8 {
            let before = inForce(fixture.devices)
            let units = Set(before.map(\.unit))
            let known = Set(try await fixture.controller.targets().map(\.name))
            let next = random.next()
            let refusal = await fixture.refusal { try await fixture.controller.apply(next, mayWiden: false) }
            let added = inForce(fixture.devices).subtracting(before)
                .filter { known.contains($0.target) || units.contains($0.unit) }
            #expect(added.isEmpty, "\(added.prefix(2))")
            if refusal != nil {
                #expect(refusal?.message.hasSuffix("say --open if that is meant") == true, "\(refusal?.message ?? "")")
                #expect(inForce(fixture.devices) == before)
            }
        }
    }

    @Test("what is the same opens nothing; what opens is said", arguments: 1...20 as ClosedRange<UInt64>)
    func harmless(seed: UInt64) async throws {
        var random = RandomConfiguration(seed: seed)
        let fixture = try await make(random.next())
        let exported = try await fixture.controller.exportConfiguration()
        try await fixture.controller.apply(exported, mayWiden: false)
        let changes = try await fixture.controller.compareConfiguration(
            ConfigurationRequest(configuration: exported, prunes: true))
        #expect(changes.widening == nil && changes.deletedMedia.isEmpty)
    }
}

@Suite("Configuration files")
struct ConfigurationFileTests {
    let fixture: ControllerFixture
    private var controller: Controller { fixture.controller }

    init() throws { fixture = try ControllerFixture() }

    private func refusal(_ document: JSONValue, prunes: Bool = false) async -> ManagementError? {
        await fixture.refusal {
            try await controller.applyConfiguration(
                ConfigurationRequest(configuration: document, prunes: prunes, mayWiden: true))
        }
    }

    private func apply(_ document: JSONValue, prunes: Bool = false) async throws -> [String] {
        try await controller.applyConfiguration(
            ConfigurationRequest(configuration: document, prunes: prunes, mayWiden: true)
        ).lines
    }

    @Test("the kinds of files are those that can be made, and each comes behind what it needs")
    func kinds() {
        let kinds = Registry.configured.map(\.description.plural)
        #expect(
            Set(kinds)
                == [
                    "disks", "libraries", "cartridges", "targets", "initiator-groups", "credentials", "portals",
                    "name-servers",
                ])
        for (index, kind) in Registry.configured.enumerated() {
            #expect(Set(kinds[..<index]).isSuperset(of: kind.needs))
        }
    }

    @Test("what makes no sense is refused by one sentence, and nothing is done")
    func refusals() async throws {
        try await controller.start()
        try await controller.createDisk("d", Disk.Spec(size: 8192))
        let before = try await controller.exportConfiguration()
        func file(_ members: [String: JSONValue]) -> JSONValue {
            .object(members.merging(["formatVersion": 1]) { first, _ in first })
        }
        func disk(_ spec: JSONValue, _ name: JSONValue = "new") -> JSONValue { ["name": name, "spec": spec] }
        let cases: [(JSONValue, String)] = [
            ([], "is a list where an object is expected"), ([:], "formatVersion"),
            (["formatVersion": 2], "formatVersion"), (file(["sessions": []]), "knows no 'sessions'"),
            (file(["disks": [:]]), "disks are an object where a list is expected"),
            (file(["disks": ["d"]]), "a disk is text where an object is expected"),
            (file(["disks": [["spec": [:]]]]), "a disk needs a name"),
            (file(["disks": [["name": "d", "status": [:]]]]), "has no 'status'"),
            (file(["disks": [disk(["size": 4096], "Bad")]]), "is no name for a disk"),
            (file(["disks": [disk(["size": 4096]), disk(["size": 4096])]]), "is described twice"),
            (file(["disks": [disk(["size": 4096, "typo": 1])]]), "has no field 'typo'"),
            (file(["disks": [disk([:])]]), "a disk needs a size"),
            (file(["disks": [disk(["size": 4096], "d")]]), "cannot become smaller"),
            (file(["disks": [disk(["size": 8192, "blockSize": 4096], "d")]]), "cannot be changed"),
            (
                file([
                    "libraries": [
                        disk(
                            [
                                "profile": "p", "driveProfile": "d", "drives": 1, "slots": 4, "mailSlots": 0,
                                "cartridges": 2,
                            ])
                    ]
                ]), "has no place in a configuration"
            ),
            (
                file(["libraries": [disk(["profile": "p", "drives": 1, "slots": 4, "mailSlots": 0])]]),
                "needs its drive profile"
            ),
            (
                file([
                    "libraries": [
                        disk(["profile": "p", "driveProfile": "d", "drives": 1, "slots": 4, "mailSlots": 0], "d")
                    ]
                ]), "exists already"
            ),
            (file(["cartridges": [disk(["home": "vault"], "vtl/A00001L8")]]), "which the configuration does not have"),
            (file(["targets": [disk(["units": ["0": "none"]], "t")]]), "shows 'none'"),
            (file(["targets": [disk(["groups": ["none": [:]]], "t")]]), "shown to group 'none'"),
            (file(["targets": [disk(["portalGroups": [7]], "t")]]), "portal group 7"),
            (file(["targets": [disk(["units": [:]], "d")]]), "is what target"),
            (file(["credentials": [disk([:], "discovery/u")]]), "is new and has no secret"),
            (
                file(["credentials": [disk(["secret": "c3dvcmRmaXNoLXN3b3JkZmlzaA=="], "target:d/u")]]),
                "no proof is asked for"
            ),
            (
                file(["credentials": [disk(["secret": "c3dvcmRmaXNoLXN3b3JkZmlzaA=="], "target:none/u")]]),
                "which the configuration does not have"
            ),
        ]
        for (document, sentence) in cases {
            let refused = await refusal(document)
            #expect(refused?.message.contains(sentence) == true, "\(sentence): \(refused?.message ?? "nothing")")
            #expect(refused?.code != .internal && refused?.code != .system)
        }
        #expect(try await controller.exportConfiguration() == before)
        let media = await refusal(["formatVersion": 1, "portals": [["name": "127.0.0.1:3260"]]], prunes: true)
        #expect(
            media?.message
                == "disk 'd' would be deleted with all content, to which nobody has agreed; say --yes, or name them in "
                + "deletableMedia, if that is meant")
        #expect(try await controller.exportConfiguration() == before)
    }

    @Test("a portal that moves to another host goes and has initiators sent there, and comes back, in one step each")
    func movedPortal() async throws {
        try await controller.start()
        try await controller.addPortal("127.0.0.1:3261", Portal.Spec())
        try await controller.createDisk("d", Disk.Spec(size: 8192))
        func file(_ portals: [String], _ redirection: JSONValue) -> JSONValue {
            [
                "formatVersion": 1, "portals": .array(portals.map { ["name": .text($0)] }),
                "disks": [["name": "d", "spec": ["size": 8192]]],
                "targets": [["name": "d", "spec": ["units": ["0": "d"], "redirection": redirection]]],
            ]
        }
        let (here, there) = (["127.0.0.1:3260", "127.0.0.1:3261"], ["127.0.0.1:3260"])
        _ = try await apply(file(there, "127.0.0.1:3261"), prunes: true)
        #expect(try await controller.target("d").spec.redirection == "127.0.0.1:3261")
        #expect(try await controller.allPortals().map(\.name) == there)
        _ = try await apply(file(here, .null), prunes: true)
        #expect(try await controller.target("d").spec.redirection == nil)
        #expect(try await controller.allPortals().map(\.name) == here)
    }

    @Test("what a file does not say stays as the daemon has chosen it, or becomes what it is by default")
    func defaults() async throws {
        try await controller.start()
        try await controller.createDisk("d", Disk.Spec(size: 8192))
        try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["*"], rank: 5))
        var spec = try await controller.target("d").spec
        (spec.redirection, spec.portalGroups) = ("192.0.2.9:3260", [1])
        try await controller.changeTarget("d", to: spec)
        let changes = try await apply([
            "formatVersion": 1, "disks": [["name": "d", "spec": [:]]],
            "initiator-groups": [["name": "g", "spec": ["names": ["*"]]]],
            "targets": [["name": "d", "spec": ["units": ["0": "d"]]]],
        ])
        #expect(
            changes == [
                "change target 'iqn.2026-11.dev.carousel:d': portal groups: 1 -> all",
                "change target 'iqn.2026-11.dev.carousel:d': redirection: 192.0.2.9:3260 -> none",
            ])
        #expect(try await controller.initiatorGroup("g").spec.rank == 5)
        #expect(try await controller.disk("d").spec.size == 8192)
    }

    @Test("cartridges change places, in a circle as well, and what is in a drive stays there")
    func places() async throws {
        try await controller.start()
        try await fixture.makeLibrary(slots: 4, cartridges: 4)
        func file(_ homes: [String]) -> JSONValue {
            [
                "formatVersion": 1,
                "cartridges": .array(
                    homes.enumerated().map {
                        ["name": .text("vtl/A0000\($0.offset + 1)L8"), "spec": ["home": .text($0.element)]]
                    }),
            ]
        }
        let circle = ["slot:2", "slot:3", "slot:1", "mail:1"]
        _ = try await apply(file(circle))
        func homes() async throws -> [String?] { try await controller.cartridges().map(\.spec.home) }
        #expect(try await homes() == circle)
        let taken = await refusal(file(["slot:2", "slot:3"] + ["mail:1"]))
        #expect(taken?.message.contains("which cartridge 'vtl/A00004L8' has already") == true)
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:2", to: "drive:1"))
        #expect(try await homes() == circle)
        #expect(try await apply(file(circle)).isEmpty)
        let loaded = await refusal(file(["slot:4"]))
        #expect(loaded?.code == .inUse && loaded?.message.contains("is in drive:1") == true)
        let beyond = await refusal(file(["slot:9"]))
        #expect(beyond?.message.contains("has 4 such elements") == true)
        // Alone as well.
        let put = try await controller.changeCartridge(
            "A00002L8", library: "vtl", to: Cartridge.Spec(size: nil, home: "vault"))
        #expect(put.status.place == "vault" && put.spec.home == "vault")
        let full = await fixture.refusal {
            try await controller.changeCartridge(
                "A00002L8", library: "vtl", to: Cartridge.Spec(size: nil, home: "slot:1"))
        }
        #expect(full?.message.contains("is full") == true)
        let new = try await controller.createCartridge(
            "B00001L8", library: "vtl", Cartridge.Spec(size: nil, home: "vault"))
        #expect(new.status.place == "vault" && new.status.state == .ready)
    }

    @Test("a secret that is the same is no change, and another one is told without saying which")
    func secrets() async throws {
        try await controller.start()
        func file(_ secret: String) -> JSONValue {
            [
                "formatVersion": 1,
                "credentials": [
                    ["name": "discovery/u", "spec": ["secret": Secret(Array(secret.utf8)).json]]
                ],
            ]
        }
        #expect(try await apply(file("swordfish-swordfish")).count == 1)
        #expect(try await apply(file("swordfish-swordfish")).isEmpty)
        #expect(
            try await apply(file("halibut-halibut")) == ["change credential 'discovery/u': secret: another one"])
        let entries = controller.plane.secrets.entries[.discovery]
        #expect(entries?.initiators.map(\.secret) == [Array("halibut-halibut".utf8)])
        let text = try APICoding.encode(try await controller.exportConfiguration())
        #expect(!String(decoding: text, as: UTF8.self).contains("secret"))
        let events = try await controller.lastEvents(limit: 100)
        #expect(events.contains { $0.kind == "configuration" && $0.verb == "apply" })
        #expect(!events.contains { "\($0)".contains(Secret(Array("halibut-halibut".utf8)).json.text ?? "-") })
    }

    @Test("what a target shows can be set as a whole, and what shows more has to be asked for")
    func targetMaps() async throws {
        try await controller.start()
        for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec(size: 4096)) }
        try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["*"]))
        let targets = try fixture.endpoint("targets")
        let units: JSONValue = ["0": "a", "7": "b"]
        let refused = await fixture.refusal { try await targets.change("a", ["units": units]) }
        #expect(refused?.message.contains("say --open") == true)
        _ = try await targets.change("a", ["units": units], mayWiden: true)
        #expect(try await controller.target("a").spec.units == [0: "a", 7: "b"])
        _ = try await targets.change(
            "a", ["groups": ["g": ["units": ["3": "b"]]], "access": "groups"], mayWiden: true)
        #expect(try await controller.target("a").seen("g") == [3])
        _ = try await targets.change("a", ["groups": [:], "units": ["0": "a"]])
        #expect(try await controller.target("a").spec.groups.isEmpty)
        #expect(try await controller.target("a").spec.access == .groups)
        let own = await fixture.refusal { try await targets.change("a", ["units": ["1": "a"]]) }
        #expect(own?.message.contains("is what target") == true)
        let twice = await fixture.refusal {
            try await targets.change("b", ["units": ["0": "b", "1": "a", "2": "a"]], mayWiden: true)
        }
        #expect(twice?.message.contains("give it one number") == true)
    }
}
