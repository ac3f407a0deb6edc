import Catalog
import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

/// What is taken up of a state folder in which the catalog knows a disk `d` and a library `vtl` of two cartridges, and
/// does not know an image, a cartridge in the folder of `vtl`, one elsewhere, and a library `old` of two.
enum AdoptionOperation: CaseIterable {
    case disk
    case cartridge
    case foreignCartridge
    case library

    func callAsFunction(_ controller: Controller, _ fixture: ControllerFixture) async throws {
        switch self {
        case .disk: try await controller.adoptDisk(DiskAdoption(image: "left"))
        case .cartridge:
            try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "X00001L8"))
        case .foreignCartridge:
            try await controller.adoptCartridge(
                library: "vtl", CartridgeAdoption(cartridge: fixture.elsewhere + "/Y00001L8.tape"))
        case .library: try await controller.adoptLibrary(Self.old)
        }
    }

    static let old = LibraryAdoption(name: "old", profile: "p", drives: 1, driveProfile: "d", mailSlots: 1)
}

extension ControllerFixture {
    fileprivate var elsewhere: String { path + "-elsewhere" }

    fileprivate func prepareAdoption() async throws {
        try await controller.start()
        try await controller.createDisk("d", Disk.Spec(size: 4096))
        try await makeLibrary()
        try Data(count: 8192).write(to: URL(fileURLWithPath: path + "/disks/left.img"))
        for folder in ["libraries/vtl/X00001L8", "libraries/old/A00001L8", "libraries/old/B00001L8"] {
            try makeCartridge(path + "/\(folder).tape")
        }
        try makeCartridge(elsewhere + "/Y00001L8.tape")
    }

    fileprivate func makeCartridge(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// The cartridges' folders and images that there are, wherever.
    fileprivate func media() -> Set<String> {
        func names(_ root: String) -> [String] {
            (FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? [])
                .filter { $0.hasSuffix(".tape") || $0.hasSuffix(".img") }
                .map { ($0 as NSString).lastPathComponent }
        }
        return Set(names(path) + names(elsewhere))
    }

    /// What the catalog knows.
    fileprivate static func known(_ controller: Controller) async throws -> Set<String> {
        let cartridges = try await controller.cartridges()
        #expect(cartridges.allSatisfy { $0.status.state == .ready })
        #expect(try await controller.status().problems.isEmpty)
        return Set(try await controller.disks().map(\.name) + cartridges.map(\.name))
    }
}

@Suite("Taking up what is there")
final class AdoptionTests {
    private let fixture: ControllerFixture
    private let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    deinit { try? FileManager.default.removeItem(atPath: fixture.elsewhere) }

    /// What the catalog knows without, and with it.
    private static let before: Set<String> = ["d", "vtl/A00001L8", "vtl/A00002L8"]
    private static let added: [AdoptionOperation: Set<String>] = [
        .disk: ["left"], .cartridge: ["vtl/X00001L8"], .foreignCartridge: ["vtl/Y00001L8"],
        .library: ["old/A00001L8", "old/B00001L8"],
    ]

    @Test("a disk is called, and held, by the name of the file to which the path leads")
    func names() throws {
        let (file, link) = (fixture.path + "-real.img", fixture.path + "-link.img")
        defer { for path in [file, link] { try? FileManager.default.removeItem(atPath: path) } }
        #expect(FileManager.default.createFile(atPath: file, contents: Data(count: 4096)))
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
        let name = String(file.split(separator: "/").last?.dropLast(4) ?? "")
        #expect(controller.plane.diskName(DiskAdoption(image: link)) == name)
        #expect(controller.plane.diskName(DiskAdoption(image: "a.img")) == "a")
        #expect(controller.plane.diskName(DiskAdoption(image: link, name: "n")) == "n")
    }

    @Test(
        "a change that fails, or a crash before any change, loses no file and leaves all of it or nothing",
        arguments: AdoptionOperation.allCases, [false, true])
    func steps(_ operation: AdoptionOperation, isCrash: Bool) async throws {
        let done = Self.before.union(Self.added[operation] ?? [])
        for count in 0..<20 {
            let breaker = Breaker()
            let fixture = try ControllerFixture { path throws(ManagementError) in try breaker.pass(path) }
            defer { try? FileManager.default.removeItem(atPath: fixture.elsewhere) }
            try await fixture.prepareAdoption()
            let media = fixture.media()
            #expect(media.count == 7)
            breaker.set(after: count, isLasting: isCrash)
            let refusal = await fixture.refusal { try await operation(fixture.controller, fixture) }
            #expect((refusal != nil) == breaker.hasBroken, "after \(count) changes")
            #expect(fixture.media() == media, "after \(count) changes")
            if !isCrash {
                #expect(try await ControllerFixture.known(fixture.controller) == (refusal == nil ? done : Self.before))
            }
            await fixture.controller.shutDown()
            fixture.controller.folder.release()
            // What a start removes of what was interrupted is none of it.
            let (controller, _) = try ControllerFixture.make(fixture.path)
            try await controller.start()
            #expect(fixture.media() == media, "after \(count) changes")
            let known = try await ControllerFixture.known(controller)
            #expect(known == done || refusal != nil && known == Self.before, "after \(count) changes")
            if known == Self.before {
                if FileManager.default.fileExists(atPath: fixture.path + "/libraries/vtl/Y00001L8.tape") {
                    // The crash came between the move and the row.
                    try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "Y00001L8"))
                } else {
                    try await operation(controller, fixture)
                }
            }
            #expect(try await ControllerFixture.known(controller) == done, "after \(count) changes")
            #expect(fixture.media() == media)
            await controller.shutDown()
            guard breaker.hasBroken else { return }
        }
        Issue.record("\(operation) consists of 20 changes or more")
    }

    @Test("a cartridge is not taken out of a folder while that becomes a library")
    func both() async throws {
        let barrier = Barrier()
        let fixture = try ControllerFixture { path throws(ManagementError) in
            if path.hasSuffix("/libraries/vtl/B00001L8.tape") { barrier.pass() }
        }
        defer { try? FileManager.default.removeItem(atPath: fixture.elsewhere) }
        try await fixture.prepareAdoption()
        let cartridge = Task {
            try await fixture.controller.adoptCartridge(
                library: "vtl", CartridgeAdoption(cartridge: fixture.path + "/libraries/old/B00001L8.tape"))
        }
        await barrier.waitForArrival()
        let library = Task { try await fixture.controller.adoptLibrary(AdoptionOperation.old) }
        // Time enough to find both cartridges there, if it does not wait.
        for _ in 0..<20_000 { await Task.yield() }
        barrier.open(9)
        #expect(try await cartridge.value.name == "vtl/B00001L8")
        #expect(try await library.value.library.status.cartridges == 1)
        let added: Set<String> = ["vtl/B00001L8", "old/A00001L8"]
        #expect(try await ControllerFixture.known(fixture.controller) == Self.before.union(added))
        await fixture.controller.shutDown()
    }

    @Test("devices that cannot be started are not adopted, and their files stay", arguments: [true, false])
    func unservable(isDisk: Bool) async throws {
        try await fixture.prepareAdoption()
        let media = fixture.media()
        fixture.devices.fail(with: ManagementError(.system, "no"))
        // Fakes fail at the start of a disk; a library's start is taken for one of its cartridges here.
        let refusal = await fixture.refusal {
            isDisk
                ? try await AdoptionOperation.disk(controller, fixture)
                : try await AdoptionOperation.library(controller, fixture)
        }
        #expect(refusal?.message == "no")
        #expect(fixture.media() == media)
        fixture.devices.fail(with: nil)
        #expect(try await ControllerFixture.known(controller) == Self.before)
    }

    @Test("a disk, a cartridge and a library are what they were, and no longer unclaimed")
    func adoption() async throws {
        try await fixture.prepareAdoption()
        await controller.shutDown()
        controller.folder.release()
        let (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        #expect(try await controller.status().unclaimed.count == 3)
        let disk = try await controller.adoptDisk(DiskAdoption(image: "left.img", name: "found", blockSize: 4096))
        #expect(disk.spec.size == 8192 && disk.spec.blockSize == 4096 && disk.spec.image == nil)
        #expect(disk.status.image == fixture.path + "/disks/left.img" && disk.spec.format == .raw)
        let cartridge = try await controller.adoptCartridge(
            library: "vtl", CartridgeAdoption(cartridge: fixture.path + "/libraries/vtl/X00001L8.tape"))
        #expect(cartridge.status.place == "vault" && cartridge.spec.size == 1 << 20)
        #expect(cartridge.status.serialNumber == "SN-X00001L8")
        #expect(
            try await controller.importCartridge("X00001L8", library: "vtl").status.place
                == "mail:1")
        try fixture.makeCartridge(fixture.path + "/libraries/old/C00001L8.tape/damaged")
        let library = try await controller.adoptLibrary(
            LibraryAdoption(name: "old", profile: "p", drives: 2, driveProfile: "d", slots: 1, mailSlots: 0))
        #expect(library.library.spec.slots == 1 && library.library.spec.drives == 2)
        #expect(library.library.status.cartridges == 1 && library.library.status.exported == 1)
        #expect(library.left == ["\(fixture.path)/libraries/old/C00001L8.tape cannot be used"])
        #expect(try await controller.target("old").status.units.count == 3)
        #expect(try await controller.status().unclaimed.isEmpty)
        let image = fixture.elsewhere + "/image"
        try Data(count: 512).write(to: URL(fileURLWithPath: image))
        let external = try await controller.adoptDisk(DiskAdoption(image: image))
        #expect(external.name == "image" && external.spec.image == image)
        await controller.shutDown()
    }

    @Test("a folder without a cartridge that can be used is no library, and stays")
    func emptyLibrary() async throws {
        try await controller.start()
        let path = fixture.path + "/libraries/old"
        try FileManager.default.createDirectory(atPath: path + "/notes", withIntermediateDirectories: true)
        let empty = await fixture.refusal { try await controller.adoptLibrary(AdoptionOperation.old) }
        #expect(empty?.code == .conflict && empty?.message.hasPrefix("there is no cartridge in \(path)") == true)
        try fixture.makeCartridge(path + "/A00001L8.tape/damaged")
        let damaged = await fixture.refusal { try await controller.adoptLibrary(AdoptionOperation.old) }
        #expect(damaged?.code == .conflict)
        #expect(
            damaged?.message == "no cartridge in \(path) can be taken up: \(path)/A00001L8.tape cannot be used")
        #expect(try await controller.libraries().isEmpty && fixture.devices.libraries.isEmpty)
        #expect(fixture.media() == ["A00001L8.tape"])
        try fixture.makeCartridge(path + "/B00001L8.tape")
        #expect(try await controller.adoptLibrary(AdoptionOperation.old).library.status.cartridges == 1)
        await controller.shutDown()
    }

    @Test("a library is not deleted with cartridges in its folder that nobody has adopted")
    func strangers() async throws {
        try await fixture.prepareAdoption()
        let refusal = await fixture.refusal { try await controller.deleteLibrary("vtl") }
        #expect(refusal?.code == .conflict)
        #expect(refusal?.message.contains("vtl/X00001L8.tape would go with library 'vtl'") == true)
        #expect(fixture.devices.libraries.contains("vtl"))
        try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "X00001L8"))
        try await controller.deleteLibrary("vtl")
        #expect(!fixture.media().contains("X00001L8.tape"))
    }

    @Test("what is known already, in use elsewhere or no medium is refused and stays")
    func refusals() async throws {
        try await fixture.prepareAdoption()
        let other = try ControllerFixture()
        try await other.controller.start()
        try await other.makeLibrary()
        try fixture.makeCartridge(fixture.elsewhere + "/A00001L8.tape")
        try fixture.makeCartridge(fixture.elsewhere + "/Z.tape/damaged")
        try fixture.makeCartridge(fixture.elsewhere + "/.Y.tape")
        let media = fixture.media()
        let disks: [(DiskAdoption, ManagementError.Code)] = [
            (DiskAdoption(image: "d", name: "e"), .conflict), (DiskAdoption(image: "left", name: "d"), .conflict),
            (DiskAdoption(image: "left", name: "Bad"), .invalid), (DiskAdoption(image: "none"), .notFound),
            (DiskAdoption(image: ""), .invalid), (DiskAdoption(image: "../catalog.sqlite"), .invalid),
            (DiskAdoption(image: fixture.path + "/catalog.sqlite", name: "c"), .invalid),
            (DiskAdoption(image: "left", blockSize: 520), .invalid),
        ]
        for (request, code) in disks {
            let refusal = await fixture.refusal { try await controller.adoptDisk(request) }
            #expect(refusal?.code == code, "\(request): \(refusal?.message ?? "-")")
        }
        let cartridges: [(String, ManagementError.Code)] = [
            ("A00001L8", .conflict), (fixture.elsewhere + "/A00001L8.tape", .conflict), ("none", .notFound),
            (fixture.elsewhere + "/Z.tape", .damaged), (fixture.elsewhere + "/.Y.tape", .notFound),
            ("../old/A00001L8", .invalid), (other.path + "/libraries/vtl/A00002L8.tape", .invalid), ("", .notFound),
            (fixture.path + "/libraries/vtl", .notFound),
        ]
        for (cartridge, code) in cartridges {
            let refusal = await fixture.refusal {
                try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: cartridge))
            }
            #expect(refusal?.code == code, "\(cartridge): \(refusal?.message ?? "-")")
        }
        // The serial number of a cartridge that is known under another label.
        try await controller.adoptCartridge(library: "vtl", CartridgeAdoption(cartridge: "X00001L8"))
        try fixture.makeCartridge(fixture.path + "/libraries/old/X00001L8.tape")
        let result = try await controller.adoptLibrary(AdoptionOperation.old)
        #expect(result.left.count == 1 && result.left[0].contains("'X00001L8' of library 'vtl'"))
        for (request, code) in [
            (AdoptionOperation.old, ManagementError.Code.conflict),
            (LibraryAdoption(name: "none", profile: "p", drives: 1, driveProfile: "d", mailSlots: 0), .notFound),
        ] {
            #expect(await fixture.refusal { try await controller.adoptLibrary(request) }?.code == code)
        }
        #expect(fixture.media() == media)
        await other.controller.shutDown()
    }
}
