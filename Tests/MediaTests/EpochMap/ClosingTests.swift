import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Closing disks with snapshots")
struct ClosingTests {
    @Test("What follows on a commit counts, also on one that says that nothing does")
    func closedBit() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 8192) == .done(8192))
        #expect(family.flush() == 0)
        let node = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        var superblock = family.maintenance.withLock { $0.superblock }
        superblock.isClosed = true
        for copy in 0..<EpochFormat.superblockCopies {
            let place = EpochFormat.offset(ofUnit: EpochSuperblock.unit(ofCopy: copy))
            #expect(store.write(superblock.encoded().rawSpan, offset: place) == .done(4096))
        }
        let opened = try DiskFamily.open(store)
        #expect(opened.nodes.map(\.number) == [1, node])
        for number in [1, node] {
            #expect(opened.content(number, at: 0, count: 8192) == [UInt8](repeating: 1, count: 8192))
        }
        #expect(opened.check() == [])
    }

    @Test("After a close everything that writes fails, and what was there is read")
    func closed() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 8192) == .done(8192))
        let node = try family.snapshot([1], names: ["one"], time: FamilyFixture.time())[0]
        let clone = try family.clone(node, name: "clone", time: FamilyFixture.time())
        #expect(family.close() == 0)
        let entries = store.entryCount
        for head in [1, clone] {
            #expect(family.fill(head, 2, at: 0, count: 4096) == .failed(Errno.cancelled))
            #expect(family.fill(head, 2, at: 1 << 20, count: 4096) == .failed(Errno.cancelled))
            #expect(family.discard(head, at: 0, length: 4096) == .failed(Errno.cancelled))
            #expect(family.content(head, at: 0, count: 8192) == [UInt8](repeating: 1, count: 8192))
        }
        #expect(throws: FamilyError.failed(Errno.cancelled)) {
            try family.snapshot([1], names: ["two"], time: FamilyFixture.time())
        }
        #expect(throws: FamilyError.failed(Errno.cancelled)) { try family.resize(1, to: 16 << 20) }
        #expect(throws: FamilyError.failed(Errno.cancelled)) { try family.mergeStep() }
        #expect(family.flush() == Errno.cancelled)
        #expect(family.checkpoint() == Errno.cancelled)
        #expect(family.close() == 0)
        #expect(store.entryCount == entries)
        #expect(try DiskFamily.open(store).nodes == family.nodes)
    }

    @Test("What comes while a close goes on is refused, and a close that has failed changes nothing")
    func during() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        #expect(family.fill(1, 1, at: 0, count: 8192) == .done(8192))
        let superblock = family.maintenance.withLock { $0.superblock }
        store.interleave(1, superblock) {
            #expect(family.fill(1, 2, at: 0, count: 4096) == .failed(Errno.cancelled))
            #expect(family.flush() == Errno.cancelled)
            store.fail(at: 1, Errno.noSpace, fromThenOn: true)
        }
        #expect(family.close() == Errno.noSpace)
        #expect(!store.endInterleaving())
        store.fail(at: nil, 0)
        #expect(family.fill(1, 2, at: 0, count: 4096) == .done(4096))
        #expect(family.flush() == 0)
        let opened = try DiskFamily.open(RecordingStore(store.afterCrash(.none)))
        #expect(opened.content(1, at: 0, count: 4096) == [UInt8](repeating: 2, count: 4096))
        #expect(family.close() == 0)
    }
}
