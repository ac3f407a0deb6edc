import Bytes
import DeviceTestSupport
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Cartridge recovery")
struct CartridgeRecoveryTests {
    /// Three durable objects, and one that may be torn.
    private func tape() throws -> (tape: CartridgeFixture, model: [ModelObject], durableLength: Int) {
        let tape = try CartridgeFixture()
        var model: [ModelObject] = [.block(name: 1, length: 100), .filemark, .block(name: 2, length: 50)]
        _ = try tape.append([model[0]])
        _ = tape.cartridge.writeFilemarks(1)
        _ = try tape.append([model[2]])
        #expect(tape.cartridge.synchronize() == nil)
        _ = tape.cartridge.writer.drain()
        let length = Int(Superblock.dataOffset + tape.cartridge.usedBytes)
        model.append(.block(name: 3, length: 77))
        _ = try tape.append([model[3]])
        return (tape, model, length)
    }

    @Test("A last record that is cut off at any byte is not there, and what is appended instead is")
    func tornTail() throws {
        let (tape, model, durableLength) = try tape()
        let whole = tape.store.content
        for length in durableLength...whole.count {
            let cut = SimulatedStore(Array(whole.prefix(length)))
            let reopened = try CartridgeFixture(store: cut, index: try tape.copyIndex())
            var expected = length == whole.count ? model : Array(model.dropLast())
            var difference = try reopened.difference(from: expected)
            #expect(difference == nil, "cut at \(length)")
            reopened.cartridge.spaceToEndOfData()
            expected.append(.block(name: 4, length: 60))
            _ = try reopened.append(expected.suffix(1))
            let again = try CartridgeFixture(store: cut, index: try reopened.copyIndex())
            difference = try again.difference(from: expected)
            #expect(difference == nil, "cut at \(length), appended")
        }
    }

    @Test("What a crash left behind a gap stays away, even if cutting it off is lost at the next crash")
    func resurrection() throws {
        let (tape, model, gapOffset) = try tape()
        let last: [ModelObject] = [.block(name: 4, length: 77)]
        _ = try tape.append(last)
        // The first crash takes the record at the gap, but not the one behind it.
        let recordLength = Int(Cartridge.recordLength(ofBlock: 77))
        var content = tape.store.content
        let behind = Array(content[(gapOffset + recordLength)...])
        content.replaceSubrange(gapOffset..<gapOffset + recordLength, with: repeatElement(0, count: recordLength))
        let reopened = try CartridgeFixture(store: SimulatedStore(content), index: try tape.copyIndex())
        #expect(reopened.cartridge.endOfData == 3)
        reopened.cartridge.spaceToEndOfData()
        let instead: [ModelObject] = [.block(name: 5, length: 77)]
        _ = try reopened.append(instead)
        // The second crash keeps the new record and forgets that the file was cut.
        let front = Array(reopened.store.content.prefix(gapOffset + recordLength))
        let padding = [UInt8](repeating: 0, count: gapOffset + recordLength - front.count)
        let again = try CartridgeFixture(
            store: SimulatedStore(front + padding + behind), index: try reopened.copyIndex())
        let difference = try again.difference(from: model.dropLast() + instead)
        #expect(difference == nil)
    }

    @Test("An overwrite keeps cached pages of the old tail; ERASE and closing give them back")
    func oldTail() throws {
        let tape = try CartridgeFixture()
        let long = (0..<10).map { ModelObject.block(name: UInt64($0), length: 300) }
        _ = try tape.append(long)
        let full = tape.store.content.count
        tape.cartridge.rewind()
        let short: [ModelObject] = [.block(name: 99, length: 300)]
        _ = try tape.append(short)
        let kept = tape.store.content.count
        #expect(kept > Int(tape.cartridge.log.table.endOffset) && kept <= full)
        let reopened = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: try tape.copyIndex())
        let difference = try reopened.difference(from: short)
        #expect(difference == nil, "the old records do not come back")
        #expect(tape.cartridge.close() == nil)
        #expect(tape.store.content.count == Int(tape.cartridge.log.table.endOffset))
        reopened.cartridge.rewind()
        #expect(reopened.cartridge.erase() == nil)
        #expect(reopened.store.content.count == Int(reopened.cartridge.log.table.endOffset))
        #expect(reopened.cartridge.endOfData == 0)
    }

    @Test("What is written during a synchronisation is not durable after it, nor in the index")
    func overlappingSynchronization() throws {
        let tape = try CartridgeFixture()
        _ = try tape.append([.block(name: 1, length: 100)])
        let point = tape.cartridge.beginSynchronize()
        #expect(tape.cartridge.synchronizeData(point) == 0)
        _ = try tape.append([.block(name: 2, length: 100)])
        #expect(tape.cartridge.completeSynchronize() == nil)
        #expect(!tape.cartridge.isDurable)
        _ = tape.cartridge.writer.drain()
        let contents = try CartridgeIndex.adopt(tape.index).contents(partition: 0)
        #expect(contents?.extents.map(\.count) == [1])
    }

    @Test("A last record with any byte changed is not there")
    func changedTail() throws {
        let (tape, model, durableLength) = try tape()
        let whole = tape.store.content
        for place in durableLength..<whole.count {
            var content = whole
            content[place] ^= 0x40
            let reopened = try CartridgeFixture(store: SimulatedStore(content), index: try tape.copyIndex())
            let difference = try reopened.difference(from: Array(model.dropLast()))
            #expect(difference == nil, "byte \(place)")
        }
    }

    @Test("A changed byte in a durable block is an error when it is read, and only there")
    func corruptBlock() throws {
        let (tape, model, durableLength) = try tape()
        #expect(tape.cartridge.close() == nil)
        var content = tape.store.content
        content[durableLength - 10] ^= 1
        let reopened = try CartridgeFixture(store: SimulatedStore(content), index: tape.index)
        #expect(reopened.cartridge.locate(object: 2))
        let (result, _) = try reopened.read(length: 50)
        #expect(result == BlockReadResult(count: 0, outcome: .failed(.corrupt)))
        #expect(reopened.cartridge.position == 2)
        #expect(reopened.cartridge.space(blocks: 1).stop == .completed)
        let (next, bytes) = try reopened.read(length: 77)
        #expect(next.outcome == .done)
        #expect(bytes == model[3].payload)
    }

    @Test("An index that is lost, or that knows of objects overwritten since, is made up for")
    func lostIndex() throws {
        let (tape, model, _) = try tape()
        #expect(tape.cartridge.close() == nil)
        let old = try tape.copyIndex()
        let fresh = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: try DatabaseQueue())
        var difference = try fresh.difference(from: model)
        #expect(difference == nil)
        // Two epochs later than the old index, with objects in other places.
        _ = tape.cartridge.locate(object: 1)
        let second: [ModelObject] = [.block(name: 11, length: 300), .block(name: 12, length: 300)]
        _ = try tape.append(second)
        _ = tape.cartridge.locate(object: 2)
        let third: [ModelObject] = [
            .block(name: 13, length: 5), .block(name: 14, length: 5), .block(name: 15, length: 5),
        ]
        _ = try tape.append(third)
        #expect(tape.cartridge.synchronize() == nil)
        let reopened = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: old)
        difference = try reopened.difference(from: [model[0], second[0]] + third)
        #expect(difference == nil)
    }

    @Test("Many overwrites, each further on, outgrow the history; an old index and a lost one still do")
    func historyOverflow() throws {
        let tape = try CartridgeFixture()
        var model: [ModelObject] = []
        let old = try tape.copyIndex()
        for round in 0..<(Superblock.historyLimit + 20) {
            // As backup programs append: over the last filemark.
            if round > 0 { _ = tape.cartridge.space(filemarks: -1) }
            model = Array(model.dropLast())
            let block = ModelObject.block(name: UInt64(round), length: 10 + round)
            _ = try tape.append([block])
            _ = tape.cartridge.writeFilemarks(1)
            model += [block, .filemark]
            if round == 100 {
                #expect(tape.cartridge.synchronize() == nil)
                _ = tape.cartridge.writer.drain()
            }
        }
        #expect(tape.cartridge.synchronize() == nil)
        #expect(tape.cartridge.log.superblock.history.count == Superblock.historyLimit)
        for index in [old, try DatabaseQueue()] {
            let reopened = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: index)
            let difference = try reopened.difference(from: model)
            #expect(difference == nil)
        }
    }

    @Test("A file shorter than its index says is damaged, and is left as it is")
    func shortFile() throws {
        let (tape, _, durableLength) = try tape()
        #expect(tape.cartridge.close() == nil)
        let short = SimulatedStore(Array(tape.store.content.prefix(durableLength)))
        #expect(throws: CartridgeError.self) { try CartridgeFixture(store: short, index: tape.index) }
        #expect(short.content.count == durableLength)
    }

    @Test("Without an index a gap before later objects is damage, not an end")
    func gap() throws {
        let (tape, _, _) = try tape()
        #expect(tape.cartridge.close() == nil)
        var content = tape.store.content
        content[Int(Superblock.dataOffset) + 40] ^= 1
        #expect(throws: CartridgeError.self) {
            try CartridgeFixture(store: SimulatedStore(content), index: try DatabaseQueue())
        }
    }

    @Test("One valid superblock suffices; none is damage; a newer format is refused")
    func superblocks() throws {
        let (tape, model, _) = try tape()
        #expect(tape.cartridge.close() == nil)
        for copy in 0..<2 {
            var content = tape.store.content
            content[copy * 4096 + 100] ^= 1
            let reopened = try CartridgeFixture(store: SimulatedStore(content), index: try tape.copyIndex())
            let difference = try reopened.difference(from: model)
            #expect(difference == nil)
        }
        var content = tape.store.content
        content[100] ^= 1
        content[4196] ^= 1
        #expect(throws: CartridgeError.damaged(path: "test", reason: "neither of its two superblocks is valid")) {
            try CartridgeFixture(store: SimulatedStore(content), index: tape.index)
        }
        content = tape.store.content
        content[11] = 2
        content.modifyBytes { bytes in
            bytes.storeBE32(CRC32C.checksum(bytes.bytes.extracting(0..<4092)), at: 4092)
        }
        #expect(throws: CartridgeError.newerVersion(path: "test")) {
            try CartridgeFixture(store: SimulatedStore(content), index: tape.index)
        }
    }
}
