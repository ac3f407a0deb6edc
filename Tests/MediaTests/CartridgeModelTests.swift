import Bytes
import DeviceTestSupport
import GRDB
import TestSupport
import Testing

@testable import Media

/// Random operations, decided by a seed, on a cartridge and on an array; they must agree after each.
@Suite("Cartridge against a model")
struct CartridgeModelTests {
    static let lengths = [1, 7, 8, 63, 512, 700, 2000, 20000]

    @Test("Random operations, reopened cleanly and after crashes", arguments: Effort.seeds(40, few: 15))
    func operations(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        var run = Run(tape: try CartridgeFixture())
        for _ in 0..<250 {
            try run.step(&generator)
            #expect(run.tape.cartridge.position == UInt64(run.position), "seed \(seed)")
        }
        let difference = try run.tape.difference(from: run.model)
        #expect(difference == nil, "seed \(seed)")
    }

    struct Run {
        var tape: CartridgeFixture
        var model: [ModelObject] = []
        var position = 0
        /// Objects that a crash must not take.
        var durable = 0
        /// The index at an earlier time: what a crash may leave of it.
        var earlierIndex: DatabaseQueue?
        var name: UInt64 = 1000

        init(tape: CartridgeFixture) {
            self.tape = tape
        }

        mutating func step(_ generator: inout SeededRandom) throws {
            let cartridge = tape.cartridge
            switch Int.random(in: 0..<100, using: &generator) {
            case 0..<25: try write(&generator)
            case 25..<33:
                let count = Int.random(in: 0...3, using: &generator)
                if count > 0 { willWrite() }
                #expect(cartridge.writeFilemarks(count) == AppendResult(count: count, outcome: .done))
                model += [ModelObject](repeating: .filemark, count: count)
                position += count
            case 33..<45: try read(&generator)
            case 45..<55: spaceBlocks(Int.random(in: -8...8, using: &generator))
            case 55..<63: spaceFilemarks(Int.random(in: -3...3, using: &generator))
            case 63..<67: spaceSequential(Int.random(in: -3...3, using: &generator))
            case 67..<75:
                let target = Int.random(in: 0...model.count + 2, using: &generator)
                #expect(cartridge.locate(object: UInt64(target)) == (target <= model.count))
                position = min(target, model.count)
            case 75..<79: locateFile(Int.random(in: 0...5, using: &generator))
            case 79..<83:
                cartridge.spaceToEndOfData()
                position = model.count
            case 83..<90:
                #expect(cartridge.synchronize() == nil)
                durable = model.count
                if Bool.random(using: &generator) {
                    _ = cartridge.writer.drain()
                    earlierIndex = try tape.copyIndex()
                }
            case 90..<92:
                willWrite()
                #expect(cartridge.prepareOverwrite() == nil)
            case 92..<95:
                #expect(cartridge.close() == nil)
                tape = try CartridgeFixture(store: tape.store, index: tape.index)
                durable = model.count
                position = 0
            default: try crash(&generator)
            }
            checkPlace()
        }

        /// What follows the position goes, and what precedes it becomes durable when something did follow.
        private mutating func willWrite() {
            guard position < model.count else { return }
            model.removeLast(model.count - position)
            durable = position
        }

        private mutating func write(_ generator: inout SeededRandom) throws {
            let length = CartridgeModelTests.lengths.randomElement(using: &generator) ?? 1
            let count = Bool.random(using: &generator) ? 1 : Int.random(in: 1...40, using: &generator)
            let blocks = (0..<count).map { ModelObject.block(name: name + UInt64($0), length: length) }
            name += UInt64(count)
            willWrite()
            let result = try tape.append(blocks)
            #expect(result == AppendResult(count: count, outcome: .done))
            model += blocks
            position += count
        }

        private mutating func read(_ generator: inout SeededRandom) throws {
            guard case .block(let length, let available) = tape.cartridge.objectAtPosition else { return }
            let count = Int.random(in: 1...Int(min(available, 50)), using: &generator)
            let (result, bytes) = try tape.read(count, length: length)
            #expect(result == BlockReadResult(count: count, outcome: .done))
            let expected = Array(model[position..<position + count].flatMap(\.payload))
            #expect(bytes == expected)
            position += count
        }

        private mutating func crash(_ generator: inout SeededRandom) throws {
            _ = tape.cartridge.writer.drain()
            let index = try Bool.random(using: &generator) ? earlierIndex ?? tape.copyIndex() : tape.copyIndex()
            tape = try tape.crash(using: &generator, index: index)
            let found = Int(tape.cartridge.endOfData)
            #expect(found >= durable && found <= model.count, "durable objects are there")
            model.removeLast(max(0, model.count - found))
            let difference = try tape.difference(from: model)
            #expect(difference == nil)
            // What was found was synchronised when it was opened.
            durable = model.count
            earlierIndex = nil
            position = 0
        }

        private mutating func spaceBlocks(_ count: Int) {
            var moved = 0
            var stop = SpaceResult.Stop.completed
            while moved < abs(count), stop == .completed {
                if count > 0 {
                    if position == model.count {
                        stop = .endOfData
                    } else {
                        if model[position] == .filemark { stop = .filemark } else { moved += 1 }
                        position += 1
                    }
                } else if position == 0 {
                    stop = .beginningOfPartition
                } else {
                    position -= 1
                    if model[position] == .filemark { stop = .filemark } else { moved += 1 }
                }
            }
            #expect(
                tape.cartridge.space(blocks: Int64(count)) == SpaceResult(traversed: UInt64(moved), stop: stop))
        }

        private mutating func spaceFilemarks(_ count: Int) {
            var moved = 0
            var stop = SpaceResult.Stop.completed
            while moved < abs(count), stop == .completed {
                if count > 0 {
                    if position == model.count {
                        stop = .endOfData
                    } else {
                        if model[position] == .filemark { moved += 1 }
                        position += 1
                    }
                } else if position == 0 {
                    stop = .beginningOfPartition
                } else {
                    position -= 1
                    if model[position] == .filemark { moved += 1 }
                }
            }
            #expect(
                tape.cartridge.space(filemarks: Int64(count)) == SpaceResult(traversed: UInt64(moved), stop: stop))
        }

        private mutating func spaceSequential(_ count: Int) {
            var inARow = 0
            var stop = SpaceResult.Stop.completed
            while inARow < abs(count), stop == .completed {
                if count > 0 {
                    if position == model.count {
                        stop = .endOfData
                    } else {
                        inARow = model[position] == .filemark ? inARow + 1 : 0
                        position += 1
                    }
                } else if position == 0 {
                    stop = .beginningOfPartition
                } else {
                    position -= 1
                    inARow = model[position] == .filemark ? inARow + 1 : 0
                }
            }
            let traversed = stop == .completed ? UInt64(inARow) : 0
            #expect(
                tape.cartridge.space(sequentialFilemarks: Int64(count))
                    == SpaceResult(traversed: traversed, stop: stop))
        }

        private mutating func locateFile(_ file: Int) {
            let marks = model.indices.filter { model[$0] == .filemark }
            let exists = file <= marks.count
            #expect(tape.cartridge.locate(logicalFile: UInt64(file)) == exists)
            position = file == 0 ? 0 : exists ? marks[file - 1] + 1 : model.count
        }

        private func checkPlace() {
            let cartridge = tape.cartridge
            let marks = model[..<position].filter { $0 == .filemark }.count
            #expect(cartridge.filemarksBeforePosition == UInt64(marks))
            #expect(cartridge.isAtBeginning == (position == 0))
            #expect(cartridge.isAtEndOfData == (position == model.count))
            #expect(cartridge.onlyFilemarksFollow == model[position...].allSatisfy { $0 == .filemark })
            let used = model.reduce(Int64(0)) { sum, object in
                guard case .block(_, let length) = object else { return sum + 32 }
                return sum + Int64((32 + length + 7) / 8 * 8)
            }
            #expect(cartridge.usedBytes == used)
        }
    }
}
