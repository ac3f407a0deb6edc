import Bytes
import DeviceTestSupport
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

/// A fixed story told again and again, each time with another call failing; then a crash.
@Suite("Cartridge on a failing host")
struct CartridgeFailureTests {
    /// What may be found after a crash: each candidate is the most that can be there; objects before `durable` must be.
    struct Expectation {
        var model: [ModelObject] = []
        /// What else may be found, since an overwrite failed half-way.
        var shortened: Int?
        var durable = 0
        /// What a failed write, which could not be taken back either, may have left behind the model.
        var leftOver: [ModelObject] = []
    }

    @Test(
        "The n-th call fails: an error now, and after a crash everything promised is there",
        arguments: [Errno.noSpace, Errno.inputOutput], [false, true])
    func failingCalls(errorNumber: Int32, fromThenOn: Bool) throws {
        var call = 1
        while true {
            let tape = try CartridgeFixture()
            tape.store.fail(at: call, errorNumber: errorNumber, fromThenOn: fromThenOn)
            var expectation = Expectation()
            var failures: [WriteFailure] = []
            for step in 0..<14 { try tell(step, tape, &expectation, &failures) }
            let hasFailed = tape.store.hasFailed
            if hasFailed, fromThenOn {
                let failure = MediaFailure(errorNumber: errorNumber)
                #expect(failures.contains(.host(failure)) || failures.contains(.dataLost(failure)), "call \(call)")
            }
            tape.store.stopFailing()
            for seed in 0..<6 as Range<UInt64> {
                var generator = SeededRandom(seed: seed &* 1000 &+ UInt64(call))
                _ = tape.cartridge.writer.drain()
                let reopened = try tape.crash(using: &generator, index: try tape.copyIndex())
                try verify(reopened, expectation, "call \(call), seed \(seed)")
            }
            if !hasFailed { break }
            call += 1
        }
        #expect(call > 15, "the story has calls that can fail")
    }

    private func verify(_ tape: CartridgeFixture, _ expectation: Expectation, _ comment: String) throws {
        let found = Int(tape.cartridge.endOfData)
        let least = min(expectation.durable, expectation.shortened ?? .max)
        let most = expectation.model + expectation.leftOver
        #expect(found >= least && found <= most.count, "\(comment)")
        let difference = try tape.difference(from: Array(most.prefix(found)))
        #expect(difference == nil, "\(comment)")
        // It works on, when somebody has acknowledged a loss.
        #expect(tape.cartridge.acknowledgeLoss() == nil, "\(comment)")
        tape.cartridge.spaceToEndOfData()
        let block = ModelObject.block(name: 99, length: 99)
        let result = try tape.append([block])
        #expect(result.outcome == .done, "\(comment)")
        #expect(tape.cartridge.synchronize() == nil, "\(comment)")
    }

    /// One step of the story; what it says of the medium goes to `expectation`.
    private func tell(
        _ step: Int, _ tape: CartridgeFixture, _ expectation: inout Expectation, _ failures: inout [WriteFailure]
    ) throws {
        let cartridge = tape.cartridge
        defer { withdraw(cartridge, &expectation) }
        switch step {
        case 0, 2, 9, 12:
            let blocks = (0..<3).map { ModelObject.block(name: UInt64(step * 10 + $0), length: 700) }
            try append(blocks, tape, &expectation, &failures)
        case 6:
            try append([.block(name: 60, length: 30000)], tape, &expectation, &failures)
        case 1, 7, 10: try append([.filemark, .filemark], tape, &expectation, &failures)
        case 3, 8, 13:
            if let failure = cartridge.synchronize() {
                failures.append(failure)
            } else {
                expectation.durable = expectation.model.count
            }
        case 4: _ = cartridge.locate(object: 4)
        case 11: _ = cartridge.locate(object: 6)
        default:
            // A drive may offload the preparation; then it does not come with the writing.
            overwrite(tape, &expectation, &failures)
        }
    }

    /// Says what is left when the position becomes the end of data.
    private func overwrite(
        _ tape: CartridgeFixture, _ expectation: inout Expectation, _ failures: inout [WriteFailure]
    ) {
        let cartridge = tape.cartridge
        let position = Int(cartridge.position)
        guard cartridge.needsOverwrite else { return }
        if let failure = cartridge.prepareOverwrite() {
            failures.append(failure)
            expectation.shortened = min(position, expectation.shortened ?? .max)
        } else {
            expectation.model = Array(expectation.model.prefix(position))
            expectation.durable = position
            expectation.shortened = nil
            expectation.leftOver = []
        }
    }

    private func append(
        _ objects: [ModelObject], _ tape: CartridgeFixture, _ expectation: inout Expectation,
        _ failures: inout [WriteFailure]
    ) throws {
        overwrite(tape, &expectation, &failures)
        guard !tape.cartridge.needsOverwrite else { return }
        let result =
            objects.first == .filemark
            ? tape.cartridge.writeFilemarks(objects.count) : try tape.append(objects)
        expectation.model += objects.prefix(result.count)
        switch result.outcome {
        case .done: #expect(result.count == objects.count)
        case .failed(let failure):
            failures.append(failure)
            #expect(result.count < objects.count)
            tape.cartridge.cutLeftOver()
            if tape.cartridge.needsOverwrite { expectation.leftOver = Array(objects.dropFirst(result.count)) }
        case .endOfMedium: Issue.record("the capacity is not reached")
        }
        withdraw(tape.cartridge, &expectation)
        #expect(Int(tape.cartridge.endOfData) == expectation.model.count)
    }

    /// After a loss only what is durable is there; what is not may still be found when the medium could not take a
    /// note.
    private func withdraw(_ cartridge: Cartridge, _ expectation: inout Expectation) {
        cartridge.withdrawLost()
        guard cartridge.loss != nil, expectation.model.count > expectation.durable else { return }
        expectation.leftOver = Array(expectation.model[expectation.durable...]) + expectation.leftOver
        expectation.model.removeLast(expectation.model.count - expectation.durable)
    }

    @Test("A full file system is told apart from the end of the medium, and writing goes on when there is room again")
    func hostFull() throws {
        let tape = try CartridgeFixture()
        let block = ModelObject.block(name: 1, length: 30000)
        let first = try tape.append([block])
        #expect(first.outcome == .done)
        tape.store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        let refused = try tape.append([.block(name: 2, length: 30000)])
        #expect(refused == AppendResult(count: 0, outcome: .failed(.host(.hostFull))))
        tape.store.stopFailing()
        let later: [ModelObject] = [.block(name: 3, length: 100)]
        let accepted = try tape.append(later)
        #expect(accepted.outcome == .done)
        let difference = try tape.difference(from: [block] + later)
        #expect(difference == nil)
    }
}
