import Catalog
import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Changes and queries side by side")
struct ConcurrencyTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    private let big = Library.Spec(
        profile: "p", drives: 1, driveProfile: "d", slots: 10, mailSlots: 0, cartridges: 3, firstBarcode: "B00001L8",
        cartridgeSize: 1 << 20)

    @Test("while a creation hangs, everything that does not touch it goes on")
    func hangingCreation() async throws {
        try await controller.start()
        try await fixture.makeLibrary()
        let barrier = fixture.devices.hang(atCartridge: "B00002L8")
        let creation = Task { try await controller.createLibrary("big", big) }
        await barrier.waitForArrival()

        // Queries.
        let status = try await controller.status()
        #expect(status.libraries == 2 && status.problems.isEmpty)
        #expect(try await controller.disks().isEmpty)
        let libraries = try await controller.libraries()
        #expect(libraries.map(\.name) == ["big", "vtl"])
        #expect(libraries.map(\.status.state) == [.creating, .serving])
        #expect(try await controller.library("vtl").status.cartridges == 2)
        #expect(try await controller.library("big").status.state == .creating)
        #expect(try await controller.cartridges().count == 5)
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.used == 42)
        #expect(try await controller.targets().count == 2)
        #expect(try await controller.target("vtl").status.units.count == 3)
        #expect(try await controller.sessions().isEmpty)
        #expect(try await controller.allPortals().count == 1)
        #expect(try await controller.initiatorGroups().isEmpty)
        #expect(try await controller.credentials().isEmpty)
        #expect(try await controller.nameServer() == nil)
        #expect(try await controller.events(kind: "library").map(\.name) == ["vtl"])
        let job = try #require(controller.jobSummaries().last)
        #expect(job.state == .running && job.name == "big" && job.total == 3)

        // Changes of other things.
        try await controller.createDisk("d", Disk.Spec(size: 4096))
        _ = try await controller.changeDisk("d", to: Disk.Spec(size: 8192))
        try await controller.deleteDisk("d")
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        _ = try await controller.createCartridge("N00001L8", library: "vtl")
        _ = try await controller.addPortal("127.0.0.1:13260", Portal.Spec())
        try await fixture.makeLibrary("other")

        // A move that an initiator makes.
        let vtl = try #require(try fixture.devices.catalog.library(named: "vtl"))
        try fixture.devices.catalog.apply(
            [
                CartridgeMove(
                    barcode: "A00002L8", origin: .element(ElementAddress(kind: .slot, number: 2)),
                    destination: .element(ElementAddress(kind: .drive, number: 2)))
            ], library: vtl.identity.id, cause: .initiator, time: Date())

        // What touches it waits for it.
        let deletion = Task { try await controller.deleteLibrary("big") }
        barrier.open()
        #expect(try await creation.value.status.cartridges == 3)
        try await deletion.value
        #expect(try await controller.libraries().map(\.name) == ["other", "vtl"])
    }

    @Test("while a transaction of the catalog hangs, queries answer")
    func hangingTransaction() async throws {
        let hang = Lock<Barrier?>(nil)
        let fixture = try ControllerFixture { path throws(ManagementError) in
            guard path.hasSuffix("catalog.sqlite") else { return }
            hang.withLock { hang in
                defer { hang = nil }; return hang
            }?.pass()
        }
        try await fixture.makeLibrary()
        let barrier = Barrier()
        hang.withLock { $0 = barrier }
        let creation = Task { try await fixture.controller.createDisk("d", Disk.Spec(size: 4096)) }
        await barrier.waitForArrival()
        #expect(try await fixture.controller.status().disks == 0)
        #expect(try await fixture.controller.libraries().count == 1)
        #expect(try await fixture.controller.library("vtl").status.cartridges == 2)
        #expect(try await fixture.controller.targets().count == 1)
        barrier.open()
        _ = try await creation.value
        #expect(try await fixture.controller.status().disks == 1)
    }

    @Test("two disks that are made at the same time never have one medium")
    func oneImage() async throws {
        let image = fixture.path + ".img"
        try Data(count: 4096).write(to: URL(fileURLWithPath: image))
        let link = image + ".link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: image)
        defer { for path in [image, link] { try? FileManager.default.removeItem(atPath: path) } }
        let made = await withTaskGroup(of: Bool.self) { group in
            for (name, path) in [("a", image), ("b", link), ("c", image)] {
                group.addTask { [controller] in
                    (try? await controller.createDisk(name, Disk.Spec(size: nil, image: path))) != nil
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(made == 1)
    }

    @Test("a name is used once, however many ask for it at the same time")
    func oneName() async throws {
        let made = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<20 {
                group.addTask { [controller, fixture] in
                    switch index % 3 {
                    case 0: (try? await controller.createDisk("a", Disk.Spec(size: 4096))) != nil
                    case 1: (try? await fixture.makeLibrary("a")) != nil
                    default: (try? await controller.createTarget("a")) != nil
                    }
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(made == 1)
        #expect(try await controller.targets().count == 1)
    }

    @Test("nothing is set for a disk while it is being deleted, by which it or a secret would stay")
    func settingsBesideDeletion() async throws {
        let hang = Lock<Barrier?>(nil)
        let fixture = try ControllerFixture { path throws(ManagementError) in
            guard path.hasSuffix("a.img") else { return }
            hang.withLock { $0.take() }?.pass()
        }
        let controller = fixture.controller
        try await controller.start()
        try await controller.createDisk("a", Disk.Spec(size: 4096))
        _ = try await controller.createTarget("t")
        _ = try await controller.createInitiatorGroup("g", InitiatorGroup.Spec(names: ["iqn.2026-11.test:m"]))
        let secret = Secret(Array("swordfish-swordfish".utf8))
        var (own, shown) = (ISCSITarget.Spec(), ISCSITarget.Spec())
        own.units = [0: "a"]
        shown.access = .groups
        shown.groups = ["g": ISCSITarget.GroupAccess(units: [0: "a"])]
        let barrier = Barrier()
        hang.withLock { $0 = barrier }
        let deletion = Task { try await controller.deleteDisk("a") }
        await barrier.waitForArrival()
        let place = "target:a"
        let changes: [@Sendable () async throws -> Void] = [
            { [own] in _ = try await controller.changeTarget("t", to: own, mayWiden: true) },
            { [shown] in _ = try await controller.changeTarget("t", to: shown, mayWiden: true) },
            { _ = try await controller.createCredential(place + "/u", Credential.Spec(secret: secret)) },
            { _ = try await controller.allow(Credential.Allow.Arguments(place: place, algorithms: ["md5"])) },
            { try await controller.waive(Credential.Waive.Arguments(place: place, mayWiden: true)) },
        ]
        let results = changes.map { change in Task { await fixture.refusal { try await change() }?.code } }
        // What does not wait for the deletion is done by then.
        try await Task.sleep(for: .milliseconds(100))
        barrier.open()
        try await deletion.value
        for result in results { #expect(await result.value == .notFound) }
        #expect(try await controller.credentials().isEmpty)
        #expect(try await controller.target("t").status.units.isEmpty)
    }

    @Test("the key of a thing is the same by each of its names")
    func keys() {
        #expect(ChangeKey.thing("vtl") == .name("vtl"))
        #expect(ChangeKey.thing("vtl/drive:1") == .name("vtl"))
        #expect(ChangeKey.thing("iqn.2026-11.dev.carousel:vtl") == .name("vtl"))
        #expect(ChangeKey.thing("IQN.2026-11.dev.carousel:vtl") == .name("vtl"))
    }
}
