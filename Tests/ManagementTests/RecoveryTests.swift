import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

/// Lets changes of files and catalog pass until it is set: then some more pass, and one fails, or all that follow as
/// well, as if the process had ended there.
final class Breaker: Sendable {
    private struct State {
        var remaining: Int?
        var isLasting = false
        var hasBroken = false
    }
    private let state = Lock(State())

    /// Whether a change has failed.
    var hasBroken: Bool { state.withLock { $0.hasBroken } }

    func set(after count: Int, isLasting: Bool) {
        state.withLock { $0 = State(remaining: count, isLasting: isLasting) }
    }

    func pass(_ path: String) throws(ManagementError) {
        let fails = state.withLock { state in
            guard let remaining = state.remaining else { return false }
            guard remaining == 0 else {
                state.remaining = remaining - 1
                return false
            }
            if !state.isLasting { state.remaining = nil }
            state.hasBroken = true
            return true
        }
        if fails { throw ManagementError(.system, "no space for \(path)") }
    }
}

/// What is done to a state folder with a disk `d` and a library `vtl` of two cartridges.
enum Operation: String, CaseIterable {
    case createDisk
    case createLibrary
    case createCartridge
    case deleteDisk
    case deleteLibrary
    case deleteCartridge

    func callAsFunction(_ controller: Controller) async throws {
        switch self {
        case .createDisk: try await controller.createDisk("new", Disk.Spec(size: 4096))
        case .createLibrary:
            try await controller.createLibrary(
                "new",
                Library.Spec(
                    profile: "p", drives: 1, driveProfile: "d", slots: 3, mailSlots: 0, cartridges: 3,
                    firstBarcode: "N00001L8", cartridgeSize: 1 << 20))
        case .createCartridge:
            _ = try await controller.createCartridge("N00001L8", library: "vtl")
        case .deleteDisk: try await controller.deleteDisk("d")
        case .deleteLibrary: try await controller.deleteLibrary("vtl")
        case .deleteCartridge: try await controller.deleteCartridge("A00002L8", library: "vtl")
        }
    }

    /// What there is when it has not been done.
    var undone: Inventory { Inventory(disks: ["d"], libraries: ["vtl": ["A00001L8", "A00002L8"]]) }

    /// What there is when it has.
    var done: Inventory {
        var after = undone
        switch self {
        case .createDisk: after.disks.insert("new")
        case .createLibrary: after.libraries["new"] = ["N00001L8", "N00002L8", "N00003L8"]
        case .createCartridge: after.libraries["vtl", default: []].insert("N00001L8")
        case .deleteDisk: after.disks.remove("d")
        case .deleteLibrary: after.libraries["vtl"] = nil
        case .deleteCartridge: after.libraries["vtl", default: []].remove("A00002L8")
        }
        return after
    }
}

/// The names of disks, and of libraries with their cartridges.
struct Inventory: Equatable {
    var disks: Set<String> = []
    var libraries: [String: Set<String>] = [:]

    init(disks: Set<String>, libraries: [String: Set<String>]) {
        self.disks = disks
        self.libraries = libraries
    }

    /// What the controller tells; everything must be well.
    init(_ controller: Controller) async throws {
        for disk in try await controller.disks() {
            #expect(disk.status.state == .serving)
            disks.insert(disk.name)
        }
        for library in try await controller.libraries() {
            #expect(library.status.state == .serving)
            let cartridges = try await controller.cartridges(library: library.name)
            #expect(cartridges.allSatisfy { $0.status.state == .ready && $0.status.place != "vault" })
            libraries[library.name] = Set(cartridges.map { String($0.name.dropFirst(library.name.count + 1)) })
        }
        let status = try await controller.status()
        #expect(status.problems.isEmpty)
        #expect(status.unclaimed.isEmpty)
    }

    /// What there is of files.
    init(filesOf path: String) throws {
        func names(_ folder: String, _ suffix: String) throws -> Set<String> {
            Set(
                try FileManager.default.contentsOfDirectory(atPath: path + folder).map { name in
                    #expect(name.hasSuffix(suffix))
                    return String(name.dropLast(suffix.count))
                })
        }
        disks = try names("/disks", ".img")
        for library in try names("/libraries", "") {
            libraries[library] = try names("/libraries/\(library)", ".tape")
        }
    }
}

@Suite("What is interrupted")
struct RecoveryTests {
    /// The most changes of files and catalog that an operation can consist of.
    static let changeLimit = 50

    private let breaker = Breaker()
    let fixture: ControllerFixture

    init() throws {
        fixture = try ControllerFixture { [breaker] path throws(ManagementError) in try breaker.pass(path) }
    }

    private func prepare(_ fixture: ControllerFixture) async throws {
        try await fixture.controller.start()
        try await fixture.controller.createDisk("d", Disk.Spec(size: 4096))
        try await fixture.makeLibrary()
    }

    /// Another controller on the folder, as after a crash.
    private func restart(_ fixture: ControllerFixture) async throws -> Controller {
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let (controller, _) = try ControllerFixture.make(fixture.path)
        try await controller.start()
        return controller
    }

    @Test(
        "a crash before any change leaves all of it or nothing, in the catalog as in the files",
        arguments: Operation.allCases)
    func crash(_ operation: Operation) async throws {
        for count in 0..<Self.changeLimit {
            let breaker = Breaker()
            let fixture = try ControllerFixture { path throws(ManagementError) in try breaker.pass(path) }
            try await prepare(fixture)
            breaker.set(after: count, isLasting: true)
            let refusal = await fixture.refusal { try await operation(fixture.controller) }
            #expect((refusal != nil) == breaker.hasBroken, "after \(count) changes")
            let controller = try await restart(fixture)
            let found = try await Inventory(controller)
            #expect(try found == Inventory(filesOf: fixture.path), "after \(count) changes")
            #expect(found == operation.done || refusal != nil && found == operation.undone, "after \(count) changes")
            // Nothing is in the way of doing it again, or the other way round.
            if found == operation.undone { try await operation(controller) }
            #expect(try await Inventory(controller) == operation.done, "after \(count) changes")
            await controller.shutDown()
            guard breaker.hasBroken else { return }
        }
        Issue.record("\(operation) consists of \(Self.changeLimit) changes or more")
    }

    @Test(
        "a change that fails once undoes a creation; a deletion goes on with the reserve, or can be repeated",
        arguments: Operation.allCases)
    func failure(_ operation: Operation) async throws {
        for count in 0..<Self.changeLimit {
            let breaker = Breaker()
            let fixture = try ControllerFixture { path throws(ManagementError) in try breaker.pass(path) }
            try await prepare(fixture)
            breaker.set(after: count, isLasting: false)
            let refusal = await fixture.refusal { try await operation(fixture.controller) }
            let isCreation = operation.rawValue.hasPrefix("create")
            if breaker.hasBroken, isCreation || refusal != nil {
                #expect(refusal?.message.contains("no space for") == true, "after \(count) changes")
                if isCreation {
                    #expect(try await Inventory(fixture.controller) == operation.undone, "after \(count) changes")
                    #expect(try Inventory(filesOf: fixture.path) == operation.undone, "after \(count) changes")
                }
                try await operation(fixture.controller)
            }
            #expect(try await Inventory(fixture.controller) == operation.done, "after \(count) changes")
            #expect(try Inventory(filesOf: fixture.path) == operation.done, "after \(count) changes")
            await fixture.controller.shutDown()
            guard breaker.hasBroken else { return }
        }
        Issue.record("\(operation) consists of \(Self.changeLimit) changes or more")
    }

    @Test("what cannot be removed is shown, and does not keep the rest from being served")
    func stubborn() async throws {
        try await prepare(fixture)
        breaker.set(after: 1, isLasting: true)
        #expect(await fixture.refusal { try await fixture.controller.deleteLibrary("vtl") }?.code == .system)
        let shown = try #require(try await fixture.controller.libraries().first)
        #expect(shown.status.state == .notServed)
        #expect(shown.status.problem?.contains("'carousel library delete vtl' tries again") == true)
        #expect(fixture.devices.libraries.isEmpty)
        await fixture.controller.shutDown()
        fixture.controller.folder.release()
        let isStuck = Lock(true)
        let (controller, devices) = try ControllerFixture.make(fixture.path) { path throws(ManagementError) in
            if path.contains("/libraries/"), isStuck.withLock({ $0 }) { throw ManagementError(.system, "stuck") }
        }
        try await controller.start()
        #expect(Array(devices.disks.keys) == ["d"])
        #expect(try await controller.libraries().first?.status.state == .notServed)
        #expect(try await controller.status().problems.count == 1)
        isStuck.withLock { $0 = false }
        try await controller.deleteLibrary("vtl")
        #expect(try await controller.status().problems.isEmpty)
        #expect(try Inventory(filesOf: fixture.path) == Inventory(disks: ["d"], libraries: [:]))
    }

    @Test("files that no row claims are told of and stay, but for what was not finished of a cartridge")
    func unclaimed() async throws {
        try await prepare(fixture)
        let library = fixture.path + "/libraries/vtl"
        for path in [library + "/X00001L8.tape", library + "/.Y00001L8.tape", fixture.path + "/libraries/old"] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        }
        try Data(count: 512).write(to: URL(fileURLWithPath: fixture.path + "/disks/left.img"))
        let controller = try await restart(fixture)
        let unclaimed = try await controller.status().unclaimed
        #expect(unclaimed.map { ($0 as NSString).lastPathComponent } == ["left.img", "old", "X00001L8.tape"])
        #expect(unclaimed.allSatisfy { FileManager.default.fileExists(atPath: $0) })
        #expect(!FileManager.default.fileExists(atPath: library + "/.Y00001L8.tape"))
    }

    @Test("a missing cartridge is shown as missing, and the others are ready")
    func missingCartridge() async throws {
        try await prepare(fixture)
        try FileManager.default.removeItem(atPath: fixture.path + "/libraries/vtl/A00001L8.tape")
        let controller = try await restart(fixture)
        let cartridges = try await controller.cartridges(library: "vtl")
        #expect(cartridges.map(\.status.state) == [.missing, .ready])
        #expect(try await controller.cartridge("A00001L8", library: "vtl").status.problem == "its files are missing")
    }

    @Test("a new cartridge whose move is made late stays, and one that is taken back does not move any more")
    func lateMoves() async throws {
        try await prepare(fixture)
        fixture.devices.delayNextMove()
        let refusal = await fixture.refusal {
            try await fixture.controller.createCartridge("N00001L8", library: "vtl")
        }
        #expect(refusal?.message == "the move takes long")
        #expect(fixture.devices.makeLateMove() != nil)
        #expect(try await Inventory(fixture.controller) == Operation.createCartridge.undone)
        #expect(try Inventory(filesOf: fixture.path) == Operation.createCartridge.undone)
        // The other way round: the move is made when the controller has just stopped waiting.
        fixture.devices.makeNextMoveAndFail()
        #expect(
            await fixture.refusal { try await fixture.controller.createCartridge("N00001L8", library: "vtl") } != nil)
        #expect(try await Inventory(fixture.controller) == Operation.createCartridge.done)
        #expect(try Inventory(filesOf: fixture.path) == Operation.createCartridge.done)
    }
}
