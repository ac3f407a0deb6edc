import Bytes
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Records of disks with snapshots that no flush writes")
struct FrameTimerTests {
    @Test("What was written is there soon when only the process ends")
    func timer() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store)
        #expect(FrameTimer.shared != nil)
        family.startFrames { [weak family] in family?.writeCollected() }
        for round: UInt8 in 1...3 {
            #expect(family.fill(1, round, at: Int64(round) << 16, count: 4096) == .done(4096))
            let before = store.entryCount
            var naps = 0
            while store.entryCount == before, naps < 1000 {
                sleepMilliseconds(10)
                naps += 1
            }
            let opened = try DiskFamily.open(RecordingStore(store.afterCrash(.all)))
            for value in 1...round {
                let content = opened.content(1, at: Int64(value) << 16, count: 4096)
                #expect(content == [UInt8](repeating: value, count: 4096))
            }
        }
        #expect(family.close() == 0)
        #expect(try DiskFamily.open(store).content(1, at: 3 << 16, count: 512) == [UInt8](repeating: 3, count: 512))
    }

    @Test("A busy disk writes few frames for that reason")
    func cost() throws {
        let store = RecordingStore()
        let family = try FamilyFixture.create(on: store, capacity: 1 << 30)
        #expect(FrameTimer.shared != nil)
        family.startFrames { [weak family] in family?.writeCollected() }
        let begin = MonotonicTime.current()
        let first = family.journal.withLock { $0.written }
        for unit: Int64 in 0..<400 {
            #expect(family.fill(1, 1, at: unit << 13, count: 4096) == .done(4096))
        }
        let duration = MonotonicTime.current() - begin
        let frames = family.journal.withLock { $0.written } - first
        #expect(frames <= UInt64(duration.wholeNanoseconds / 100_000_000) + 1)
    }
}
