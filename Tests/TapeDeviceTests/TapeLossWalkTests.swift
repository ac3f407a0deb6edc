import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media
@testable import TapeDevice

/// Every write, synchronisation, truncation and step of SQLite fails once, in turn, while commands of several nexuses
/// are under way, one of which logs in anew in between: no command ends with GOOD whose data, or data that it vouches
/// for, are lost, and who has written what is lost is told.
@Suite("A drive whose host fails at every step in turn")
struct TapeLossWalkTests {
    @Test("No GOOD for lost data, ever", arguments: HostFailure.all)
    func walk(_ failure: HostFailure) throws {
        var call = 0
        var losses = 0
        repeat {
            call += 1
            let run = try TapeLossRun(seed: 1)
            run.fail(at: call, failure)
            let comment: Comment = "call \(call)"
            let hasLost = try check(run, seed: UInt64(call), comment)
            if !run.hasFailed { break }
            if hasLost { losses += 1 }
        } while true
        #expect(call > 30, "the workload has calls that can fail")
        switch failure.place {
        case .data: #expect(losses > 5 && losses < call)
        case .index: #expect(losses == 0, "the data file makes up for the index")
        }
    }

    /// Runs the workload, and compares what is there then, and after a crash, with what commands vouched for. Whether
    /// data were lost.
    private func check(_ run: TapeLossRun, seed: UInt64, _ comment: Comment) throws -> Bool {
        var random = SeededRandom(seed: seed)
        try run.run {
            try checkCrash(run, TapeLossModel(run.performed), &random, "\(comment), half-way")
        }
        var model = TapeLossModel(run.performed)
        try checkCrash(run, model, &random, "\(comment), at the end")
        guard case .removed = run.remove() else {
            Issue.record("the robot does not get the cartridge", sourceLocation: #_sourceLocation)
            return false
        }
        try checkCrash(run, model, &random, "\(comment), removed")
        run.stopFailing()
        try run.insertAgain()
        let cartridge = try #require(run.opened)
        let loss = cartridge.loss != nil
        let found = objects(of: cartridge)
        cartridge.rewind()
        check(found, model, "\(comment), opened again")
        if found.count < model.objects.count { model.lose(from: found.count) }
        model.adopt(found.dropFirst(model.objects.count))
        // Who has not been told yet is told by the next command.
        var entries = run.performed.count
        // First come the unit attentions, then what is deferred.
        for number in run.ports.indices {
            for _ in 0..<4 { run.execute(.testUnitReady, on: number) }
        }
        for entry in run.performed[entries...] { model.follow(entry) }
        let untold = model.untold.intersection(run.sessions)
        #expect(untold.isEmpty, comment)
        let hasLost = model.hasLost

        // Until it is acknowledged nobody writes, and nothing is vouched for; then everything is as before.
        run.logIn(2)
        entries = run.performed.count
        let commands: [TapeLossModel.Command] = [
            .testUnitReady, .spaceToEndOfData, .write(data: random.bytes(700)), .writeFilemarks(1, isImmediate: false),
        ]
        if loss {
            for number in run.ports.indices {
                for command in commands { run.execute(command, on: number) }
                for entry in run.performed.suffix(2) { #expect(entry.result.status == .checkCondition, comment) }
            }
            #expect(run.acknowledgeLoss() == .acknowledged, comment)
        }
        for entry in run.performed[entries...] { model.follow(entry) }
        model.acknowledge()
        entries = run.performed.count
        for number in run.ports.indices {
            for command in commands { run.execute(command, on: number) }
            for entry in run.performed.suffix(2) { #expect(entry.result.status == .good, comment) }
        }
        for entry in run.performed[entries...] { model.follow(entry) }
        try checkCrash(run, model, &random, "\(comment), acknowledged")
        #expect(run.remove() == .removed(nil), comment)
        #expect(model.faults.isEmpty, comment)
        return hasLost
    }

    /// Compares what may be there after a crash with the model.
    private func checkCrash(
        _ run: TapeLossRun, _ model: TapeLossModel, _ random: inout SeededRandom, _ comment: Comment
    ) throws {
        let cartridge = try TapeLossRun.open(
            run.store.afterCrash(using: &random), run.index.afterCrash(using: &random))
        check(objects(of: cartridge), model, comment)
        for (identifier, value) in model.attributes {
            let kept = cartridge.attribute(identifier)?.value
            let isTried = kept.map { model.triedAttributes[identifier]?.contains($0) == true } ?? false
            if kept != value, !isTried {
                Issue.record("\(comment): attribute \(identifier) is not what was written")
            }
        }
    }

    /// Compares the objects of a tape with those that may be there.
    private func check(_ found: [[UInt8]?], _ model: TapeLossModel, _ comment: Comment) {
        #expect(found.count >= model.durable, comment)
        for (number, object) in found.enumerated() {
            let isWritten = number < model.objects.count && model.objects[number] == object
            let isTried = number >= model.durable && model.tried[number]?.contains(object) == true
            if !isWritten, !isTried {
                Issue.record("\(comment): object \(number) is not what was written there")
                break
            }
        }
    }

    /// All objects of a cartridge; filemarks are nil.
    private func objects(of cartridge: Cartridge) -> [[UInt8]?] {
        let pool = BufferPool(limit: 8 << 20)
        var objects: [[UInt8]?] = []
        cartridge.rewind()
        while true {
            switch cartridge.objectAtPosition {
            case .endOfData: return objects
            case .filemark:
                objects.append(nil)
                _ = cartridge.locate(object: cartridge.position + 1)
            case .block(let length, _):
                guard var lease = pool.lease(capacity: length) else { preconditionFailure("the pool is too small") }
                let result = cartridge.readBlock(into: &lease, at: 0, mode: .blocking)
                guard result.outcome == .done else {
                    Issue.record("object \(cartridge.position): \(result.outcome)")
                    return objects
                }
                objects.append(lease.bytes.copyToArray())
            }
        }
    }
}
