import Bytes
import DeviceTestSupport
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

/// Files that say what cannot be: damaged, or made up for, and never the end of the process.
@Suite("Cartridge files that lie")
struct CartridgeLieTests {
    /// Three blocks, closed.
    private func tape() throws -> CartridgeFixture {
        let tape = try CartridgeFixture(capacity: 1 << 20)
        _ = try tape.append((0..<3).map { .block(name: $0, length: 1000) })
        #expect(tape.cartridge.close() == nil)
        return tape
    }

    /// The same cartridge with changed superblocks, whose checksums are right.
    private func open(_ tape: CartridgeFixture, _ change: (inout MutableRawSpan) -> Void) throws -> CartridgeFixture {
        var content = tape.store.content
        content.modifyBytes { bytes in
            for start in [0, 4096] {
                var copy = bytes._mutatingExtracting(start..<start + 4096)
                change(&copy)
                copy.storeBE32(CRC32C.checksum(copy.bytes.extracting(0..<4092)), at: 4092)
            }
        }
        return try CartridgeFixture(store: SimulatedStore(content), index: try tape.copyIndex())
    }

    @Test("Fields of the superblock that are out of range make the cartridge damaged")
    func superblock() throws {
        let tape = try tape()
        // Capacity: less than what is there, none, more than any, and as a signed number negative.
        for capacity in [1000, 0, UInt64(CartridgeStore.maximumCapacity) + 1, 1 << 63, .max] as [UInt64] {
            #expect(throws: CartridgeError.self, "capacity \(capacity)") {
                try open(tape) { $0.storeBE64(capacity, at: 40) }
            }
        }
        #expect(throws: CartridgeError.self, "generation") { try open(tape) { $0.storeBE64(.max, at: 32) } }
        #expect(throws: CartridgeError.self, "partition") { try open(tape) { $0.storeBE32(1, at: 12) } }
        #expect(throws: CartridgeError.self, "epoch's object") { try open(tape) { $0.storeBE64(.max, at: 132) } }
        #expect(throws: CartridgeError.self, "epoch's offset") { try open(tape) { $0.storeBE64(1 << 61, at: 140) } }
        // A loss with more durable objects than there can be, and with more than there are.
        for objects in [UInt64.max, 1 << 40, 4] {
            #expect(throws: CartridgeError.self, "\(objects) durable objects") {
                try open(tape) { bytes in
                    bytes.storeBE16(5, at: 50)
                    bytes.storeBE64(objects, at: 120)
                }
            }
        }
    }

    @Test("The last possible generation is no end of the world")
    func lastGeneration() throws {
        let tape = try tape()
        let last = try open(tape) { $0.storeBE64(Superblock.maximumGeneration, at: 32) }
        last.cartridge.rewind()
        #expect(last.cartridge.prepareOverwrite() == .host(.corrupt))
        // What older epochs wrote would have to be cut off by one more epoch.
        #expect(throws: CartridgeError.damaged(path: "test", reason: "its epochs have run out of numbers")) {
            try open(tape) { $0.storeBE32(.max, at: 128) }
        }
    }

    @Test("A file that is longer than its capacity is damaged and stays as it is")
    func longFile() throws {
        let tape = try tape()
        let content = tape.store.content + [UInt8](repeating: 0, count: 1 << 20)
        let long = SimulatedStore(content)
        #expect(throws: CartridgeError.self) { try CartridgeFixture(store: long, index: try tape.copyIndex()) }
        #expect(long.content == content)
    }

    @Test(
        "Rows of the index that cannot be are no rows",
        arguments: [
            "UPDATE extent SET count = 1 << 47, stored_length = 16777215, block_length = 16777215",
            "UPDATE extent SET count = 1100", "UPDATE extent SET count = 9223372036854775807",
            "UPDATE extent SET file_offset = 8193", "UPDATE extent SET first_object = 1",
        ])
    func rows(change: String) throws {
        let tape = try tape()
        let index = try tape.copyIndex()
        try index.write { try $0.execute(sql: change) }
        let reopened = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: index)
        let difference = try reopened.difference(from: (0..<3).map { .block(name: $0, length: 1000) })
        #expect(difference == nil)
    }

    @Test(
        "Values of the index that cannot be make the cartridge damaged",
        arguments: [
            "UPDATE extent SET count = -1", "UPDATE extent SET kind = 99", "UPDATE extent SET kind = -1",
            "UPDATE extent SET block_length = 1 << 40", "UPDATE cartridge SET epoch = -1",
            "UPDATE cartridge SET load_count = -1",
            "INSERT INTO attribute VALUES (0, 70000, 0, x'00')", "INSERT INTO attribute VALUES (300, 1, 0, x'00')",
            "INSERT INTO attribute VALUES (0, 1, 3, x'00')", "INSERT INTO attribute VALUES (0, 1, 0, x'')",
            "INSERT INTO attribute VALUES (0, 1, 0, zeroblob(65536))",
            // A schema of somebody else, in which anything may stand.
            """
            DROP TABLE extent;
            CREATE TABLE extent (partition, first_object, kind, count, block_length, stored_length, file_offset);
            INSERT INTO extent VALUES (0, 'zero', NULL, 1.5, x'00', 'much', 0)
            """,
            """
            DROP TABLE cartridge;
            CREATE TABLE cartridge (id, uuid, epoch, is_write_protected, load_count);
            INSERT INTO cartridge VALUES (1, 7, 'now', NULL, NULL)
            """,
            // 60,000 characters, 120,000 bytes.
            """
            DROP TABLE attribute;
            CREATE TABLE attribute (partition, identifier, format, value);
            INSERT INTO attribute VALUES (0, 1, 0, replace(hex(zeroblob(20000)), '00', 'äöü'))
            """,
        ])
    func values(change: String) throws {
        let tape = try tape()
        let index = try tape.copyIndex()
        try index.write { try $0.execute(sql: change) }
        #expect(throws: CartridgeError.self) {
            try CartridgeFixture(store: SimulatedStore(tape.store.content), index: index)
        }
    }

    @Test("A load count that has reached its end stays there")
    func loadCount() throws {
        let tape = try tape()
        let index = try tape.copyIndex()
        try index.write { try $0.execute(sql: "UPDATE cartridge SET load_count = 9223372036854775807") }
        let reopened = try CartridgeFixture(store: SimulatedStore(tape.store.content), index: index)
        reopened.cartridge.countLoad()
        #expect(reopened.cartridge.close() == nil)
        #expect(reopened.cartridge.loadCount == UInt64(Int64.max))
    }
}
