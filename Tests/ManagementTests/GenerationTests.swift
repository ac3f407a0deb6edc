import Catalog
import Foundation
import ISCSI
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Changes of an expected generation")
struct GenerationTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() async throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        try await controller.start()
        try await fixture.makeLibrary()
        try await controller.createDisk("d", Disk.Spec(size: 4096))
        try await controller.createTarget("t")
        try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["iqn.2026-11.test:a"]))
        try await controller.createCredential("group:g/u", Credential.Spec(secret: Secret(Array("0123456789abc".utf8))))
        try await controller.createCredential("group:g/v", Credential.Spec(secret: Secret(Array("9876543210abc".utf8))))
        _ = try await controller.addPortal("127.0.0.1:3333", Portal.Spec())
        try await controller.createNameServer(NameServer.Spec(server: "127.0.0.1:9"))
        _ = try await fixture.endpoint("disk-pools").create("disks", ["spaceLimit": 1_048_576])
    }

    /// What can be asked of a stored thing: a change, an action or the deletion, as the API would.
    private struct Request: CustomStringConvertible {
        let kind: String
        let name: String
        var spec: [String: JSONValue]?
        var action: (name: String, arguments: [String: JSONValue])?
        var description: String { "\(kind) \(name) \(spec != nil ? "PATCH" : action?.name ?? "DELETE")" }
    }

    /// One of each kind of request of each stored kind, so that each can be made.
    private static let requests: [Request] = [
        Request(kind: "disks", name: "d", spec: ["size": 8192]),
        Request(kind: "disks", name: "d", spec: ["description": "what it is for"]),
        Request(kind: "disks", name: "d"),
        Request(kind: "libraries", name: "vtl", action: ("move", ["from": "slot:1", "to": "slot:3"])),
        Request(kind: "cartridges", name: "vtl/A00001L8"),
        Request(kind: "libraries", name: "vtl"),
        Request(kind: "targets", name: "iqn.2026-11.dev.carousel:t", spec: ["access": "closed"]),
        Request(kind: "targets", name: "t", action: ("access", ["access": "closed"])),
        Request(kind: "targets", name: "t"),
        Request(kind: "initiator-groups", name: "g", spec: ["rank": 77]),
        Request(kind: "initiator-groups", name: "g", action: ("add", ["names": ["iqn.2026-11.test:b"]])),
        Request(kind: "credentials", name: "group:g/u", spec: ["secret": Secret(Array("another secret".utf8)).json]),
        // Not the last one there, then the last.
        Request(kind: "credentials", name: "group:g/v"),
        Request(kind: "credentials", name: "group:g/u"),
        Request(kind: "initiator-groups", name: "g"),
        Request(kind: "portals", name: "127.0.0.1:3333", action: ("drain", [:])),
        Request(kind: "portals", name: "127.0.0.1:3333"),
        Request(kind: "name-servers", name: "isns", spec: ["server": "127.0.0.1:10"]),
        Request(kind: "name-servers", name: "isns"),
        Request(kind: "disk-pools", name: "disks", spec: ["spaceLimit": 2_097_152]),
        Request(kind: "disk-pools", name: "disks"),
    ]

    private func perform(_ request: Request, expecting generations: Set<Int64>?) async throws {
        let endpoint = try fixture.endpoint(request.kind)
        if let spec = request.spec {
            _ = try await endpoint.change(request.name, spec, mayWiden: true, expecting: generations)
        } else if let action = request.action {
            _ = try await endpoint.perform(action.name, request.name, action.arguments, expecting: generations)
        } else {
            try await endpoint.delete(request.name, mayWiden: true, expecting: generations)
        }
    }

    private func generation(_ kind: String, _ name: String) async throws -> Int64 {
        let thing = try await fixture.endpoint(kind).show(name)
        return try #require(thing["generation"].flatMap(Int64.from), "\(kind) \(name)")
    }

    private func state() async throws -> [JSONValue] {
        var things: [JSONValue] = []
        for endpoint in Registry.endpoints(controller) where endpoint.kind.hasGenerations {
            things += try await endpoint.list(Page()).items.map { item in
                // Whether the name server answers is its own affair, and changes by itself.
                guard endpoint.kind.plural == NameServer.description.plural, case .object(var members) = item else {
                    return item
                }
                members["status"] = nil
                return .object(members)
            }
        }
        return things
    }

    @Test("every change, action and deletion of every stored kind keeps to the generation that it is told")
    func everything() async throws {
        let kinds = Registry.kinds.map { $0.description }.filter(\.hasGenerations)
        #expect(Set(Self.requests.map(\.kind)) == Set(kinds.map(\.plural)))
        for request in Self.requests {
            let present = try await generation(request.kind, request.name)
            let before = try await state()
            for wrong in [[present - 1], [present + 1], []] as [Set<Int64>] {
                let refusal = await fixture.refusal { try await perform(request, expecting: wrong) }
                #expect(refusal?.code == .outdated && refusal?.generation == present, "\(request): \(refusal as Any)")
                #expect(refusal?.message.contains("has generation \(present) now") == true)
            }
            #expect(try await state() == before, "\(request)")
            // Not the next one: a change that has its effect, and looks then, finds that.
            try await perform(request, expecting: [present - 1, present])
            guard request.spec != nil else { continue }
            #expect(try await generation(request.kind, request.name) > present, "\(request)")
        }
    }

    @Test("what is not there is refused in the words of its kind; what is not stored, and a kind, have no generation")
    func others() async throws {
        let gone = await fixture.refusal { try await fixture.endpoint("disks").delete("x", expecting: [1]) }
        #expect(gone?.code == .notFound && gone?.message.contains("there is no disk 'x'") == true)
        fixture.devices.logIn(to: "d")
        let session = await fixture.refusal {
            try await fixture.endpoint("sessions").perform("close", "1", [:], expecting: [1])
        }
        #expect(session?.code == .outdated && session?.message.contains("has no generation") == true)
        let kind = await fixture.refusal {
            try await fixture.endpoint("credentials").perform("waive", nil, ["place": "group:g"], expecting: [1])
        }
        #expect(kind?.code == .invalid)
        #expect(try await controller.sessions().count == 1)
        #expect(try await controller.credentials().count == 2)
    }

    @Test("a secret is changed and a user is deleted by those who say no generation, with their events")
    func secrets() async throws {
        let endpoint = try fixture.endpoint("credentials")
        let scope = CredentialScope.group("g")
        let secret = Secret(Array("another secret".utf8))
        _ = try await endpoint.change("group:g/u", ["secret": secret.json])
        let present = try #require(controller.plane.secrets.entries[scope])
        #expect(present.initiators.first { $0.name == "u" }?.secret == Array("another secret".utf8))
        _ = try await endpoint.change("group:g/u", ["algorithms": ["sha-256"], "secret": secret.json])
        #expect(controller.plane.secrets.entries[scope]?.algorithms == [.sha256])
        try await endpoint.delete("group:g/v", expecting: [try await generation("credentials", "group:g/v")])
        #expect(controller.plane.secrets.entries[scope]?.initiators.map(\.name) == ["u"])
        let verbs = try await controller.events(kind: "credential").map(\.verb)
        #expect(verbs.suffix(3) == ["CHAP set", "CHAP set", "CHAP cleared"])
    }

    @Test("a change has its generation checked until its first effect is made, and not any more then")
    func settling() throws {
        // What the thing is at each look.
        let answers = Lock<[Int64]>([1, 1, 2])
        let precondition = Precondition("thing", expected: [1]) { () throws(ManagementError) in
            answers.withLock { $0.isEmpty ? 3 : $0.removeFirst() }
        }
        try Precondition.$current.withValue(precondition) {
            try precondition.check()
            // A transaction that the full file system has refused is no effect.
            try precondition.checkBeforeEffect()
            #expect(throws: ManagementError.self) { try Effect.begin() }
            #expect(precondition.refusal?.code == .outdated)
            answers.withLock { $0 = [1] }
            try Effect.begin()
            try Effect.begin()
            try precondition.checkBeforeEffect()
        }
        #expect(answers.withLock { $0.isEmpty })
    }

    @Test("what moves while a deletion waits for room is seen in its second attempt")
    func secondAttempt() async throws {
        let gate = EffectGate()
        let fixture = try ControllerFixture(gate: gate.pass)
        let controller = fixture.controller
        try await controller.start()
        try await fixture.makeLibrary()
        let looks = Lock(0)
        let precondition = Precondition("cartridge", expected: [1]) { () throws(ManagementError) in
            // With its keys, in the first attempt, and in the second.
            looks.withLock { looks in
                looks += 1
                return looks < 3 ? 1 : 2
            }
        }
        gate.arm(failing: 1)
        let refusal = await Precondition.$current.withValue(precondition) {
            await fixture.refusal { try await controller.deleteCartridge("A00001L8", library: "vtl") }
        }
        #expect(gate.hasFailed && looks.withLock { $0 } == 3)
        #expect(refusal?.code == .outdated)
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.state == .ready)
    }

    @Test("of many changes that expect the same generation one is made")
    func race() async throws {
        let present = try await generation("disks", "d")
        let endpoint = try fixture.endpoint("disks")
        let made = await withTaskGroup(of: Bool.self) { group in
            for size in 2...17 {
                group.addTask {
                    (try? await endpoint.change("d", ["size": .integer(4096 * Int64(size))], expecting: [present]))
                        != nil
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(made == 1)
    }

    @Test("changes of different fields at the same time are all made, without any generation")
    func differentFields() async throws {
        let endpoint = try fixture.endpoint("disks")
        for round in 2...20 {
            async let first = endpoint.change("d", ["size": .integer(4096 * Int64(round))])
            async let second = endpoint.change("d", ["description": .text("round \(round)")])
            _ = try await (first, second)
            #expect(try await controller.disk("d").spec.size == 4096 * Int64(round))
            #expect(try await controller.disk("d").spec.description == "round \(round)")
        }
    }

    @Test("an initiator that moves a cartridge after the check is seen in the transaction of the change")
    func moveInBetween() async throws {
        // The catalog asks before each transaction ends: the first is that of the deletion, and the move is made then.
        let present = try await generation("cartridges", "vtl/A00001L8")
        let plane = controller.plane
        let library = try plane.libraryRecord("vtl").identity.id
        let move = CartridgeMove(
            barcode: "A00001L8", origin: .element(ElementAddress(kind: .slot, number: 1)),
            destination: .element(ElementAddress(kind: .slot, number: 4)))
        let hasMoved = Lock(false)
        let precondition = Precondition("cartridge", expected: [present]) { () throws(ManagementError) in
            let cartridge = try plane.cartridgeRecord("A00001L8", library: try plane.libraryRecord("vtl"))
            let isFirst = hasMoved.withLock { hasMoved in
                defer { hasMoved = true }
                return !hasMoved
            }
            if isFirst {
                try plane.query { () throws(CatalogError) in
                    try plane.catalog.apply([move], library: library, cause: .initiator, time: Date())
                }
            }
            return cartridge.generation
        }
        let refusal = await Precondition.$current.withValue(precondition) {
            await fixture.refusal { try await controller.deleteCartridge("A00001L8", library: "vtl") }
        }
        #expect(refusal?.code == .outdated)
        let cartridge = try await controller.cartridge("A00001L8", library: "vtl")
        #expect(cartridge.status.place == "slot:4" && cartridge.status.state == .ready)
        #expect(cartridge.generation ?? 0 > present)
    }

    @Test("a credential gets another generation with another secret, with other algorithms and when the file changes")
    func credentials() async throws {
        func generations() async throws -> [Int64] {
            [try await generation("credentials", "group:g/u"), try await generation("credentials", "group:g/v")]
        }
        var last = try await generations()
        #expect(last[0] < last[1])
        let present = try await controller.credential("group:g/v")
        _ = try await controller.changeCredential(
            present, to: Credential.Spec(secret: Secret(Array("yet another one".utf8))))
        var now = try await generations()
        #expect(now[0] == last[0] && now[1] > last[1])
        last = now
        await controller.reload()
        #expect(try await generations() == last, "nothing has changed")
        let path = fixture.path + "/chap.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let edited = text.replacingOccurrences(
            of: Data("0123456789abc".utf8).base64EncodedString(),
            with: Data("abcdefghijklm".utf8).base64EncodedString())
        #expect(edited != text)
        try edited.write(toFile: path, atomically: false, encoding: .utf8)
        await controller.reload()
        now = try await generations()
        #expect(now[0] > last[1] && now[1] == last[1])
    }
}
