import Bytes
import DeviceTestSupport
import DiskDevice
import Foundation
import Logging
import ManagementTestSupport
import Platform
import Resources
import SCSI
import TargetCore
import Testing

@testable import Management
@testable import Media

/// A loss of written data is shown, in words that say since when and what to do, until it is acknowledged.
@Suite("Losses that operators see", .serialized)
struct LossTests {
    private let time = Date(timeIntervalSince1970: 1_700_000_000)
    private let timeText = "2023-11-14T22:13:20Z"

    /// What `problem` must say of a loss.
    private func expectWords(_ problem: String?, _ command: String) {
        let problem = problem ?? "nothing"
        for words in ["lost at \(timeText)", "refuses writes", "(the host's file system is full)", "'\(command)'"] {
            #expect(problem.contains(words), "\(problem)")
        }
    }

    @Test("a disk that has lost data says so in lists and in the status until that is acknowledged")
    func disk() async throws {
        let fixture = try ControllerFixture()
        let controller = fixture.controller
        for name in ["a", "b"] { try await controller.createDisk(name, Disk.Spec.raw(size: 1 << 20)) }
        fixture.devices.lose("b", since: time, reason: "the host's file system is full")
        let disks = try await controller.disks()
        #expect(disks.map(\.status.state) == [.serving, .dataLost])
        #expect(disks[0].status.problem == nil && disks[0].status.loss == nil)
        #expect(disks[1].status.loss == LossSummary(since: time, reason: "the host's file system is full"))
        expectWords(disks[1].status.problem, "carousel disk acknowledge-loss b")
        #expect(try await controller.disk("b") == disks[1])
        #expect(try await controller.status().problems == disks.compactMap(\.status.problem))
        let resize = await fixture.refusal { try await controller.changeDisk("b", to: Disk.Spec.raw(size: 2 << 20)) }
        #expect(resize?.code == .conflict)
        #expect(resize?.message == disks[1].status.problem)
        #expect(try await controller.disk("b").spec.size == 1 << 20)
        try await controller.acknowledgeLoss(ofDisk: "b")
        #expect(try await controller.changeDisk("b", to: Disk.Spec.raw(size: 2 << 20)).status.state == .serving)
        #expect(try await controller.disks().map(\.status.state) == [.serving, .serving])
        #expect(try await controller.status().problems.isEmpty)
        let refusal = await fixture.refusal { try await controller.acknowledgeLoss(ofDisk: "b") }
        #expect(refusal?.code == .conflict)
    }

    @Test("a cartridge that has lost data says so, its library is degraded, and it can be moved")
    func cartridge() async throws {
        let fixture = try ControllerFixture()
        let controller = fixture.controller
        try await fixture.makeLibrary(cartridges: 2)
        fixture.devices.lose("A00001L8", since: time, reason: "the host's file system is full")
        let cartridges = try await controller.cartridges()
        #expect(cartridges.map(\.status.state) == [.dataLost, .ready])
        #expect(cartridges[0].status.loss == LossSummary(since: time, reason: "the host's file system is full"))
        expectWords(cartridges[0].status.problem, "carousel tape acknowledge-loss vtl A00001L8")
        let shown = try await controller.cartridge("A00001L8", library: "vtl")
        #expect(shown.status.problem == cartridges[0].status.problem)
        let library = try await controller.library("vtl")
        #expect(library.status.state == .degraded)
        #expect(try await controller.status().problems == [try #require(library.status.problem)])
        #expect(library.status.problem?.hasPrefix("library 'vtl': cartridge 'A00001L8': data") == true)
        let move = Library.Move.Arguments(from: "slot:1", to: "drive:1")
        #expect(try await controller.move(library: "vtl", move).status.state == .dataLost)
        fixture.devices.lose("A00002L8", since: nil, reason: "input or output failed")
        let problem = try await controller.status().problems.first
        #expect(problem?.contains("2 cartridges have lost data that were written, 'A00001L8' among them") == true)
        let second = try await controller.cartridge("A00002L8", library: "vtl")
        #expect(second.status.problem?.contains("lost (input") == true)
        for barcode in ["A00001L8", "A00002L8"] {
            try await controller.acknowledgeLoss(ofCartridge: barcode, library: "vtl")
        }
        #expect(try await controller.library("vtl").status.state == .serving)
        #expect(try await controller.status().problems.isEmpty)
    }

    @Test("a dry run of an acknowledgement tells whether there is something to acknowledge, and acknowledges nothing")
    func tried() async throws {
        let fixture = try ControllerFixture()
        let controller = fixture.controller
        try await controller.createDisk("a", Disk.Spec.raw(size: 1 << 20))
        try await fixture.makeLibrary(cartridges: 1)
        for isLost in [false, true] {
            if isLost { for name in ["a", "A00001L8"] { fixture.devices.lose(name, since: time, reason: "lost") } }
            let codes = [
                await fixture.refusal {
                    try await DryRun.of { () throws(ManagementError) in
                        try await controller.acknowledgeLoss(ofDisk: "a")
                    }
                }?.code,
                await fixture.refusal {
                    try await DryRun.of { () throws(ManagementError) in
                        try await controller.acknowledgeLoss(ofCartridge: "A00001L8", library: "vtl")
                    }
                }?.code,
            ]
            #expect(codes == (isLost ? [nil, nil] : [.conflict, .conflict]))
        }
        #expect(try await controller.disk("a").status.state == .dataLost)
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.state == .dataLost)
    }

    @Test("a move that loses data of what it takes out of a drive says so, and has happened; the next ones do not")
    func lossAtMove() async throws {
        let fixture = try ControllerFixture()
        let controller = fixture.controller
        try await fixture.makeLibrary(cartridges: 1)
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:1", to: "drive:1"))
        fixture.devices.loseAtNextMove(since: time, reason: "the host's file system is full")
        let refusal = await fixture.refusal {
            try await controller.move(library: "vtl", Library.Move.Arguments(from: "drive:1", to: "slot:2"))
        }
        #expect(refusal?.code == .system)
        #expect(refusal?.message.hasPrefix("cartridge 'A00001L8' is in slot:2 now, but data") == true)
        expectWords(refusal?.message, "carousel tape acknowledge-loss vtl A00001L8")
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.place == "slot:2")
        for places in [("slot:2", "drive:1"), ("drive:1", "slot:1")] {
            let move = Library.Move.Arguments(from: places.0, to: places.1)
            #expect(try await controller.move(library: "vtl", move).status.place == places.1)
        }
        #expect(await !controller.shutDown())
    }

    // MARK: With real devices

    private let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"

    private func serving(
        isWrittenOut: Bool = true, _ body: (Controller) async throws -> Void
    ) async throws {
        let isWritten = try await serveDevices(at: path) { controller, _ in try await body(controller) }
        #expect(isWritten == isWrittenOut)
    }

    /// Puts a loss into the superblocks of a cartridge.
    private func lose(_ barcode: String) throws {
        let file = URL(filePath: path + "/libraries/vtl/\(barcode).tape/partition0.data")
        var data = try Data(contentsOf: file)
        let page = Array(data[..<4096])
        guard case .valid(var superblock) = Superblock.decode(page.rawSpan) else {
            Issue.record("no superblock")
            return
        }
        superblock.loss = Superblock.Loss(
            errorNumber: UInt16(Errno.noSpace), durableObjects: 0, time: CalendarTime(seconds: 1_700_000_000))
        for copy in 0..<2 { data.replaceSubrange(copy * 4096..<(copy + 1) * 4096, with: superblock.encoded()) }
        try data.write(to: file)
    }

    @Test("the image tells the next daemon of the loss, with its time; an acknowledgement ends it for good")
    func diskOverRestart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        var image = ""
        try await serving { image = try await $0.createDisk("a", Disk.Spec.raw(size: 1 << 20)).status.image }
        let note = LossNote(errorNumber: Errno.noSpace, time: CalendarTime(seconds: 1_700_000_000))
        try #require(try File.open(path: image, .readWrite).noteLoss(note) == 0)
        try await serving(isWrittenOut: false) { _ in }
        try await serving { controller in
            let disk = try await controller.disk("a")
            #expect(disk.status.state == .dataLost)
            expectWords(disk.status.problem, "carousel disk acknowledge-loss a")
            #expect(try await controller.status().problems == [try #require(disk.status.problem)])
            try await controller.acknowledgeLoss(ofDisk: "a")
            #expect(try await controller.disk("a").status.state == .serving)
        }
        try await serving { controller in
            let status = try await controller.status()
            #expect(status.problems.isEmpty)
        }
    }

    @Test("an image that is cut is a loss, which no resize covers up and nobody acknowledges before it is whole again")
    func truncatedDisk() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            let disk = try await controller.createDisk("a", Disk.Spec.raw(size: 8 << 20))
            let file = try File.open(path: disk.status.image, .readWrite)
            try #require(file.truncate(to: 1 << 20) == 0)
            do {
                _ = try await controller.changeDisk("a", to: Disk.Spec.raw(size: 16 << 20))
                Issue.record("resized")
            } catch {
                #expect("\(error)".contains("is 1048576 bytes long, but its disk has 8388608"), "\(error)")
            }
            #expect(try file.size() == 1 << 20)
            let lost = try await controller.disk("a")
            #expect(lost.status.state == .dataLost && lost.spec.size == 8 << 20)
            #expect(lost.status.problem?.contains("(the file is shorter than the medium)") == true)
            do {
                try await controller.acknowledgeLoss(ofDisk: "a")
                Issue.record("acknowledged")
            } catch {
                #expect("\(error)".contains("'truncate -s 8388608 \(disk.status.image)'"), "\(error)")
            }
            try #require(file.truncate(to: 8 << 20) == 0)
            try await controller.acknowledgeLoss(ofDisk: "a")
            #expect(try await controller.disk("a").status.state == .serving)
        }
    }

    @Test("a cartridge tells of its loss in a slot and in a drive; an acknowledgement ends it for good")
    func cartridgeOverRestart() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary(
                "vtl",
                Library.Spec(
                    profile: "ibm-03584l32", drives: 1, driveProfile: "ibm-ult3580-td8", slots: 4,
                    mailSlots: 1, cartridges: 3, firstBarcode: "V00001L8", cartridgeSize: 16 << 20))
            let move = Library.Move.Arguments(from: "slot:1", to: "drive:1")
            _ = try await controller.move(library: "vtl", move)
        }
        for barcode in ["V00001L8", "V00002L8"] { try lose(barcode) }
        try await serving { controller in
            let cartridges = try await controller.cartridges(library: "vtl")
            #expect(cartridges.map(\.status.state) == [.dataLost, .dataLost, .ready])
            #expect(cartridges.map(\.status.place) == ["drive:1", "slot:2", "slot:3"])
            for cartridge in cartridges[..<2] {
                expectWords(
                    cartridge.status.problem,
                    "carousel tape acknowledge-loss \(cartridge.name.replacing("/", with: " "))")
            }
            #expect(try await controller.status().problems.first?.contains("2 cartridges have lost data") == true)
            let move = Library.Move.Arguments(from: "drive:1", to: "slot:1")
            #expect(try await controller.move(library: "vtl", move).status.state == .dataLost)
            let back = Library.Move.Arguments(from: "slot:1", to: "drive:1")
            #expect(try await controller.move(library: "vtl", back).status.state == .dataLost)
            for barcode in ["V00001L8", "V00002L8"] {
                try await controller.acknowledgeLoss(ofCartridge: barcode, library: "vtl")
                #expect(try await controller.cartridge(barcode, library: "vtl").status.state == .ready)
            }
            #expect(try await controller.status().problems.isEmpty)
        }
        try await serving { controller in
            let cartridges = try await controller.cartridges()
            #expect(cartridges.allSatisfy { $0.status.state == .ready })
        }
    }

    @Test("the log tells of a loss on a disk, and of what a restart makes of one that cannot be recorded")
    func logLine() throws {
        for keepsNotes in [true, false] {
            let store = SimulatedStore([UInt8](repeating: 0, count: 4096))
            store.keepsNotes = keepsNotes
            let image = RawDiskImage(
                store: store, engine: SimulatedEngine(), path: "test", blockSize: 512, capacity: store.size())
            let server = DiskDeviceServer(
                image: image,
                identity: DeviceIdentity(vendor: "V", product: "P", revision: "1", serialNumber: "S", naa: 1))
            let lines = Lock<[String]>([])
            let logger = Logger.collecting(.info) { line in lines.withLock { $0.append(line) } }
            LocalDevices.tellLosses(ofDisk: "a", server, logger: logger)
            store.failSynchronizations(Errno.inputOutput)
            for _ in 0..<2 { #expect(image.synchronize() != nil) }
            let line = lines.withLock { $0 }.first ?? ""
            #expect(lines.withLock { $0.count } == 1)
            #expect(line.contains("not written until the loss is acknowledged") && line.contains("disk=a"))
            #expect(line.contains("could not be marked") == !keepsNotes)
            #expect(line.contains("unmarked=") == !keepsNotes)
        }
    }

    @Test("what a drive tells of a loss is shown although the files do not say it, until it is known")
    func register() {
        let register = CartridgeRegister()
        let loss = LossSummary(since: time, reason: "input or output failed")
        func examine(_ findings: CartridgeFindings) {
            register.setExamined(findings, among: ["A"], since: register.beginLook())
        }
        func load(_ problem: CartridgeProblem?) {
            register.setLoaded(problem, loss: nil, "A", since: register.epoch)
        }
        examine(CartridgeFindings())
        register.setLoss(loss, "A")
        examine(CartridgeFindings())
        #expect(register.findings.losses == ["A": loss])
        load(CartridgeProblem(.damaged, "x"))
        #expect(register.findings.losses == ["A": loss])
        load(nil)
        #expect(register.findings.losses.isEmpty && register.findings.problems.isEmpty)
        examine(CartridgeFindings(losses: ["A": loss]))
        #expect(register.acknowledge("A", since: register.epoch))
        #expect(register.findings.losses.isEmpty)
        #expect(!register.acknowledge("A", since: register.epoch))
        register.setLoss(loss, "A")
        register.forget("A")
        #expect(register.findings.losses.isEmpty)
    }

    @Test("what was found out before something newer was told of a loss changes nothing of it")
    func staleFindings() {
        let register = CartridgeRegister()
        let old = LossSummary(since: nil, reason: "input or output failed")
        let loss = LossSummary(since: time, reason: "the host's file system is full")
        // A load that read the files before the drive told.
        let load = register.epoch
        register.setLoss(loss, "A")
        register.setLoaded(nil, loss: nil, "A", since: load)
        #expect(register.findings.losses == ["A": loss])
        // An acknowledgement of an older loss than the one that is known now.
        let acknowledgement = register.epoch
        register.setLoss(loss, "A")
        #expect(register.acknowledge("A", since: acknowledgement))
        #expect(register.findings.losses == ["A": loss])
        // A look at the files before the acknowledgement; other cartridges are not concerned.
        let look = register.beginLook()
        register.acknowledge("A", since: look)
        register.setExamined(CartridgeFindings(losses: ["A": old, "B": old]), among: ["A", "B"], since: look)
        #expect(register.findings.losses == ["B": old])
        register.setExamined(
            CartridgeFindings(losses: ["A": old]), among: ["A", "B"], since: register.beginLook())
        #expect(register.findings.losses == ["A": old])
    }

    @Test("a look at the files that takes long notes nothing of what has gone meanwhile, and all of what comes then")
    func goneMeanwhile() {
        let register = CartridgeRegister()
        let missing = CartridgeProblem(.missing, "its files are missing")
        let findings = CartridgeFindings(
            problems: ["A": missing, "B": missing], losses: ["A": LossSummary(since: nil, reason: "it was lost")])
        let (slow, slower) = (register.beginLook(), register.beginLook())
        register.forget("A")
        for look in [slow, slower] {
            register.setExamined(findings, among: ["A", "B"], since: look)
            #expect(register.findings.problems.keys.sorted() == ["B"] && register.findings.losses.isEmpty)
        }
        // Another one of that barcode.
        register.setExamined(findings, among: ["A", "B"], since: register.beginLook())
        #expect(register.findings.problems.count == 2 && register.findings.losses == findings.losses)
    }
}
