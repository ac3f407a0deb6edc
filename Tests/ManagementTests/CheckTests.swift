import Catalog
import Dispatch
import Foundation
import GRDB
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Checks")
final class CheckTests {
    private let fixture: ControllerFixture
    private let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    private func check(_ names: [String] = [], repairs: Bool = false) async throws -> CheckStatus {
        _ = try await controller.startCheck(CheckRequest(names: names, repairs: repairs))
        await controller.plane.check?.finished()
        return try await controller.checkStatus()
    }

    @Test("everything is checked: catalog, disks, cartridges; those in drives are left out")
    func everything() async throws {
        #expect(await fixture.refusal { try await controller.checkStatus() }?.code == .notFound)
        try await controller.createDisk("d", .raw(size: 8192))
        try await fixture.makeLibrary()
        _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "slot:2", to: "drive:1"))
        let status = try await check()
        #expect(!status.isRunning && !status.isCancelled && status.ended != nil)
        #expect(status.checked == 4 && status.subjects == 4)
        #expect(status.done == status.total)
        #expect(status.findings.map(\.name) == ["vtl/A00002L8"])
        #expect(status.findings[0].severity == .note && !status.findings[0].isOpen)
    }

    @Test("names choose what is checked; a name that nothing has is refused")
    func names() async throws {
        try await controller.createDisk("d", Disk.Spec(size: 8192))
        try await fixture.makeLibrary()
        #expect(try await check(["d"]).subjects == 1)
        #expect(try await check(["vtl"]).subjects == 2)
        #expect(try await check(["vtl/A00001L8", "d"]).subjects == 2)
        #expect(try await check(["d", "vtl/A00001L8", "vtl", "d", "vtl"]).subjects == 3, "each once")
        for name in ["x", "vtl/X", "x/A00001L8", "", "/"] {
            #expect(await fixture.refusal { try await check([name]) }?.code == .notFound)
        }
    }

    @Test("images that are missing, cut, grown or marked are found")
    func images() async throws {
        for name in ["a", "b", "c", "d", "e"] {
            try await controller.createDisk(name, .raw(size: 8192))
        }
        let folder = fixture.path + "/disks/"
        try FileManager.default.removeItem(atPath: folder + "a.img")
        #expect(try File.open(path: folder + "b.img", .readWrite).truncate(to: 4096) == 0)
        #expect(try File.open(path: folder + "c.img", .readWrite).truncate(to: 16384) == 0)
        fixture.devices.lose("d", since: nil, reason: "no space")
        let findings = try await check().findings
        #expect(findings.map(\.name) == ["a", "b", "c", "d"])
        #expect(findings.map(\.severity) == [.error, .error, .note, .error])
        #expect(findings[0].sentence.contains("is missing"))
        #expect(findings[1].sentence.contains("truncated, with 4096 of 8192 bytes"))
        #expect(findings[3].sentence.contains("no space"))
    }

    @Test("a catalog that SQLite finds broken, or whose rows refer to none, is found")
    func catalog() async throws {
        try await fixture.makeLibrary()
        let raw = try DatabaseQueue(path: fixture.path + "/catalog.sqlite")
        try await raw.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA foreign_keys = OFF")
            try database.execute(sql: "UPDATE cartridge SET elementNumber = 9999 WHERE barcode = 'A00001L8'")
        }
        try raw.close()
        let findings = try await check().findings
        #expect(findings.map(\.kind) == [.catalog])
        #expect(findings[0].sentence.contains("of table 'cartridge' refers to none of 'element'"))
    }

    @Test("a check of a file that does not answer keeps the daemon neither from ending nor from writing out")
    func hangingCheck() async throws {
        try await fixture.makeLibrary()
        let barrier = Barrier()
        fixture.devices.whenChecking { _ in barrier.pass() }
        _ = try await controller.startCheck(CheckRequest())
        await barrier.waitForArrival()
        // Without a bound this never comes back.
        #expect(await controller.shutDown())
        #expect(fixture.devices.isShutDown)
        barrier.open(2)
        await controller.plane.check?.finished()
    }

    @Test("one check runs at a time, and is ended when somebody says so")
    func cancellation() async throws {
        try await fixture.makeLibrary(slots: 30, cartridges: 30)
        let gate = DispatchSemaphore(value: 0)
        let begun = DispatchSemaphore(value: 0)
        fixture.devices.whenChecking { _ in
            begun.signal()
            gate.wait()
        }
        let job = try await controller.startCheck(CheckRequest())
        #expect((job.verb, job.kind, job.name, job.unit) == ("check", "everything", "", "bytes"))
        await Self.wait(begun)
        #expect(try controller.job(job.id).state == .running)
        let refusal = await fixture.refusal { try await controller.startCheck(CheckRequest()) }
        #expect(refusal?.code == .conflict && refusal?.message.contains("job \(job.id)") == true)
        _ = try controller.cancelJob(job.id)
        for _ in 0..<30 { gate.signal() }
        #expect(await fixture.refusal { try await controller.finish(job.id) } == Job.wasCancelled)
        #expect(try controller.job(job.id).state == .cancelled)
        #expect(try await controller.checkStatus().job == job.id)
        let status = try await controller.checkStatus()
        #expect(!status.isRunning && status.isCancelled)
        #expect(status.checked < status.subjects)
        fixture.devices.whenChecking { _ in }
        #expect(try await !check().isCancelled)
    }

    private static func wait(_ semaphore: DispatchSemaphore) async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                semaphore.wait()
                continuation.resume()
            }
        }
    }

    @Test("more findings than are kept are counted")
    func limit() async throws {
        let many = (0..<Check.findingLimit).map { Finding(.disk, "\($0)", .error, "x") }
        let subject = CheckSubject(length: { 10 }, check: { _ in many })
        let check = Check([subject, subject])
        let job = Job(
            id: 7, subject: Job.Subject(verb: "check", kind: "everything", name: "", unit: JobSummary.bytes),
            actor: .daemon, total: 0)
        check.begin(as: job)
        await check.finished()
        #expect(check.status.findings.count == Check.findingLimit && check.status.omitted == Check.findingLimit)
        #expect(check.status.job == 7 && job.summary.done == 20 && job.summary.total == 20)
    }
}

/// Checks of real cartridges, with the fixture of real devices.
extension LocalDevicesTests {
    private func check(_ controller: Controller, repairs: Bool = false) async throws -> [Finding] {
        _ = try await controller.startCheck(CheckRequest(names: ["vtl"], repairs: repairs))
        await controller.plane.check?.finished()
        return try await controller.checkStatus().findings
    }

    @Test("an index is made anew when the data file has all, and not when it is the only witness of a loss")
    func repair() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serving { controller in
            try await controller.createLibrary("vtl", library(slots: 4, cartridges: 4))
            #expect(try await check(controller).isEmpty)
            let folder = path + "/libraries/vtl/V0000"
            let files = FileManager.default
            try files.removeItem(atPath: folder + "1L8.tape/index.sqlite")
            try Data(count: 8192).write(to: URL(fileURLWithPath: folder + "2L8.tape/partition0.data"))
            try files.removeItem(atPath: folder + "3L8.tape")
            let found = try await check(controller)
            #expect(found.map(\.name) == ["vtl/V00001L8", "vtl/V00002L8", "vtl/V00003L8"])
            #expect(found.map(\.isRepairable) == [true, false, false])
            #expect(found.map(\.isRepaired) == [false, false, false])
            #expect(found[0].sentence.contains("there is no index; --repair makes it anew"))
            #expect(!files.fileExists(atPath: folder + "1L8.tape/index.sqlite"))
            let repaired = try await check(controller, repairs: true)
            #expect(repaired.map(\.isRepaired) == [true, false, false])
            #expect(repaired.filter(\.isOpen).count == 2)
            let events = try await controller.events(kind: "cartridge").filter { $0.verb == "repair" }
            #expect(events.map(\.name) == ["vtl/V00001L8"])
            #expect(try await check(controller).count == 2)
        }
    }

    @Test("whoever wants a cartridge that is being checked gets it")
    func interrupted() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await servingDevices { controller, devices in
            try await controller.createLibrary("vtl", library())
            try hold("V00001L8", devices)
            let move = Library.Move.Arguments(from: "slot:1", to: "drive:1")
            #expect(try await controller.move(library: "vtl", move).status.state == .ready)
            // Also when it is deleted with its library, which does not run any more then.
            try hold("V00002L8", devices)
            try await controller.deleteLibrary("vtl")
            #expect(try await controller.status().problems.isEmpty)
        }
    }

    /// Does as a check does that has the lock of the cartridge, and lets go of it at its next read.
    private func hold(_ barcode: String, _ devices: LocalDevices) throws {
        let folder = path + "/libraries/vtl/\(barcode).tape"
        let check = CartridgeCheck()
        #expect(devices.checks.begin(check, folder))
        #expect(!devices.checks.begin(CartridgeCheck(), folder))
        let held = Lock<File?>(try Self.locked(folder + "/partition0.data"))
        DispatchQueue.global().async {
            while check.goesOn { Thread.sleep(forTimeInterval: 0.001) }
            held.withLock { $0 = nil }
            devices.checks.end(check, folder)
        }
    }

    private static func locked(_ path: String) throws -> File {
        let file = try File.open(path: path, .readWrite)
        #expect(try file.lock())
        return file
    }
}
