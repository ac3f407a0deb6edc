import Bytes
import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Disks with snapshots whose sizes differ")
struct FamilySizeTests {
    @Test("Two nodes of different sizes are compared, also far behind the end of one", arguments: [false, true])
    func differences(isCommitted: Bool) throws {
        let family = try FamilyFixture.create(on: SimulatedStore(), capacity: 1 << 30)
        #expect(family.fill(1, 1, at: 4096, count: 4096) == .done(4096))
        let small = try family.snapshot([1], names: ["small"], time: FamilyFixture.time())[0]
        try family.resize(1, to: 3 << 30)
        let place: Int64 = 2560 << 20
        #expect(family.fill(1, 2, at: place, count: 8192) == .done(8192))
        let back = try family.rollBack(1, to: small, keeping: "large", time: FamilyFixture.time())
        let clone = try family.clone(small, name: "clone", time: FamilyFixture.time())
        if isCommitted { #expect(family.checkpoint() == 0) }
        let unit = UInt64(place) / 4096
        for other in [back, clone, small] {
            #expect(try family.differences(from: other, to: 1, first: 0, limit: 9) == [unit..<unit + 2])
            #expect(try family.differences(from: 1, to: other, first: 0, limit: 9) == [unit..<unit + 2])
        }
        #expect(try family.differences(from: 1, to: back, first: 0, limit: -1) == [])
        #expect(try family.runs(1, first: 0, limit: -1) == [])
    }

    @Test("Of two who resize at once the smaller one is refused, or was first")
    func race() throws {
        let family = try FamilyFixture.create(on: RecordingStore(keepsHistory: false), capacity: 1 << 20)
        let rounds: Int64 = Effort.isFull ? 500 : 100
        try withThreads { start in
            for thread in Int64(0)..<3 {
                try start {
                    for round in 1...rounds {
                        let capacity = (1 + round * 3 + (thread * round) % 3) << 20
                        do {
                            try family.resize(1, to: capacity)
                        } catch FamilyError.smaller {
                            // Another one was first.
                        } catch {
                            Issue.record(error)
                        }
                    }
                }
            }
        }
        #expect(family.nodes[0].capacity > rounds << 20)
        #expect(family.check() == [])
    }
}
