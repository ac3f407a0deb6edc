import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// A state folder in which there is something of each kind, and a folder of media beside it.
final class WalkFolder: Sendable {
    let path: String
    /// Where media are that are no part of the state folder.
    var elsewhere: String { path + "-elsewhere" }

    init(_ path: String) { self.path = path }

    deinit {
        for folder in [path, elsewhere] { try? FileManager.default.removeItem(atPath: folder) }
    }

    /// Another one with the same content.
    func copy() throws -> WalkFolder {
        let copy = WalkFolder(NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))")
        try FileManager.default.copyItem(atPath: path, toPath: copy.path)
        try FileManager.default.copyItem(atPath: elsewhere, toPath: copy.elsewhere)
        return copy
    }

    /// Disks `d`, `e` on the user's own image, and a removable one, `r`; a library `vtl`; targets, groups, secrets,
    /// portals; an image, a cartridge and a library that nobody knows.
    static func make() async throws -> WalkFolder {
        let folder = WalkFolder(NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))")
        func makeFile(_ path: String, size: Int) throws {
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try Data(count: size).write(to: URL(fileURLWithPath: path))
        }
        for image in ["e.img", "new.img"] { try makeFile(folder.elsewhere + "/" + image, size: 4096) }
        let (controller, _) = try ControllerFixture.make(folder.path)
        try await controller.start()
        try await controller.createDisk("d", .raw(size: 4096))
        try await controller.createDisk("e", Disk.Spec(size: nil, image: folder.elsewhere + "/e.img"))
        var removable = Disk.Spec(size: 4096)
        removable.isRemovable = true
        try await controller.createDisk("r", removable)
        try await controller.createLibrary(
            "vtl",
            Library.Spec(
                profile: "p", drives: 1, driveProfile: "d", slots: 4, mailSlots: 1, cartridges: 2,
                firstBarcode: "A00001L8", cartridgeSize: 1 << 20))
        try await controller.createCartridge("V00001L8", library: "vtl")
        try await controller.exportCartridge("V00001L8", library: "vtl")
        try makeFile(folder.path + "/disks/left.img", size: 8192)
        for cartridge in ["vtl/X00001L8", "old/B00001L8", "old/C00001L8"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/libraries/\(cartridge).tape", withIntermediateDirectories: true)
        }
        try FileManager.default.createDirectory(
            atPath: folder.elsewhere + "/Y00001L8.tape", withIntermediateDirectories: false)
        _ = try await controller.addPortal("0.0.0.0:3261", Portal.Spec(portalGroup: 2))
        _ = try await controller.addPortal("192.0.2.1:3260", Portal.Spec(portalGroup: 3))
        for (name, names, addresses, rank) in [
            ("few", ["iqn.2026-11.test:a", "iqn.2026-11.test:b"], ["10.0.0.0/8"], 10),
            ("all", ["*"], [], 20), ("idle", ["*:a"], [], 30),
        ] {
            _ = try await controller.createInitiatorGroup(
                name, InitiatorGroup.Spec(names: names, addresses: addresses, rank: rank))
        }
        var spec = ISCSITarget.Spec(units: [0: "d", 1: "e"])
        (spec.access, spec.portalGroups) = (.groups, [1, 2])
        spec.groups = ["few": ISCSITarget.GroupAccess(units: [0: "d"]), "all": ISCSITarget.GroupAccess()]
        _ = try await controller.createTarget("t", spec)
        _ = try await controller.setAccess(ofTarget: "e", to: .open, mayWiden: true)
        for name in ["target:t/u", "target:t/v", "group:few/u"] {
            _ = try await controller.createCredential(
                name, Credential.Spec(secret: Secret(Array("swordfish-swordfish".utf8))))
        }
        await controller.shutDown()
        controller.folder.release()
        return folder
    }
}

/// Something that is done to such a folder.
struct WalkOperation: Sendable, CustomTestStringConvertible {
    typealias Body = @Sendable (Controller, WalkFolder) async throws -> Void

    let testDescription: String
    /// Whether it may let somebody see more.
    var gives = false
    /// Whether it has files as well as rows, or more than one store, so that what was refused may be there in part, if
    /// something tells of that.
    var hasSteps = false
    /// Whether its event goes with no change of the catalog, and may be missing.
    var hasOwnEvent = false
    /// What else it needs.
    let prepare: Body
    let perform: Body
    /// How it is done again where its files were moved already, and the status tells of them.
    let resume: Body?

    init(
        _ name: String, gives: Bool = false, hasSteps: Bool = false, hasOwnEvent: Bool = false,
        prepare: @escaping Body = { _, _ in }, resume: Body? = nil, _ perform: @escaping Body
    ) {
        testDescription = name
        (self.gives, self.hasSteps, self.hasOwnEvent) = (gives, hasSteps, hasOwnEvent)
        self.prepare = prepare
        self.resume = resume
        self.perform = perform
    }

    static let all = devices + adoptions + access + credentials + ways

    private static let devices: [WalkOperation] = [
        WalkOperation("disk create", gives: true, hasSteps: true) { controller, _ in
            try await controller.createDisk("new", Disk.Spec(size: 4096))
        },
        WalkOperation("disk create --protection", gives: true, hasSteps: true) { controller, _ in
            var spec = Disk.Spec(size: 8192)
            spec.protection = 1
            try await controller.createDisk("new", spec)
        },
        WalkOperation("disk create --image", gives: true, hasSteps: true) { controller, folder in
            try await controller.createDisk("new", Disk.Spec(size: nil, image: folder.elsewhere + "/new.img"))
        },
        WalkOperation("disk copy", gives: true, hasSteps: true) { controller, _ in
            let job = try await controller.startCopy(Disk.Copy.Arguments(source: "d", name: "new"))
            try await controller.finish(job.id)
        },
        WalkOperation("disk import", gives: true, hasSteps: true) { controller, folder in
            let job = try await controller.startImport(
                Disk.Import.Arguments(file: folder.elsewhere + "/new.img", name: "new"))
            try await controller.finish(job.id)
        },
        WalkOperation("disk set --size", hasSteps: true) { controller, _ in
            _ = try await controller.changeDisk("d", to: Disk.Spec(size: 8192))
        },
        WalkOperation("disk set --read-only", hasSteps: true) { controller, _ in
            var spec = try await controller.disk("d").spec
            (spec.isReadOnly, spec.cache, spec.threshold) = (true, .writeThrough, 80)
            _ = try await controller.changeDisk("d", to: spec)
        },
        WalkOperation("disk eject") { controller, _ in try await controller.ejectDisk("r") },
        WalkOperation(
            "disk load", prepare: { controller, _ in try await controller.ejectDisk("r") }
        ) { controller, _ in try await controller.loadDisk("r") },
        WalkOperation(
            "disk delete", hasSteps: true,
            prepare: { controller, _ in
                try await controller.createCredential("target:d/u", Credential.Spec(secret: secret))
            }
        ) { controller, _ in try await controller.deleteDisk("d") },
        WalkOperation("disk delete, with the user's image", hasSteps: true) { controller, _ in
            try await controller.deleteDisk("e")
        },
        WalkOperation(
            "disk acknowledge-loss", hasOwnEvent: true,
            prepare: { controller, _ in
                (controller.plane.assembly as? FakeDevices)?.lose("d", since: nil, reason: "EIO")
            }
        ) { controller, _ in try await controller.acknowledgeLoss(ofDisk: "d") },
        WalkOperation("library create", gives: true, hasSteps: true) { controller, _ in
            try await controller.createLibrary(
                "new",
                Library.Spec(
                    profile: "p", drives: 1, driveProfile: "d", slots: 2, mailSlots: 0, cartridges: 2,
                    firstBarcode: "N00001L8", cartridgeSize: 1 << 20))
        },
        WalkOperation(
            "library delete", hasSteps: true,
            prepare: { controller, _ in
                try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "X00001L8"))
            }
        ) { controller, _ in try await controller.deleteLibrary("vtl") },
        WalkOperation("library move") { controller, _ in
            try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        },
        WalkOperation("library export") { controller, _ in
            try await controller.exportCartridge("A00001L8", library: "vtl")
        },
        WalkOperation("library import") { controller, _ in
            try await controller.importCartridge("V00001L8", library: "vtl")
        },
        WalkOperation("tape create", hasSteps: true) { controller, _ in
            try await controller.createCartridge("N00001L8", library: "vtl")
        },
        WalkOperation("tape delete", hasSteps: true) { controller, _ in
            try await controller.deleteCartridge("A00001L8", library: "vtl")
        },
        WalkOperation("tape delete, in the vault", hasSteps: true) { controller, _ in
            try await controller.deleteCartridge("V00001L8", library: "vtl")
        },
        WalkOperation(
            "tape acknowledge-loss", hasOwnEvent: true,
            prepare: { controller, _ in
                (controller.plane.assembly as? FakeDevices)?.lose("A00001L8", since: nil, reason: "EIO")
            }
        ) { controller, _ in try await controller.acknowledgeLoss(ofCartridge: "A00001L8", library: "vtl") },
        WalkOperation("profile add", hasSteps: true) { controller, _ in
            let content = try await controller.profile("ibm-ult3580-td8").content
                .replacingOccurrences(of: "ibm-ult3580-td8", with: "new-profile")
            try await controller.addProfile(ProfileAddition(file: "new-profile.json", content: content))
        },
    ]

    private static let adoptions: [WalkOperation] = [
        WalkOperation("adopt disk", gives: true) { controller, _ in
            try await controller.adoptDisk(DiskAdoption(image: "left"))
        },
        WalkOperation("adopt tape") { controller, _ in
            try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "X00001L8"))
        },
        WalkOperation(
            "adopt tape, from elsewhere", hasSteps: true,
            resume: { controller, _ in
                try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "Y00001L8"))
            }
        ) { controller, folder in
            try await controller.adoptCartridge(
                library: "vtl", CartridgeAdoption(cartridge: folder.elsewhere + "/Y00001L8.tape"))
        },
        WalkOperation("adopt library", gives: true) { controller, _ in
            try await controller.adoptLibrary(AdoptionOperation.old)
        },
    ]

    private static func changeTarget(
        _ name: String, _ controller: Controller, mayWiden: Bool = false, _ change: (inout ISCSITarget.Spec) -> Void
    ) async throws {
        var spec = try await controller.target(name).spec
        change(&spec)
        try await controller.changeTarget(name, to: spec, mayWiden: mayWiden)
    }

    private static let access: [WalkOperation] = [
        WalkOperation("target create", gives: true) { controller, _ in
            var spec = ISCSITarget.Spec(units: [0: "d", 3: "vtl/drive:1"])
            (spec.access, spec.authentication, spec.portalGroups) = (.closed, .chap, [2])
            spec.redirection = "192.0.2.7:3260"
            spec.groups = ["few": ISCSITarget.GroupAccess(units: [0: "e"]), "all": ISCSITarget.GroupAccess()]
            try await controller.createTarget("new", spec)
        },
        WalkOperation("target set, to less") { controller, _ in
            try await changeTarget("e", controller) {
                ($0.access, $0.authentication, $0.portalGroups) = (.closed, .chap, [1])
                $0.redirection = "192.0.2.7:3260"
            }
        },
        WalkOperation("target set, to more", gives: true, hasSteps: true) { controller, _ in
            try await changeTarget("t", controller, mayWiden: true) {
                ($0.access, $0.authentication, $0.portalGroups) = (.open, .none, nil)
            }
        },
        WalkOperation("target access closed") { controller, _ in
            try await controller.setAccess(ofTarget: "t", to: .closed)
        },
        WalkOperation("target access open", gives: true) { controller, _ in
            try await controller.setAccess(ofTarget: "t", to: .open, mayWiden: true)
        },
        WalkOperation("target map", gives: true) { controller, _ in
            try await controller.map(target: "d", ISCSITarget.Map.Arguments(units: [4: "e"]))
        },
        WalkOperation("target map --group, the first", gives: true) { controller, _ in
            try await controller.map(target: "d", ISCSITarget.Map.Arguments(group: "idle", units: [2: "e"]))
        },
        WalkOperation("target unmap") { controller, _ in
            try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(units: [1]))
        },
        WalkOperation("target unmap --group") { controller, _ in
            try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(group: "all"))
        },
        WalkOperation("target unmap --group --lun") { controller, _ in
            try await controller.unmap(target: "t", ISCSITarget.Unmap.Arguments(group: "all", units: [0]))
        },
        WalkOperation("target delete", hasSteps: true) { controller, _ in try await controller.deleteTarget("t") },
        WalkOperation("group create") { controller, _ in
            var spec = InitiatorGroup.Spec(names: ["*"], addresses: ["10.0.0.0/8"], rank: 1)
            spec.authentication = .chap
            try await controller.createInitiatorGroup("new", spec)
        },
        WalkOperation("group set", gives: true, hasSteps: true) { controller, _ in
            let spec = InitiatorGroup.Spec(names: ["iqn.2026-11.test:a"], addresses: [], rank: 40)
            try await controller.changeInitiatorGroup("few", to: spec, mayWiden: true)
        },
        WalkOperation("group add", gives: true) { controller, _ in
            try await controller.extendInitiatorGroup(
                "few", InitiatorGroup.Add.Arguments(names: ["*:a"], addresses: ["2001:db8::/32"]))
        },
        WalkOperation("group remove") { controller, _ in
            try await controller.reduceInitiatorGroup("all", InitiatorGroup.Remove.Arguments(names: ["*"]))
        },
        WalkOperation("group delete", hasSteps: true) { controller, _ in
            try await controller.deleteInitiatorGroup("idle")
        },
    ]

    private static let secret = Secret(Array("marlin-marlin-marlin".utf8))

    private static let credentials: [WalkOperation] = [
        WalkOperation("chap create, the first", hasSteps: true) { controller, _ in
            try await controller.createCredential("target:e/new", Credential.Spec(secret: secret))
        },
        WalkOperation("chap create, another user", gives: true, hasSteps: true, hasOwnEvent: true) { controller, _ in
            try await controller.createCredential("target:t/new", Credential.Spec(secret: secret))
        },
        WalkOperation("chap set", hasSteps: true, hasOwnEvent: true) { controller, _ in
            try await controller.changeCredential(
                controller.credential("target:t/u"), to: Credential.Spec(secret: secret))
        },
        WalkOperation("chap delete", hasSteps: true, hasOwnEvent: true) { controller, _ in
            try await controller.deleteCredential("target:t/u")
        },
        WalkOperation("chap delete, the last", hasSteps: true, hasOwnEvent: true) { controller, _ in
            try await controller.deleteCredential("group:few/u")
        },
        WalkOperation("chap allow", hasSteps: true, hasOwnEvent: true) { controller, _ in
            _ = try await controller.allow(Credential.Allow.Arguments(place: "target:t", algorithms: ["sha3-256"]))
        },
        WalkOperation("chap waive", gives: true, hasSteps: true) { controller, _ in
            try await controller.waive(Credential.Waive.Arguments(place: "group:few", mayWiden: true))
        },
    ]

    private static let nameServer = NameServer.Spec(server: "127.0.0.1:9", accessControl: true)

    private static let ways: [WalkOperation] = [
        WalkOperation("portal create", gives: true) { controller, _ in
            _ = try await controller.addPortal("[::1]:3262", Portal.Spec(portalGroup: 2))
        },
        WalkOperation("portal delete") { controller, _ in try await controller.removePortal("192.0.2.1:3260") },
        WalkOperation("portal drain", hasOwnEvent: true) { controller, _ in
            try await controller.drainPortal("192.0.2.1:3260", Portal.Drain.Arguments())
        },
        WalkOperation("isns create") { controller, _ in try await controller.createNameServer(nameServer) },
        WalkOperation(
            "isns set", prepare: { controller, _ in try await controller.createNameServer(nameServer) }
        ) { controller, _ in
            try await controller.changeNameServer(to: NameServer.Spec(server: "127.0.0.1:10", accessControl: true))
        },
        WalkOperation(
            "isns delete", gives: true,
            prepare: { controller, _ in try await controller.createNameServer(nameServer) }
        ) { controller, _ in try await controller.clearNameServer(mayWiden: true) },
    ]
}
