import Bytes
import Foundation
import GRDB
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Cartridge store")
struct CartridgeStoreTests {
    let folder: TemporaryFolder
    let store: CartridgeStore
    let pool = BufferPool(limit: 32 << 20)

    init() throws {
        folder = try TemporaryFolder()
        store = CartridgeStore(directory: folder.path)
    }

    private func create(_ barcode: String = "V00001L8") throws {
        try store.create(barcode: barcode, capacity: 1 << 30, densityCode: 0x5E)
    }

    private func append(_ text: String, to cartridge: Cartridge) throws {
        let lease = try pool.required(Array(text.utf8))
        let result = cartridge.appendBlock(from: lease, at: 0, length: lease.count)
        #expect(result == AppendResult(count: 1, outcome: .done))
    }

    private func read(_ cartridge: Cartridge, mode: ReadMode = .blocking) throws -> String {
        var lease = try pool.required(100)
        let result = cartridge.readBlock(into: &lease, at: 0, mode: mode)
        #expect(result == BlockReadResult(count: 1, outcome: .done))
        return String(decoding: lease.bytes.copyToArray(), as: UTF8.self)
    }

    @Test("What the host does to an index is no damage to it, and the sentence says what to do")
    func hostAndIndex() throws {
        try create()
        let path = folder.file("V00001L8.tape/index.sqlite")
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
        // SQLite cannot open a directory.
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let reason = "the host does not let it be opened; see who may write to its folder"
        let error = CartridgeError.unavailable(path: path, reason: reason)
        #expect(throws: error) { try store.open(barcode: "V00001L8") }
        #expect(error.description == "\(path) cannot be used now: \(reason)")
        for (code, words) in [
            (ResultCode.SQLITE_FULL, "full; make room"), (.SQLITE_READONLY, "only be read"),
            (.SQLITE_IOERR, "storage has failed"), (.SQLITE_IOERR_SHMSIZE, "storage has failed"),
        ] {
            let open = CartridgeIndex.OpenError(DatabaseError(resultCode: code))
            guard case .unavailable("x", let reason) = open.cartridgeError(path: "x") else {
                Issue.record("\(code): \(open)")
                continue
            }
            #expect(reason.contains(words), "\(reason)")
        }
        for code in [ResultCode.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR] {
            let open = CartridgeIndex.OpenError(DatabaseError(resultCode: code))
            guard case .damaged = open.cartridgeError(path: "x") else {
                Issue.record("\(code): \(open)")
                continue
            }
        }
    }

    @Test("Made, written, closed, opened again: all is there, attributes too")
    func life() throws {
        try create()
        do {
            let cartridge = try store.open(barcode: "V00001L8")
            #expect(cartridge.identity.barcode == "V00001L8")
            #expect(cartridge.identity.mediumSerialNumber.utf8.count == 10)
            #expect(cartridge.objectAtPosition == .endOfData)
            try append("one", to: cartridge)
            #expect(cartridge.writeFilemarks(1).outcome == .done)
            try append("two", to: cartridge)
            cartridge.countLoad()
            cartridge.isWriteProtected = true
            let attribute = MediumAttribute(identifier: 0x0801, format: .ascii, value: Array("Carousel".utf8))
            let other = MediumAttribute(identifier: 0x0803, format: .text, value: [0x41])
            #expect(cartridge.commit([.set(attribute), .set(other)]) == nil)
            #expect(cartridge.commit([.remove(0x0803)]) == nil)
            #expect(!cartridge.isDurable)
            #expect(cartridge.close() == nil)
            #expect(cartridge.isDurable)
        }
        let cartridge = try store.open(barcode: "V00001L8")
        #expect(cartridge.endOfData == 3)
        #expect(try read(cartridge) == "one")
        #expect(cartridge.objectAtPosition == .filemark)
        #expect(cartridge.locate(logicalFile: 1))
        #expect(try read(cartridge, mode: .cached) == "two")
        #expect(cartridge.loadCount == 1)
        #expect(cartridge.isWriteProtected)
        #expect(cartridge.attributes.map(\.identifier) == [0x0801])
        #expect(cartridge.attribute(0x0801)?.value == Array("Carousel".utf8))
        let summary = try store.summary(barcode: "V00001L8")
        #expect(summary.usedBytes == 40 + 32 + 35)
        #expect(summary.isWriteProtected)
        #expect(summary.loadCount == 1)
        #expect(summary.identity == cartridge.identity)
    }

    @Test("Every refusal is one sentence and changes nothing")
    func refusals() throws {
        try create()
        #expect(throws: CartridgeError.exists(barcode: "V00001L8")) { try create() }
        #expect(throws: CartridgeError.missing(barcode: "V00002L8")) { try store.open(barcode: "V00002L8") }
        #expect(throws: CartridgeError.missing(barcode: "V00002L8")) { try store.delete(barcode: "V00002L8") }
        #expect(throws: CartridgeError.missing(barcode: "V00002L8")) { try store.summary(barcode: "V00002L8") }
        for name in ["", "..", "a/b", "V 1", "Ü", String(repeating: "A", count: 33)] {
            #expect(throws: CartridgeError.invalidBarcode(name)) { try create(name) }
            #expect(throws: CartridgeError.invalidBarcode(name)) { try store.delete(barcode: name) }
        }
        for capacity in [Int64.min, 0, 65535, CartridgeStore.maximumCapacity + 1] {
            #expect(throws: CartridgeError.invalidCapacity(capacity)) {
                try store.create(barcode: "V00003L8", capacity: capacity, densityCode: 0)
            }
        }
        let cartridge = try store.open(barcode: "V00001L8")
        #expect(throws: CartridgeError.inUse(barcode: "V00001L8")) { try store.open(barcode: "V00001L8") }
        #expect(throws: CartridgeError.inUse(barcode: "V00001L8")) { try store.delete(barcode: "V00001L8") }
        #expect(cartridge.close() == nil)
        #expect(try store.barcodes() == ["V00001L8"])
        #expect(CartridgeError.inUse(barcode: "V00001L8").description == "cartridge V00001L8 is in use")
    }

    @Test("Released is free again; deleted is gone, with nothing left behind")
    func deletion() throws {
        try create()
        try create("V00002L8")
        do { _ = try store.open(barcode: "V00001L8") }
        try store.delete(barcode: "V00001L8")
        #expect(try folder.names == ["V00002L8.tape"])
        try create()
        #expect(try store.barcodes() == ["V00001L8", "V00002L8"])
    }

    @Test("A cartridge is not deleted with what somebody has put into its folder", arguments: [true, false])
    func foreignFile(isFolder: Bool) throws {
        try create()
        let (tape, kept) = (folder.file("V00001L8.tape"), folder.file("V00001L8.tape/kept"))
        if isFolder {
            try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: false)
        } else {
            try Data("kept".utf8).write(to: URL(fileURLWithPath: kept))
        }
        #expect(throws: CartridgeError.foreignFiles(path: tape, names: ["kept"])) {
            try store.delete(barcode: "V00001L8")
        }
        #expect(FileManager.default.fileExists(atPath: kept))
        _ = try store.summary(barcode: "V00001L8")
        try FileManager.default.removeItem(atPath: kept)
        try store.delete(barcode: "V00001L8")
        #expect(try folder.names == [])
    }

    @Test("Of a cartridge whose folder was moved, with a link in its place, the link is deleted")
    func linkedFolder() throws {
        try create()
        let other = try TemporaryFolder()
        try FileManager.default.moveItem(atPath: folder.file("V00001L8.tape"), toPath: other.file("moved"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.file("V00001L8.tape"), withDestinationPath: other.file("moved"))
        try store.delete(barcode: "V00001L8")
        #expect(try folder.names == [])
        #expect(FileManager.default.fileExists(atPath: other.file("moved/partition0.data")))
    }

    @Test("In the place of a cartridge that is gone, a link that leads nowhere, to itself or to a file is deleted")
    func strayLinks() throws {
        let other = try TemporaryFolder()
        try other.write([1], to: "file")
        for target in [other.file("nothing"), folder.file("V00001L8.tape"), other.file("file")] {
            for name in ["V00001L8.tape", ".V00001L8.tape"] {
                try FileManager.default.createSymbolicLink(
                    atPath: folder.file(name), withDestinationPath: target)
            }
            #expect(throws: CartridgeError.exists(barcode: "V00001L8")) { try create() }
            try store.delete(barcode: "V00001L8")
            #expect(try folder.names == [], "\(target)")
            try FileManager.default.createSymbolicLink(
                atPath: folder.file(".V00001L8.tape"), withDestinationPath: target)
            try store.removeRemains(of: "V00001L8")
            #expect(try folder.names == [], "\(target)")
        }
        #expect(FileManager.default.fileExists(atPath: other.file("file")))
    }

    @Test("An index that is gone or garbage is made again from the data file", arguments: [true, false])
    func index(isGone: Bool) throws {
        try create()
        do {
            let cartridge = try store.open(barcode: "V00001L8")
            try append("one", to: cartridge)
            #expect(cartridge.close() == nil)
        }
        let path = "V00001L8.tape/index.sqlite"
        if isGone { try folder.remove(path) } else { try folder.write([UInt8](repeating: 0x55, count: 8192), to: path) }
        let cartridge = try store.open(barcode: "V00001L8")
        #expect(cartridge.endOfData == 1)
        #expect(try read(cartridge) == "one")
        #expect(cartridge.close() == nil)
        #expect(try folder.names.isEmpty == false)
    }

    @Test("An index of a newer version is refused by name")
    func newerIndex() throws {
        try create()
        let path = folder.file("V00001L8.tape/index.sqlite")
        try DatabaseQueue(path: path).writeWithoutTransaction { try $0.execute(sql: "PRAGMA user_version = 99") }
        #expect(throws: CartridgeError.newerVersion(path: path)) { try store.open(barcode: "V00001L8") }
    }

    @Test("A long stream without filemarks is synchronised and indexed on the way")
    func checkpoint() throws {
        try create()
        let cartridge = try store.open(barcode: "V00001L8")
        cartridge.checkpointInterval = 16 << 20
        var lease = try pool.required(1 << 20)
        lease.extendWithZeros(to: 1 << 20)
        for _ in 0..<20 {
            #expect(cartridge.appendBlock(from: lease, at: 0, length: 1 << 20).outcome == .done)
        }
        #expect(cartridge.writer.drain() == nil)
        let rows = try cartridge.indexContents()
        #expect(rows.first?.count ?? 0 >= 15)
        #expect(!cartridge.isDurable)
        #expect(cartridge.synchronize() == nil)
        #expect(cartridge.isDurable)
    }

    @Test("The checker finds a sound cartridge sound, names broken blocks, and rebuilds an index")
    func checker() throws {
        try create()
        do {
            let cartridge = try store.open(barcode: "V00001L8")
            for text in ["one", "two", "three"] { try append(text, to: cartridge) }
            _ = cartridge.writeFilemarks(2)
            #expect(cartridge.close() == nil)
        }
        let checker = CartridgeChecker(store)
        let sound = try checker.check(barcode: "V00001L8")
        #expect(sound.isSound, "\(sound.problems)")
        #expect(sound.blocks == 3)
        #expect(sound.filemarks == 2)
        let path = "V00001L8.tape/partition0.data"
        var bytes = try folder.read(path)
        bytes[8192 + 40 + 33] ^= 1
        try folder.write(bytes, to: path)
        let broken = try checker.check(barcode: "V00001L8")
        #expect(broken.problems.map(\.sentence) == ["block 1 at byte 8232 does not match its checksum"])
        try folder.remove("V00001L8.tape/index.sqlite")
        #expect(throws: CartridgeError.self) { try store.open(barcode: "V00001L8") }
        let rebuilt = try checker.rebuildIndex(barcode: "V00001L8")
        #expect(rebuilt.problemCount == 1)
        let cartridge = try store.open(barcode: "V00001L8")
        #expect(cartridge.endOfData == 5)
        #expect(try read(cartridge) == "one")
        var lease = try pool.required(100)
        let result = cartridge.readBlock(into: &lease, at: 0, mode: .cached)
        #expect(result.outcome == .failed(.corrupt))
        #expect(cartridge.locate(object: 2))
        #expect(try read(cartridge) == "three")
        #expect(throws: CartridgeError.inUse(barcode: "V00001L8")) { try checker.check(barcode: "V00001L8") }
    }

    @Test("Early warning and the end of the medium come where the capacity says")
    func endOfMedium() throws {
        try store.create(barcode: "SMALL", capacity: 65536, densityCode: 0x5E)
        let cartridge = try store.open(barcode: "SMALL")
        var lease = try pool.required(8192)
        lease.extendWithZeros(to: 8192)
        // Eight records of 8000 + 32 bytes are 64256; 1280 bytes are left.
        let result = cartridge.appendBlocks(from: lease, at: 0, length: 8000, count: 1)
        #expect(result == AppendResult(count: 1, outcome: .done))
        #expect(!cartridge.isBeyondEarlyWarning(zone: 10000))
        for _ in 0..<7 { _ = cartridge.appendBlock(from: lease, at: 0, length: 8000) }
        #expect(cartridge.remainingBytes == 1280)
        #expect(cartridge.isBeyondEarlyWarning(zone: 10000))
        #expect(!cartridge.fits(blockLength: 8000))
        let refused = cartridge.appendBlock(from: lease, at: 0, length: 8000)
        #expect(refused == AppendResult(count: 0, outcome: .endOfMedium))
        let partial = cartridge.appendBlocks(from: lease, at: 0, length: 512, count: 5)
        #expect(partial == AppendResult(count: 2, outcome: .endOfMedium))
        #expect(cartridge.writeFilemarks(100) == AppendResult(count: 6, outcome: .endOfMedium))
        #expect(cartridge.remainingBytes == 0)
        #expect(cartridge.usedBytes == cartridge.capacity)
        // A block that cannot be written at a position leaves what follows it alone.
        cartridge.rewind()
        #expect(cartridge.remainingBytes == 65536)
        #expect(cartridge.endOfData == 16)
    }
}

extension Cartridge {
    /// The extents that the index holds now.
    func indexContents() throws -> [CartridgeIndex.ExtentRow] {
        let path = file.map { $0.path.replacingOccurrences(of: "partition0.data", with: "index.sqlite") } ?? ""
        return try CartridgeIndex.open(path: path).contents(partition: 0)?.extents ?? []
    }
}
