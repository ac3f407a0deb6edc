import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Disks")
struct DiskTests {
    let fixture: ControllerFixture
    let controller: Controller
    let devices: FakeDevices

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
        devices = fixture.devices
    }

    @Test("a disk has an image of its size, a target, and runs; deleting leaves nothing")
    func lifecycle() async throws {
        let disk = try await controller.createDisk("a", Disk.Spec.raw(size: 1_000_000, blockSize: 4096))
        #expect(disk.spec.size == 1_003_520)
        #expect(disk.status.target == "iqn.2026-11.dev.carousel:a")
        #expect(devices.disks == ["a": 1_003_520])
        let attributes = try FileManager.default.attributesOfItem(atPath: fixture.path + "/disks/a.img")
        #expect(attributes[.size] as? Int == 1_003_520)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(try await controller.target("a").status.units.map(\.kind) == ["disk"])
        let larger = try await controller.changeDisk("a", to: Disk.Spec.raw(size: 2 << 20))
        #expect(larger.spec.size == 2 << 20)
        #expect(larger.status.serialNumber == disk.status.serialNumber)
        try await controller.deleteDisk("a")
        #expect(fixture.files() == ["disks", "libraries"])
        #expect(devices.disks.isEmpty)
        #expect(try await controller.targets().isEmpty)
    }

    @Test(
        "a request that makes no sense changes nothing",
        arguments: [
            ("A", ["size": 1_048_576]), ("../a", ["size": 1_048_576]), ("", ["size": 1_048_576]), ("a", [:]),
            ("a", ["size": 0]), ("a", ["size": -512]), ("a", ["size": .integer(.max)]), ("a", ["size": "1GiB"]),
            ("a", ["size": .number(1.5)]), ("a", ["size": 1_048_576, "blockSize": 520]),
            ("a", ["size": 1_048_576, "blocksize": 4096]), ("a", ["size": 1_048_576, "image": "/nowhere/at/all.img"]),
            ("a", ["image": "/"]), ("a", ["image": "relative.img"]),
        ] as [(String, [String: JSONValue])])
    func badInput(name: String, spec: [String: JSONValue]) async throws {
        let before = fixture.files()
        let refusal = await fixture.refusal { try await fixture.endpoint("disks").create(name, spec) }
        #expect(refusal?.code == .invalid)
        #expect(fixture.files() == before)
        #expect(try await controller.disks().isEmpty)
    }

    @Test("a name is used once, for disks and libraries together")
    func takenNames() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        try await fixture.makeLibrary()
        for name in ["a", "vtl"] {
            let refusal = await fixture.refusal {
                try await controller.createDisk(name, Disk.Spec.raw(size: 1 << 20))
            }
            #expect(refusal?.code == .conflict)
        }
        #expect(await fixture.refusal { try await fixture.makeLibrary("a") }?.code == .conflict)
    }

    @Test("names that are not there are named in the refusal")
    func unknownNames() async throws {
        let refusals = [
            await fixture.refusal { try await controller.disk("x") },
            await fixture.refusal { try await controller.deleteDisk("x") },
            await fixture.refusal { try await controller.changeDisk("x", to: Disk.Spec.raw(size: 1)) },
            await fixture.refusal { try await controller.target("x") },
        ]
        #expect(refusals.allSatisfy { $0?.code == .notFound && $0?.message.contains("'x'") == true })
    }

    @Test("a device that does not start leaves neither row nor file")
    func rollback() async throws {
        let before = fixture.files()
        devices.fail(with: ManagementError(.system, "no"))
        let refusal = await fixture.refusal { try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20)) }
        #expect(refusal?.message == "no")
        #expect(fixture.files() == before)
        #expect(try await controller.disks().isEmpty)
        devices.fail(with: nil)
        try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        devices.fail(with: ManagementError(.system, "no"))
        let growth = await fixture.refusal { try await controller.changeDisk("a", to: Disk.Spec.raw(size: 1 << 21)) }
        #expect(growth?.message == "no")
        #expect(try await controller.disk("a").spec.size == 1 << 20)
    }

    @Test("an external image keeps its content, is used once, and stays")
    func externalImage() async throws {
        let image = NSTemporaryDirectory() + "carousel-image-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: image) }
        try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: image))
        let sizes: [Int64] = [4096, 1 << 20]
        for size in sizes {
            let refusal = await fixture.refusal {
                try await controller.createDisk("a", Disk.Spec(size: size, image: image))
            }
            #expect(refusal?.code == .invalid)
        }
        let disk = try await controller.createDisk("a", Disk.Spec(size: nil, image: image))
        #expect(disk.spec.size == 8192)
        #expect(disk.spec.image == image)
        let twice = await fixture.refusal {
            try await controller.createDisk("b", Disk.Spec(size: nil, image: image))
        }
        #expect(twice?.code == .conflict)
        try await controller.deleteDisk("a")
        #expect(try Data(contentsOf: URL(fileURLWithPath: image)) == Data(repeating: 7, count: 8192))
    }

    @Test(
        "the daemon's own files are no images: not by their names, not by links",
        arguments: [
            "catalog.sqlite", "lock", "chap.json", "libraries/vtl/A00001L8.tape/partition0.data",
            "libraries/vtl/A00001L8.tape/index.sqlite",
        ])
    func ownFiles(name: String) async throws {
        try await fixture.makeLibrary()
        let file = fixture.path + "/" + name
        if !FileManager.default.fileExists(atPath: file) {
            try Data(count: 512).write(to: URL(fileURLWithPath: file))
        }
        let hardLink = NSTemporaryDirectory() + "carousel-link-\(UUID())"
        let symbolicLink = hardLink + ".symbolic"
        defer { for link in [hardLink, symbolicLink] { try? FileManager.default.removeItem(atPath: link) } }
        try FileManager.default.linkItem(atPath: file, toPath: hardLink)
        try FileManager.default.createSymbolicLink(atPath: symbolicLink, withDestinationPath: file)
        for path in [file, hardLink, symbolicLink] {
            let refusal = await fixture.refusal {
                try await controller.createDisk("a", Disk.Spec(size: nil, image: path))
            }
            #expect(refusal?.code == .invalid)
            #expect(
                refusal?.message.contains("needs for itself") == true
                    || refusal?.message.contains("state folder") == true)
        }
        #expect(try await controller.disks().isEmpty)
    }

    @Test("the name of a journal of atomic writes is for no image, through links of folders either")
    func journalNames() async throws {
        let files = FileManager.default
        let place = fixture.path + "-journals"
        defer { try? files.removeItem(atPath: place) }
        let (folder, link) = (place + "/folder", place + "/link")
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try files.createSymbolicLink(atPath: link, withDestinationPath: folder)
        for name in ["one", "one.atomic", "two", "two.atomic"] {
            try Data(count: 4096).write(to: URL(fileURLWithPath: folder + "/" + name))
        }
        func refusal(_ image: String) async -> String? {
            await fixture.refusal { try await controller.createDisk("x", Disk.Spec(size: nil, image: image)) }?.message
        }
        try await controller.createDisk("a", Disk.Spec(size: nil, image: folder + "/one"))
        try await controller.createDisk("b", Disk.Spec(size: nil, image: folder + "/two.atomic"))
        for path in [folder, link] {
            let journal = await refusal(path + "/one.atomic")
            #expect(journal?.contains("has the name of the journal of disk 'a'") == true)
            let image = await refusal(path + "/two")
            #expect(image?.contains("two.atomic, the medium of disk 'b'") == true)
        }
        // The medium is missing, and its name is its own all the same.
        try files.removeItem(atPath: folder + "/two.atomic")
        for path in [folder, link] {
            let image = await refusal(path + "/two")
            #expect(image?.contains("two.atomic, the medium of disk 'b'") == true)
        }
    }

    @Test("images of other disks are no images, under any name; those of no disk are")
    func imagesInTheFolder() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 4096))
        let image = fixture.path + "/disks/a.img"
        let link = fixture.path + "/disks/link.img"
        try FileManager.default.linkItem(atPath: image, toPath: link)
        for path in [image, link] {
            let refusal = await fixture.refusal {
                try await controller.createDisk("b", Disk.Spec(size: nil, image: path))
            }
            #expect(refusal?.message.contains("already the medium of disk 'a'") == true)
        }
        try await controller.deleteDisk("a")
        let disk = try await controller.createDisk("b", Disk.Spec(size: nil, image: link))
        #expect(disk.spec.size == 4096)
    }

    @Test("files of another daemon's state folder are no images")
    func otherStateFolder() async throws {
        let other = try ControllerFixture()
        try await other.controller.createDisk("x", Disk.Spec.raw(size: 4096))
        let refusal = await fixture.refusal {
            try await controller.createDisk(
                "a", Disk.Spec(size: nil, image: other.path + "/disks/x.img"))
        }
        #expect(refusal?.message.contains("the state folder of another daemon") == true)
    }

    @Test("a directory, a device and a file that is not there are no images")
    func noRegularFiles() async throws {
        for (path, words) in [
            (NSTemporaryDirectory(), "neither a regular file nor"), ("/dev/null", "neither a regular file nor"),
            ("/nonexistent/image", "does not exist"), ("/dev/null/image", "Not a directory"),
        ] {
            let refusal = await fixture.refusal {
                try await controller.createDisk("a", Disk.Spec(size: nil, image: path))
            }
            #expect(refusal?.code == .invalid)
            #expect(refusal?.message.contains(words) == true, "\(refusal?.message ?? "-")")
        }
    }

    @Test("a disk does not become smaller")
    func shrinking() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        let shrinkage = await fixture.refusal { try await controller.changeDisk("a", to: Disk.Spec.raw(size: 4096)) }
        #expect(shrinkage?.code == .invalid)
        #expect(try await controller.disk("a").spec.size == 1 << 20)
    }

    @Test("a disk in use is not deleted, but grows")
    func inUse() async throws {
        try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        devices.logIn(to: "a")
        #expect(await fixture.refusal { try await controller.deleteDisk("a") }?.code == .inUse)
        #expect(try await controller.changeDisk("a", to: Disk.Spec.raw(size: 2 << 20)).spec.size == 2 << 20)
        #expect(try await controller.disk("a").status.sessions == 1)
    }
}
