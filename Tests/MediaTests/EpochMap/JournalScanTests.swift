import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("The journal of disk images")
struct JournalScanTests {
    private static let uuid = [UInt8](3..<19)

    private func superblock(units: UInt32 = 64, firstFrame: UInt32 = 0) -> EpochSuperblock {
        EpochSuperblock(
            uuid: Self.uuid, commit: 1, coveredUnits: 1000, journalUnits: units, firstFrame: firstFrame,
            firstSequence: 100, firstChain: 7, epoch: 1, nextNode: 1, isClosed: false, freeMapLevels: 1,
            nodeTableLevels: 1, freeMap: .nothing, nodeTable: .nothing)
    }

    /// Writes a frame with that many records; nil when it has no room.
    private func write(
        _ store: SimulatedStore, _ ring: inout JournalRing, records: Int, confirmed: UInt64 = 0, isLast: Bool = false,
        opening: UInt64 = 0, commit: UInt64 = 0
    ) -> JournalRing.Place? {
        var builder = JournalFrame.Builder(unitLimit: ring.frameUnits)
        for number in 0..<records { _ = builder.append(.deletion(node: UInt32(number + 1))) }
        guard let place = ring.place(for: builder.units, isLast: isLast) else { return nil }
        let seed = EpochFormat.seed(uuid: Self.uuid)
        let frame = builder.finish(
            sequence: place.sequence, confirmed: confirmed, chain: place.chain, seed: seed, opening: opening,
            commit: commit
        ) { frame, bytes in
            _ = store.write(bytes, offset: EpochFormat.offset(ofUnit: place.unit))
            return frame
        }
        ring.append(frame)
        return place
    }

    private func store() -> SimulatedStore { SimulatedStore([UInt8](repeating: 0, count: (16 + 64) * 4096)) }

    @Test("Frames are found in their order, over the end of the ring")
    func order() throws {
        let superblock = superblock(firstFrame: 50)
        let store = store()
        var ring = JournalRing(superblock)
        var sizes: [Int] = []
        // 14 units before the end: frames of 4, 4, 4; 2 are passed over; then one of 4 at the start.
        for records in [500, 400, 385, 500, 1] {
            #expect(write(store, &ring, records: records, confirmed: UInt64(98 + sizes.count)) != nil)
            sizes.append(records)
        }
        #expect(ring.usedUnits == 19 && ring.offset(of: ring.end) == 5)
        var scan = JournalScan(store, superblock)
        var found: [Int] = []
        while let frame = try scan.next() {
            var count = 0
            let bad = scan.withBytes(of: frame) { bytes in
                frame.forEachRecord(in: bytes) { _, _ in
                    count += 1
                    return true
                }
            }
            #expect(bad == nil)
            found.append(count)
        }
        #expect(found == sizes)
        let survey = try JournalScan.survey(store, superblock)
        #expect(survey.units == 19 && survey.nextSequence == 105 && survey.confirmed == 102)
        #expect(survey.chain == ring.end.chain)
        let next = JournalRing(superblock, survey)
        #expect(next.usedUnits == 19 && next.end.sequence == 105 && next.end.chain == ring.end.chain)
        var closed = superblock
        closed.isClosed = true
        #expect(try JournalScan.survey(store, closed) == survey)
    }

    @Test("The ring keeps room for the last frame before a commit, whatever frames there are", arguments: 0..<8)
    func room(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let store = store()
        var superblock = superblock(firstFrame: UInt32.random(in: 0..<64, using: &generator))
        var ring = JournalRing(superblock)
        for _ in 0..<3 {
            while write(store, &ring, records: Int.random(in: 0...510, using: &generator)) != nil {}
            #expect(write(store, &ring, records: 510, isLast: true) != nil, "the longest frame fits")
            #expect(ring.usedUnits <= 64 && ring.wantsCommit)
            let survey = try JournalScan.survey(store, superblock)
            #expect(survey.nextSequence == ring.end.sequence && survey.chain == ring.end.chain)
            #expect(survey.units == ring.usedUnits)
            ring.release(to: ring.end)
            superblock.firstFrame = ring.offset(of: ring.end)
            superblock.firstSequence = ring.end.sequence
            superblock.firstChain = ring.end.chain
            #expect(ring.usedUnits == 0)
        }
    }

    @Test("A frame that is not whole ends the journal; one that was confirmed is damage", arguments: 0..<24)
    func tornAndDamaged(seed: UInt64) throws {
        var generator = SeededRandom(seed: seed)
        let superblock = superblock(firstFrame: UInt32.random(in: 0..<64, using: &generator))
        let store = store()
        var ring = JournalRing(superblock)
        var places: [(place: JournalRing.Place, confirmed: UInt64)] = []
        for _ in 0..<6 {
            let confirmed = Bool.random(using: &generator) ? (places.last?.place.sequence ?? 0) : 0
            let place = write(store, &ring, records: Int.random(in: 0...510, using: &generator), confirmed: confirmed)
            places.append((try #require(place), confirmed))
        }
        let index = Int.random(in: 0..<6, using: &generator)
        var content = store.content
        content[Int(places[index].place.unit) * 4096 + Int.random(in: 0..<100, using: &generator)] ^= 1
        let sequence = places[index].place.sequence
        let isDamage = places[(index + 1)...].contains { $0.confirmed >= sequence }
        let broken = SimulatedStore(content)
        if isDamage {
            let fault = #expect(throws: EpochFault.self) { try JournalScan.survey(broken, superblock) }
            guard case .damaged(.journal(_, let missing)) = fault else {
                Issue.record("\(String(describing: fault))")
                return
            }
            #expect(missing == sequence)
        } else {
            #expect(try JournalScan.survey(broken, superblock).nextSequence == sequence)
        }
    }

    @Test("Frames of an opening never follow those of the next one", arguments: [false, true])
    func staleFrames(isCommitted: Bool) throws {
        var superblock = superblock()
        let store = store()
        var ring = JournalRing(superblock)
        _ = write(store, &ring, records: 3)
        // The second frame is lost in the crash, the third one is in the file.
        _ = write(store, &ring, records: 5)
        _ = write(store, &ring, records: 7)
        var content = store.content
        content.replaceSubrange(17 * 4096..<18 * 4096, with: [UInt8](repeating: 0, count: 4096))
        let crashed = SimulatedStore(content)
        let survey = try JournalScan.survey(crashed, superblock)
        #expect(survey.nextSequence == 101)
        superblock = try superblock.opened(survey)
        #expect(superblock.opening == 1 && superblock.firstOpening == 0)
        var next = JournalRing(superblock, survey)
        if isCommitted {
            superblock.firstFrame = next.offset(of: next.end)
            superblock.firstSequence = next.end.sequence
            superblock.firstChain = next.end.chain
            superblock.firstOpening = superblock.opening
            next.release(to: next.end)
        }
        // The same records again: the frame is the same but for its opening.
        _ = write(crashed, &next, records: 5, opening: 1)
        let again = try JournalScan.survey(crashed, superblock)
        #expect(again.nextSequence == next.end.sequence, "the third frame of before does not count")
        #expect(again.opening == 1)
        // The frame of before in the same place does not count behind a commit of the next opening.
        guard isCommitted else { return }
        let former = try JournalScan.survey(store, superblock)
        #expect(former.units == 0)
    }

    @Test("A frame that knows a newer commit, or a newer opening, tells that the superblock is an old one")
    func olderSuperblock() throws {
        for (opening, commit) in [(1, 1), (0, 2)] as [(UInt64, UInt64)] {
            let superblock = superblock()
            let store = store()
            var ring = JournalRing(superblock)
            _ = write(store, &ring, records: 3, opening: opening, commit: commit)
            let fault = #expect(throws: EpochFault.self) { try JournalScan.survey(store, superblock) }
            #expect(fault == .damaged(.olderSuperblock(commit: 1)))
        }
    }

    @Test("A file that ends, a store that fails, frames that are too long: values")
    func failures() throws {
        let superblock = superblock(firstFrame: 60)
        #expect(try JournalScan.survey(SimulatedStore([]), superblock).units == 0)
        var generator = SeededRandom(seed: 1)
        for _ in 0..<50 {
            var content = generator.bytes((16 + 64) * 4096 / 64)
            content += [UInt8](repeating: 0, count: (16 + 64) * 4096 - content.count)
            content.modifyBytes { bytes in
                for unit in 16..<80 {
                    bytes.storeBE64(EpochFormat.frameMagic, at: unit * 4096)
                    bytes.storeBE64(UInt64.random(in: 99...103, using: &generator), at: unit * 4096 + 8)
                    bytes.storeBE64(UInt64.random(in: 90...103, using: &generator), at: unit * 4096 + 16)
                    bytes.storeBE32(UInt32.random(in: 0...300, using: &generator), at: unit * 4096 + 24)
                    bytes.storeBE32(UInt32.random(in: 0...33000, using: &generator), at: unit * 4096 + 28)
                    bytes.storeBE32(7, at: unit * 4096 + 32)
                }
            }
            #expect(try JournalScan.survey(SimulatedStore(content), superblock).units == 0)
        }
    }
}
