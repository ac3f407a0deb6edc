import Bytes
import DeviceTestSupport
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

/// An object of the simple model of a tape: what a block holds follows from its name and length.
enum ModelObject: Equatable {
    case block(name: UInt64, length: Int)
    case filemark

    /// The payload of a block.
    var payload: [UInt8] {
        guard case .block(let name, let length) = self else { return [] }
        var generator = SeededRandom(seed: name)
        let tile = generator.bytes(61)
        return (0..<(length + 60) / 61).flatMap { _ in tile }.dropLast((61 - length % 61) % 61)
    }
}

/// An open cartridge over a simulated store, its index, and helpers that speak in model objects.
final class CartridgeFixture {
    let store: SimulatedStore
    let index: DatabaseQueue
    let cartridge: Cartridge
    let pool = BufferPool(limit: 8 << 20)

    init(store: SimulatedStore, index: DatabaseQueue) throws {
        self.store = store
        self.index = index
        let opening = CartridgeOpening(store: store, file: nil, path: "test")
        cartridge = try opening.open(index: try CartridgeIndex.adopt(index))
    }

    /// A new, empty cartridge.
    convenience init(capacity: Int64 = 1 << 30) throws {
        let index = try DatabaseQueue()
        let identity = testIdentity(capacity: capacity)
        try CartridgeIndex.adopt(index).writeEmpty(Superblock(identity: identity, partition: 0))
        try self.init(store: .empty(identity), index: index)
    }

    /// Writes blocks of one length at the position.
    func append(_ blocks: [ModelObject]) throws -> AppendResult {
        let payload = blocks.flatMap(\.payload)
        var lease = try pool.required(max(1, payload.count))
        lease.assign(payload)
        return cartridge.appendBlocks(
            from: lease, at: 0, length: payload.count / max(1, blocks.count), count: blocks.count)
    }

    /// Reads `count` blocks at the position.
    func read(_ count: Int = 1, length: Int) throws -> (result: BlockReadResult, bytes: [UInt8]) {
        var lease = try pool.required(count * length)
        let result = cartridge.readBlocks(count, into: &lease, at: 0, mode: .blocking)
        return (result, lease.bytes.copyToArray())
    }

    /// Compares the whole tape with the model; leaves the position where it was. Gives the first difference.
    func difference(from model: [ModelObject]) throws -> String? {
        let position = cartridge.position
        defer { _ = cartridge.locate(object: position) }
        if cartridge.endOfData != UInt64(model.count) {
            return "\(cartridge.endOfData) objects instead of \(model.count)"
        }
        cartridge.rewind()
        for (number, object) in model.enumerated() {
            guard cartridge.position == UInt64(number) else { return "position \(cartridge.position) at \(number)" }
            switch (cartridge.objectAtPosition, object) {
            case (.filemark, .filemark):
                _ = cartridge.locate(object: UInt64(number) + 1)
            case (.block(let length, _), .block(_, let expected)):
                let (result, bytes) = try read(length: length)
                if result.outcome != .done { return "object \(number): \(result.outcome)" }
                if length != expected || bytes != object.payload { return "object \(number) has other bytes" }
            default: return "object \(number) is of another kind"
            }
        }
        return cartridge.objectAtPosition == .endOfData ? nil : "more than the model"
    }

    /// The tape after a crash: the medium has lost what it may, the index is as it was at some earlier commit.
    func crash(using generator: inout SeededRandom, index: DatabaseQueue) throws -> CartridgeFixture {
        try CartridgeFixture(store: store.afterCrash(using: &generator), index: index)
    }

    /// A copy of the index as it is now.
    func copyIndex() throws -> DatabaseQueue {
        let copy = try DatabaseQueue()
        try index.backup(to: copy)
        return copy
    }
}
