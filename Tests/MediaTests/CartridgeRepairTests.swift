import Bytes
import Foundation
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Repairs by the checker")
struct CartridgeRepairTests {
    let folder: TemporaryFolder
    let store: CartridgeStore
    let pool = BufferPool(limit: 32 << 20)

    private static let barcode = "V00001L8"
    private static let data = "V00001L8.tape/partition0.data"
    private static let index = "V00001L8.tape/index.sqlite"

    /// A cartridge with three blocks and a file mark, and an index that knows all of them.
    init() throws {
        folder = try TemporaryFolder()
        store = CartridgeStore(directory: folder.path)
        try store.create(barcode: Self.barcode, capacity: 1 << 30, densityCode: 0x5E)
        let cartridge = try store.open(barcode: Self.barcode)
        for text in ["one", "two", "three"] {
            let lease = try pool.required(Array(text.utf8))
            #expect(cartridge.appendBlock(from: lease, at: 0, length: lease.count).outcome == .done)
        }
        _ = cartridge.writeFilemarks(1)
        #expect(cartridge.close() == nil)
    }

    private func check(_ repairing: Bool = true) throws -> CartridgeReport {
        try CartridgeChecker(store).check(barcode: Self.barcode, repairing: repairing)
    }

    private func removeIndex() throws {
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: folder.file(Self.index) + suffix)
        }
    }

    @Test("An index that is missing or no database is made anew, and is right then")
    func index() throws {
        for damage in [true, false] {
            try removeIndex()
            if damage { try folder.write(Array("no database".utf8), to: Self.index) }
            let found = try check(false)
            #expect(found.problems.map(\.kind) == [.index] && found.isIndexRepairable && !found.isIndexRebuilt)
            #expect(try check().isIndexRebuilt)
            #expect(try check().isSound)
            #expect(try store.open(barcode: Self.barcode).endOfData == 4)
        }
    }

    @Test("An index that the host does not let be read now is not called damaged, and not made anew")
    func unreadIndex() throws {
        // SQLite cannot open it, whoever asks.
        try removeIndex()
        try FileManager.default.createDirectory(
            atPath: folder.file(Self.index), withIntermediateDirectories: false)
        let found = try check()
        #expect(found.problems.map(\.kind) == [.unreadIndex] && !found.isIndexRepairable && !found.isIndexRebuilt)
        #expect(found.blocks == 3 && found.filemarks == 1)
        #expect(found.problems[0].sentence.hasPrefix("the index cannot be read: the host does not let it be"))
    }

    @Test("An index whose rows are wrong is made anew")
    func rows() throws {
        let database = try DatabaseQueue(path: folder.file(Self.index))
        try database.write {
            try $0.execute(sql: "UPDATE extent SET file_offset = file_offset + 8 WHERE first_object > 0")
        }
        try database.close()
        let found = try check()
        #expect(found.problems.map(\.kind) == [.index] && found.isIndexRebuilt)
        #expect(try check().isSound)
    }

    @Test("An index that knows of more than the data file has stays: it is the only witness")
    func truncated() throws {
        let bytes = try folder.read(Self.data)
        try folder.write(Array(bytes.prefix(8192 + 40)), to: Self.data)
        let found = try check()
        #expect(found.problems.map(\.kind).contains(.missingData))
        #expect(!found.isIndexRepairable && !found.isIndexRebuilt)
        #expect(throws: CartridgeError.self) { try store.open(barcode: Self.barcode) }
    }

    @Test("Without an index, a gap before later objects is not papered over")
    func gap() throws {
        try removeIndex()
        var bytes = try folder.read(Self.data)
        bytes[8192 + 40] ^= 0xFF
        try folder.write(bytes, to: Self.data)
        let found = try check()
        #expect(Set(found.problems.map(\.kind)) == [.gap, .index])
        #expect(!found.isIndexRepairable && !found.isIndexRebuilt)
        #expect(try folder.read(Self.data) == bytes)
        #expect(!FileManager.default.fileExists(atPath: folder.file(Self.index)))
    }

    @Test("An index of another cartridge stays, and is named")
    func foreign() throws {
        try store.create(barcode: "OTHER", capacity: 1 << 30, densityCode: 0x5E)
        try removeIndex()
        try FileManager.default.copyItem(
            atPath: folder.file("OTHER.tape/index.sqlite"), toPath: folder.file(Self.index))
        let found = try check()
        #expect(found.problems.map(\.kind) == [.contradiction] && !found.isIndexRebuilt)
        #expect(found.problems[0].sentence.contains(folder.file(Self.index)))
    }

    @Test("An observer that says so ends the check, which has changed nothing")
    func observed() throws {
        try removeIndex()
        let read = Lock<Int64>(0)
        _ = try CartridgeChecker(store) { count in
            read.withLock { $0 += count }
            return true
        }.check(barcode: Self.barcode)
        #expect(read.withLock { $0 } > 0)
        let error = #expect(throws: CartridgeError.self) {
            try CartridgeChecker(store) { _ in false }.check(barcode: Self.barcode, repairing: true)
        }
        guard case .system(let reason) = error, reason.code == Errno.cancelled else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(!FileManager.default.fileExists(atPath: folder.file(Self.index)))
    }
}
