import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

/// A change of the tree of a family.
struct TreeChange: Sendable, CustomStringConvertible {
    let description: String
    let body: @Sendable (FamilyFile, FamilyDisk) throws -> Void

    private static let time = FamilyFixture.time()

    static let all = [
        TreeChange("snapshot") { file, _ in _ = try file.snapshot([1], names: ["two"], time: time) },
        TreeChange("clone") { file, _ in _ = try file.clone(2, name: "clone", time: time) },
        TreeChange("deletion") { file, _ in try file.delete(2, time: time) },
        TreeChange("name") { file, _ in try file.rename(2, to: "other") },
        TreeChange("lock") { file, _ in try file.lock(2, until: FamilyFixture.time(1_800_000_000)) },
        TreeChange("size") { _, disk in try disk.image.resize(to: 16 << 20) },
        TreeChange("rollback") { _, disk in _ = try disk.image.rollBack(to: 2, keeping: "kept", time: time) },
    ]

    init(_ description: String, _ body: @escaping @Sendable (FamilyFile, FamilyDisk) throws -> Void) {
        self.description = description
        self.body = body
    }
}

@Suite("Changes of the tree that fail")
struct FailedChangeTests {
    /// What is told is true: a change that was refused is not there, one that is uncertain has made a loss, and after
    /// that all agree.
    @Test(
        "A change that fails at any call is refused and not done, or uncertain and a loss",
        arguments: TreeChange.all, [false, true])
    func walk(change: TreeChange, fromThenOn: Bool) throws {
        var number = 1
        var outcomes: Set<String> = []
        while true {
            let store = SimulatedStore(forgetsAfterFailedSynchronization: number % 2 == 0)
            let file = try FamilyDisk.file(store)
            let engine = SimulatedEngine()
            let disk = try #require(FamilyDisk(file, engine: engine))
            #expect(try file.snapshot([1], names: ["one"], time: FamilyFixture.time()) == [2])
            #expect(try disk.write(0, 8, 1) == .done)
            // What is due in the background belongs to nobody's change.
            engine.hold()
            let before = file.nodes
            store.fail(at: number, errorNumber: Errno.inputOutput, fromThenOn: fromThenOn)
            let place = "\(change), call \(number)"
            do {
                try change.body(file, disk)
                #expect(file.nodes != before, "\(place)")
                outcomes.insert("done")
            } catch {
                let isUncertain = "\(error)".contains("not known to be durable")
                outcomes.insert(isUncertain ? "uncertain" : "refused")
                if isUncertain {
                    #expect(file.loss != nil, "\(place)")
                } else {
                    #expect(file.nodes == before, "\(place): \(error)")
                }
            }
            let hasFailed = store.hasFailed
            store.stopFailing()
            engine.release()
            if file.loss != nil { #expect(file.acknowledgeLoss() == nil, "\(place)") }
            let present = file.nodes
            #expect(try file.snapshot([disk.image.node], names: ["last"], time: FamilyFixture.time()).count == 1)
            #expect(disk.image.close() == nil, "\(place)")
            let again = try DiskFamily.open(SimulatedStore(store.durable))
            for node in present where !node.isBeingDeleted && node.kind == .snapshot {
                #expect(again.node(node.number)?.name == node.name, "\(place)")
                #expect(again.node(node.number)?.lockedUntil == node.lockedUntil, "\(place)")
            }
            #expect(again.nodes(named: "last").count == 1)
            #expect(again.check() == [], "\(place)")
            guard hasFailed else { break }
            number += 1
        }
        #expect(number > 1)
        #expect(outcomes.contains("uncertain") && outcomes.contains("done"), "\(change): \(outcomes)")
    }

    @Test("Nodes are found by number and by name as the tree changes")
    func lookup() throws {
        let file = try FamilyDisk.file(SimulatedStore())
        let disk = try #require(FamilyDisk(file))
        let time = FamilyFixture.time()
        let one = try file.snapshot([1], names: ["one"], time: time)[0]
        let clone = try file.clone(one, name: "clone", time: time)
        #expect(file.nodes(named: "one").map(\.number) == [one] && file.node(clone)?.name == "clone")
        try file.rename(one, to: "first")
        #expect(file.nodes(named: "one") == [] && file.nodes(named: "first").map(\.number) == [one])
        let next = try disk.image.rollBack(to: one, keeping: "kept", time: time)
        #expect(file.nodes(named: "disk").map(\.number) == [next])
        #expect(file.nodes(named: "kept").map(\.number) == [1])
        // It only loses its name.
        try file.delete(one)
        #expect(file.nodes(named: "first") == [])
        try file.delete(clone)
        #expect(file.nodes(named: "clone") == [])
        for node in file.nodes where node.isPresent {
            #expect(file.nodes(named: node.name).contains(node) && file.node(node.number) == node)
        }
        #expect(disk.image.close() == nil)
    }

    @Test("The disks of one file have no more requests performed at a time than it may, and all are done")
    func requests() throws {
        let engine = CountingEngine()
        let file = try FamilyDisk.file(SimulatedStore())
        let snapshot = try file.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        let images = (0..<20).compactMap { _ in EpochDiskImage(file: file, node: snapshot, engine: engine) }
        let medium = DetachedMedium()
        for image in images {
            for _ in 0..<8 {
                let request = FileRequest()
                request.operation = .special(0)
                request.medium = medium
                image.lane.submitDetached(request)
            }
        }
        var most = 0
        while true {
            let begun = engine.begin()
            guard !begun.isEmpty else { break }
            most = max(most, begun.count { $0.1.medium === medium })
            // The limit holds for what is begun at once; what ends makes room for others.
            for (lane, request) in begun { lane.perform(request) }
        }
        #expect(most == FamilyFile.requestLimit)
        #expect(medium.count == 160)
        engine.stop()
        for image in images { #expect(image.close() == nil) }
    }
}

/// Has requests begun, and performs them when it is told to.
private final class CountingEngine: MediumEngine {
    private let lanes = Lock<[Lane]>([])

    func schedule(_ lane: Lane) { lanes.withLock { $0.append(lane) } }

    /// Takes all requests that may begin.
    func begin() -> [(Lane, FileRequest)] {
        var begun: [(Lane, FileRequest)] = []
        while true {
            let next = lanes.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            guard let next else { return begun }
            if let request = next.takeNext() { begun.append((next, request)) }
        }
    }

    func stop() { lanes.withLock { $0 = [] } }
}

private final class DetachedMedium: Medium {
    private let performed = Lock(0)
    var count: Int { performed.withLock { $0 } }

    func perform(_ request: FileRequest) -> FileResult? {
        performed.withLock { $0 += 1 }
        request.medium = nil
        return nil
    }
}
