import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Dry runs")
struct DryRunTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    /// Everything that a dry run may not change.
    private func everything() async throws -> [String] {
        var lines = fixture.files().sorted()
        for kind in Registry.endpoints(controller) where kind.kind.verbs.contains(.list) {
            lines += try await kind.list(Page()).items.map { "\(kind.kind.plural) \($0.serialized ?? "")" }
        }
        return lines
    }

    private let dry = RequestOptions(isDryRun: true)

    @Test("every verb of every kind is tried without a change, and would be done then")
    func allVerbs() async throws {
        try await controller.start()
        try await fixture.makeLibrary()
        try await controller.createDisk("a", Disk.Spec(size: 8192))
        var spec = Disk.Spec(size: 8192)
        spec.format = .carousel
        try await controller.createDisk("s", spec)
        try await controller.takeSnapshots(["s@one"])
        try await controller.createTarget("own")
        try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["iqn.*"]))
        let secret = Secret(Array("swordfish-swordfish".utf8))
        try await controller.createCredential("target:a/u", Credential.Spec(secret: secret))
        try await controller.addPortal("127.0.0.1:3262", Portal.Spec())
        try await controller.createNameServer(NameServer.Spec(server: "127.0.0.1:1"))
        _ = try await fixture.endpoint("tokens").create("t", ["role": "viewer"])
        _ = try await fixture.endpoint("disk-pools").create("disks", ["spaceLimit": 1_048_576])
        let creations: [String: (String, [String: JSONValue])] = [
            "disks": ("b", ["size": 4096]), "snapshots": ("s@two", [:]),
            "libraries": (
                "big",
                [
                    "profile": "p", "drives": 1, "driveProfile": "d", "slots": 3, "mailSlots": 0, "cartridges": 2,
                    "firstBarcode": "B00001L8", "cartridgeSize": 1_048_576,
                ]
            ),
            "cartridges": ("vtl/B00001L8", ["size": 1_048_576]), "targets": ("t", ["units": ["0": "a"]]),
            "initiator-groups": ("h", ["names": ["iqn.2026-11.test:b"]]),
            "credentials": ("target:own/v", ["secret": secret.json]), "portals": ("127.0.0.1:3263", [:]),
            "tokens": ("u", ["role": "viewer"]),
        ]
        let changes: [String: (String, [String: JSONValue])] = [
            "disks": ("a", ["size": 16384]), "cartridges": ("vtl/A00001L8", ["home": "vault"]),
            "targets": ("own", ["redirection": "192.0.2.1:1"]),
            "initiator-groups": ("g", ["names": ["iqn.*", "iqn.2026-11.test:c"]]),
            "credentials": ("target:a/u", ["secret": secret.json]),
            "name-servers": ("isns", ["server": "127.0.0.1:2"]), "disk-pools": ("disks", ["spaceLimit": 2_097_152]),
        ]
        let deletions = [
            "disks": "a", "libraries": "vtl", "cartridges": "vtl/A00001L8", "targets": "own", "initiator-groups": "g",
            "credentials": "target:a/u", "portals": "127.0.0.1:3262", "name-servers": "isns", "tokens": "t",
            "snapshots": "s@one", "disk-pools": "disks",
        ]
        let before = try await everything()
        for endpoint in Registry.endpoints(controller) {
            let kind = endpoint.kind
            if kind.verbs.contains(.create), kind.naming.onlyName == nil {
                let (name, members) = try #require(creations[kind.plural], "\(kind.plural)")
                guard case .possible(let thing) = try await endpoint.creating(name, members, dry) else {
                    Issue.record("\(kind.plural) are made")
                    continue
                }
                #expect(thing["name"]?.text == name && thing["spec"]?["secret"] == nil)
            }
            if kind.verbs.contains(.set) {
                let (name, members) = try #require(changes[kind.plural], "\(kind.plural)")
                guard case .possible(let thing) = try await endpoint.changing(name, members, dry) else {
                    Issue.record("\(kind.plural) are changed")
                    continue
                }
                for (field, value) in members where field != "secret" { #expect(thing["spec"]?[field] == value) }
            }
            if kind.verbs.contains(.delete) {
                let name = try #require(deletions[kind.plural], "\(kind.plural)")
                let present = try await endpoint.show(name)
                #expect(try await endpoint.deleting(name, dry) == .possible(present))
            }
            #expect(try await everything() == before, "\(kind.plural)")
        }
        #expect(try await controller.status().problems.isEmpty)
        // And they are done when they are meant.
        for endpoint in Registry.endpoints(controller) {
            guard let (name, members) = creations[endpoint.kind.plural] else { continue }
            _ = try await endpoint.create(name, members)
        }
        #expect(try await everything() != before)
    }

    @Test("what would be refused is refused")
    func refusals() async throws {
        try await controller.start()
        try await fixture.makeLibrary()
        try await controller.createDisk("a", Disk.Spec(size: 8192))
        try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["iqn.*"]))
        fixture.devices.logIn(to: "vtl")
        let before = try await everything()
        func code(_ plural: String, _ body: (Endpoint) async throws -> RequestOutcome) async throws
            -> ManagementError.Code?
        {
            let endpoint = try fixture.endpoint(plural)
            return await fixture.refusal { try await body(endpoint) }?.code
        }
        #expect(try await code("disks") { try await $0.creating("a", ["size": 4096], dry) } == .conflict)
        #expect(try await code("disks") { try await $0.creating("B", ["size": 4096], dry) } == .invalid)
        #expect(try await code("disks") { try await $0.changing("a", ["size": 4096], dry) } == .invalid)
        #expect(try await code("disks") { try await $0.deleting("x", dry) } == .notFound)
        #expect(try await code("targets") { try await $0.creating("t", ["units": ["0": "x"]], dry) } != nil)
        #expect(try await code("targets") { try await $0.creating("t", ["groups": ["x": [:]]], dry) } == .notFound)
        #expect(try await code("targets") { try await $0.changing("a", ["access": "open"], dry) } == .conflict)
        let open = RequestOptions(mayWiden: true, isDryRun: true)
        #expect(try await code("targets") { try await $0.changing("a", ["access": "open"], open) } == nil)
        #expect(try await code("targets") { try await $0.deleting("a", dry) } == .conflict)
        #expect(try await code("cartridges") { try await $0.creating("vtl/A00001L8", [:], dry) } == .conflict)
        #expect(try await code("portals") { try await $0.deleting("127.0.0.1:1", dry) } == .notFound)
        #expect(try await code("libraries") { try await $0.deleting("vtl", dry) } == .inUse)
        #expect(try await everything() == before)
    }
}
