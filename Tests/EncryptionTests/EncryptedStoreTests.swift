import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Encryption

@Suite("The filter over the file of an encrypted image")
struct EncryptedStoreTests {
    private let below = SimulatedStore([UInt8](repeating: 0, count: 64 * 512))

    private func filter() throws -> EncryptedStore {
        EncryptedStore(below, try SectorCipher(try .random(), sectorSize: 512))
    }

    private func read(_ store: EncryptedStore, _ count: Int, at offset: Int64, _ mode: ReadMode = .blocking) -> [UInt8]?
    {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let result = bytes.modifyBytes { store.read(into: &$0, offset: offset, mode: mode) }
        return result == .done(count) ? bytes : nil
    }

    private func isZero(_ bytes: ArraySlice<UInt8>) -> Bool { bytes.allSatisfy { $0 == 0 } }

    private func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) } }

    @Test("What is written is read again, and is not what is stored")
    func roundTrip() throws {
        let store = try filter()
        let content = pattern(4096)
        #expect(store.write(content.rawSpan, offset: 1024) == .done(4096))
        #expect(read(store, 4096, at: 1024) == content)
        #expect(read(store, 512, at: 2048) == Array(content[1024..<1536]))
        let stored = Array(below.content[1024..<5120])
        #expect(stored != content)
        // Every sector is of one value, and none of its ciphertext repeats.
        #expect(cipherBlocks(stored).count == 256)
        // What is beside it is as it was: a hole.
        #expect(isZero(below.content[..<1024]) && isZero(below.content[5120...]))
        #expect(read(store, 1024, at: 0) == [UInt8](repeating: 0, count: 1024))
    }

    @Test("Leases are written from and read into at their offsets")
    func leases() throws {
        let store = try filter()
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: 8192) else { return }
        lease.assign([9] + pattern(2048))
        #expect(
            store.write(header: RawSpan(), from: lease, at: 1, count: 2048, offset: 512) == .done(2048))
        guard var other = pool.lease(capacity: 8192) else { return }
        var nothing = MutableRawSpan()
        #expect(
            store.read(header: &nothing, into: &other, at: 512, count: 2048, offset: 512, mode: .cached)
                == .done(2048))
        #expect(Array(other.copyToArray()[512..<2560]) == pattern(2048))
    }

    @Test("Long writes go in pieces, and come back whole")
    func pieces() throws {
        let count = 3 * SectorCipher.scratchLength + 512
        let below = SimulatedStore([UInt8](repeating: 0, count: count))
        let store = EncryptedStore(below, try SectorCipher(try .random(), sectorSize: 512))
        let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 512) }
        #expect(store.writeCached(content.rawSpan, offset: 0) == .done(count))
        #expect(read(store, count, at: 0) == content)
        below.fail(at: 2, errorNumber: Errno.noSpace, fromThenOn: false)
        #expect(store.write(content.rawSpan, offset: 0) == .failed(Errno.noSpace))
    }

    @Test("Parts of sectors are refused")
    func parts() throws {
        let store = try filter()
        let content = pattern(1024)
        let refusal = FileResult.failed(Errno.invalidArgument)
        #expect(store.write(content.rawSpan, offset: 1) == refusal)
        #expect(store.write(content.rawSpan.extracting(0..<511), offset: 0) == refusal)
        #expect(store.write(content.rawSpan, offset: -512) == refusal)
        #expect(read(store, 100, at: 0) == nil)
        #expect(read(store, 512, at: 100) == nil)
        #expect(store.punchHole(at: 1, length: 512) == Errno.invalidArgument)
        #expect(store.zeroRange(at: 0, length: 100) == Errno.invalidArgument)
        #expect(store.encrypted(Array(content.prefix(100)), at: 0) == nil)
        #expect(isZero(below.content[...]))
    }

    @Test("What was unmapped or made zero reads as zeros, as stored; written zeros do too, and are stored otherwise")
    func zeros() throws {
        let store = try filter()
        #expect(store.write(pattern(4096).rawSpan, offset: 0) == .done(4096))
        #expect(store.punchHole(at: 0, length: 1024) == 0)
        #expect(store.zeroRange(at: 1024, length: 512) == 0)
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(store.write(zeros.rawSpan, offset: 1536) == .done(512))
        #expect(read(store, 2048, at: 0) == [UInt8](repeating: 0, count: 2048))
        #expect(isZero(below.content[..<1536]) && !isZero(below.content[1536..<2048]))
    }

    @Test("A file that ends early gives the whole sectors that it has")
    func truncation() throws {
        let store = try filter()
        #expect(store.write(pattern(4096).rawSpan, offset: 0) == .done(4096))
        #expect(below.truncate(to: 1300) == 0)
        var bytes = [UInt8](repeating: 0xEE, count: 4096)
        let result = bytes.modifyBytes { store.read(into: &$0, offset: 0, mode: .blocking) }
        #expect(result == .done(1300))
        #expect(Array(bytes.prefix(1024)) == pattern(1024))
    }

    @Test("While all contexts are in use, transfers that may not wait say so")
    func exhaustion() throws {
        let cipher = try SectorCipher(try .random(), sectorSize: 512)
        let store = EncryptedStore(below, cipher)
        let content = pattern(512)
        let held = (0..<SectorCipher.contextLimit).compactMap { _ in cipher.take(waits: false) }
        #expect(held.count == SectorCipher.contextLimit && Set(held).count == held.count)
        #expect(store.writeCached(content.rawSpan, offset: 0) == .wouldBlock)
        var bytes = content
        let result = bytes.modifyBytes { store.read(into: &$0, offset: 0, mode: .cached) }
        #expect(result == .wouldBlock)
        for index in held { cipher.give(index) }
        #expect(store.writeCached(content.rawSpan, offset: 0) == .done(512))
        below.isCached = false
        #expect(read(store, 512, at: 0, .cached) == nil)
        #expect(read(store, 512, at: 0) == content)
    }

    @Test("A new key makes all read as zeros until that ends; then the old is noise, and the new is read")
    func replacement() throws {
        let store = try filter()
        #expect(store.write(pattern(4096).rawSpan, offset: 0) == .done(4096))
        store.replaceKey(by: try .random())
        #expect(read(store, 4096, at: 0) == [UInt8](repeating: 0, count: 4096))
        store.showContent()
        let noise = try #require(read(store, 512, at: 0))
        #expect(noise != pattern(512) && !isZero(noise[...]))
        #expect(store.write(pattern(512).rawSpan, offset: 0) == .done(512))
        #expect(read(store, 512, at: 0) == pattern(512))
        store.refuseTransfers()
        #expect(read(store, 512, at: 0) == nil)
        #expect(store.write(pattern(512).rawSpan, offset: 0) == .failed(Errno.inputOutput))
        // Only a key that is sure to be found again ends that.
        store.replaceKey(by: try .random())
        #expect(store.write(pattern(512).rawSpan, offset: 0) == .failed(Errno.inputOutput))
        store.replaceKey(by: try .random(), isSettled: true)
        store.showContent()
        #expect(store.write(pattern(512).rawSpan, offset: 0) == .done(512))
        #expect(read(store, 512, at: 0) == pattern(512))
    }
}
