import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("The journal of atomic writes")
struct AtomicWriteJournalTests {
    private let identity: UInt64 = 77
    private let old = [UInt8](repeating: 1, count: 64 * 512)
    private let new = [UInt8](repeating: 2, count: 16 * 512)
    private let offset: Int64 = 8 * 512

    private func journal(_ store: SimulatedStore) -> AtomicWriteJournal {
        AtomicWriteJournal(identity: identity) { () throws(SystemError) in
            store
        } removeStore: {
            0
        }
    }

    private func isWhole(_ content: [UInt8]) -> Bool {
        let range = Array(content[Int(offset)..<Int(offset) + new.count])
        let rest = Array(content[..<Int(offset)] + content[(Int(offset) + new.count)...])
        return (range == new || range == Array(old.prefix(new.count))) && rest.allSatisfy { $0 == 1 }
    }

    @Test("A failure or a crash at any call leaves all or nothing")
    func failures() throws {
        var random = SeededRandom(seed: 5)
        for call in 1...8 {
            for failsJournal in [false, true] {
                for _ in 0..<20 {
                    let (image, file) = (SimulatedStore(old), SimulatedStore())
                    (failsJournal ? file : image).fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
                    let code = journal(file).write(new, at: offset, to: image) { image.synchronizeData() }
                    image.stopFailing()
                    file.stopFailing()
                    if code == 0 { #expect(Array(image.durable[Int(offset)...].prefix(new.count)) == new) }
                    #expect(isWhole(image.content))
                    let (after, journalAfter) = (
                        image.afterCrash(using: &random), file.afterCrash(using: &random)
                    )
                    let recovered = AtomicWriteJournal.recover(
                        from: journalAfter, identity: identity, to: after, length: after.size())
                    #expect(recovered == 0)
                    #expect(isWhole(after.content), "call \(call)")
                }
            }
        }
    }

    @Test("A record that can be neither struck out nor removed is a loss, and so is a part that stays in the image")
    func losses() {
        for failsJournal in [false, true] {
            let (image, file) = (SimulatedStore(old), SimulatedStore())
            let journal = AtomicWriteJournal(identity: identity) { () throws(SystemError) in
                file
            } removeStore: {
                Errno.inputOutput
            }
            // The fourth call of the journal strikes out; the first of the image writes.
            (failsJournal ? file : image).fail(
                at: failsJournal ? 4 : 1, errorNumber: Errno.inputOutput, fromThenOn: true)
            var loss: Int32 = 0
            let code = journal.write(
                new, at: offset, to: image, synchronize: { image.synchronizeData() }, lose: { loss = $0 })
            #expect(code == Errno.inputOutput)
            #expect(loss == Errno.inputOutput)
            image.stopFailing()
            #expect(
                AtomicWriteJournal.recover(from: file, identity: identity, to: image, length: image.size()) == 0)
            #expect(isWhole(image.content))
            // A file whose removal has failed is not used again.
            let discarded = journal.discarding { discard in MediaFailure.of(discard()) }
            #expect((discarded == nil) == !failsJournal)
        }
    }

    @Test("After a removal that has failed, the next write removes the file first, and writes nothing before")
    func removalFirst() {
        let image = SimulatedStore(old)
        let files = Lock<[SimulatedStore]>([])
        let removal = Lock((code: Errno.inputOutput, count: 0))
        let journal = AtomicWriteJournal(identity: identity) { () throws(SystemError) in
            let file = SimulatedStore()
            files.withLock { $0.append(file) }
            return file
        } removeStore: {
            removal.withLock { removal in
                removal.count += 1
                return removal.code
            }
        }
        func write() -> Int32 { journal.write(new, at: offset, to: image) { image.synchronizeData() } }
        #expect(write() == 0)
        #expect(journal.erase() == Errno.inputOutput)
        let (first, imageCalls) = (files.withLock { $0[0] }, image.callCount)
        let calls = first.callCount
        for attempt in 2...3 {
            #expect(write() == Errno.inputOutput)
            #expect(removal.withLock { $0.count } == attempt)
            #expect(first.callCount == calls && image.callCount == imageCalls)
        }
        removal.withLock { $0.code = 0 }
        #expect(write() == 0)
        #expect(removal.withLock { $0.count } == 4)
        #expect(first.callCount == calls)
        #expect(files.withLock { $0.count } == 2)
    }

    @Test("A crash in the middle: the next opening finishes what was recorded, and nothing else")
    func recovery() {
        var random = SeededRandom(seed: 6)
        for _ in 0..<200 {
            let (image, file) = (SimulatedStore(old), SimulatedStore())
            var crashed: (SimulatedStore, SimulatedStore)?
            let holder = Lock<(SimulatedStore, SimulatedStore)?>(nil)
            let seed = random.next()
            _ = journal(file).write(new, at: offset, to: image) {
                // In the image, and not durable there.
                var generator = SeededRandom(seed: seed)
                let state = (image.afterCrash(using: &generator), file.afterCrash(using: &generator))
                holder.withLock { $0 = state }
                return image.synchronizeData()
            }
            crashed = holder.withLock { $0 }
            guard let (after, journalAfter) = crashed else { return #expect(Bool(false)) }
            #expect(
                AtomicWriteJournal.recover(from: journalAfter, identity: identity, to: after, length: after.size())
                    == 0)
            #expect(Array(after.content[Int(offset)...].prefix(new.count)) == new)
            #expect(isWhole(after.content))
        }
    }

    @Test("A record that is struck out, of another image, or damaged at any byte is not taken")
    func foreignRecords() {
        let (image, file) = (SimulatedStore(old), SimulatedStore())
        let record = Lock<[UInt8]>([])
        #expect(
            journal(file).write(new, at: offset, to: image) {
                record.withLock { $0 = file.content }
                return image.synchronizeData()
            } == 0)
        func recovered(_ bytes: [UInt8], identity: UInt64) -> [UInt8] {
            let target = SimulatedStore(old)
            #expect(
                AtomicWriteJournal.recover(
                    from: SimulatedStore(bytes), identity: identity, to: target, length: target.size()) == 0)
            return target.content
        }
        let bytes = record.withLock { $0 }
        #expect(recovered(bytes, identity: identity) != old)
        #expect(recovered(bytes, identity: 78) == old)
        #expect(recovered(file.content, identity: identity) == old)
        #expect(recovered([], identity: identity) == old)
        for byte in Array(0..<40) + [4096, bytes.count - 1] {
            var damaged = bytes
            damaged[byte] ^= 0x10
            #expect(recovered(damaged, identity: identity) == old, "byte \(byte)")
        }
        for length in [10, 39, 40, 4096, bytes.count - 1] {
            #expect(recovered(Array(bytes.prefix(length)), identity: identity) == old)
        }
    }

    @Test("An image finishes the write at its opening and removes the file beside it")
    func opening() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/disk.img"
        let engine = SimulatedEngine()
        do {
            let image = try RawDiskImage.create(path: path, capacity: 65536, blockSize: 512, engine: engine)
            #expect(image.maximumAtomicLength == 1 << 20)
        }
        let number = try FileStatus.of(path).fileNumber
        let image = SimulatedStore([UInt8](repeating: 0, count: 65536))
        let file = SimulatedStore()
        let record = Lock<[UInt8]>([])
        _ = AtomicWriteJournal(identity: number) { () throws(SystemError) in
            file
        } removeStore: {
            0
        }.write(new, at: offset, to: image) {
            record.withLock { $0 = file.content }
            return image.synchronizeData()
        }
        let journal = try File.open(path: path + ".atomic", [.readWrite, .create])
        let recorded = record.withLock { $0 }
        let written = journal.write(recorded.rawSpan, fileOffset: 0)
        #expect(written != .wouldBlock)
        let opened = try RawDiskImage.open(path: path, blockSize: 512, engine: engine)
        var content = [UInt8](repeating: 0, count: new.count)
        let read = content.modifyBytes { opened.store.read(into: &$0, offset: offset, mode: .blocking) }
        #expect(read == .done(new.count))
        #expect(content == new)
        #expect(!FilePath.isName(path + ".atomic"))
    }
}
