import TestSupport

@testable import Media

/// Histories of compressed extents, and some of the others with compression. 128 places are an extent.
extension CrashWorkloads {
    static let compressed: [CrashWorkload] =
        ofExtents.map(withCompression)
        + (ofData + ofNodes).enumerated().filter { $0.offset % 4 == 1 }.map(\.element)
        .map(withCompression)

    private static func withCompression(_ workload: CrashWorkload) -> CrashWorkload {
        CrashWorkload(
            name: "\(workload.name), compressed", layout: workload.layout, isDeep: workload.isDeep, compression: 3,
            body: workload.body)
    }

    private static let ofExtents: [CrashWorkload] = [
        CrashWorkload(name: "whole extents again and again") { run in
            for round in 0..<14 {
                try run.write(run.head, 128 * (round % 5), 128 * (1 + round % 3))
                if round % 2 == 0 { try run.flush() }
                if round % 6 == 5 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "parts of extents") { run in
            try run.write(run.head, 0, 512)
            try run.flush()
            for _ in 0..<24 {
                try run.write(
                    run.head, Int.random(in: 0..<480, using: &run.random), Int.random(in: 1...32, using: &run.random))
                if Int.random(in: 0..<3, using: &run.random) == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "discards of parts of extents") { run in
            for round in 0..<12 {
                try run.write(run.head, 128 * (round % 4), 256)
                if round % 3 == 0 { try run.flush() }
                try run.discard(run.head, 128 * (round % 4) + 9 * round, 100 + 8 * round)
                if round % 2 == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "extents that are shared") { run in
            try run.write(run.head, 0, 640)
            let clone = try run.clone(try run.snapshot(run.head))
            for round in 0..<10 {
                try run.write(round % 2 == 0 ? run.head : clone, 128 * (round % 5), 128)
                try run.write(round % 3 == 0 ? run.head : clone, 128 * (round % 4) + 40, 70)
                if round % 3 == 2 { try run.flush() }
                if round == 5 { try run.snapshot(run.head) }
            }
            for snapshot in run.model.snapshots { try run.delete(snapshot) }
            try run.drain()
            try run.checkpoint()
        },
        CrashWorkload(name: "extents on a full host") { run in
            try run.write(run.head, 0, 512)
            try run.snapshot(run.head)
            for round in 0..<16 {
                if round % 5 == 0 { run.store.limit(to: Int.random(in: 0...9, using: &run.random)) }
                run.writeOrPin(run.head, 64 * Int.random(in: 0..<12, using: &run.random), 128 + 64 * (round % 3))
                run.discardOrPin(run.head, 50 * round, 60)
                if round % 3 == 2 { try run.flush() }
                if round % 8 == 7 { run.tryCheckpoint() }
            }
            run.store.limit(to: nil)
            try run.rethrowPinFailure()
            try run.write(run.head, 0, 256)
        },
        CrashWorkload(name: "extents at the end of a disk that grows", layout: DiskLayout(units: 70, growsTo: 100)) {
            run in
            try run.write(run.head, 256, 304)
            try run.flush()
            try run.resize(run.head, 740)
            try run.write(run.head, 500, 200)
            try run.flush()
            try run.resize(run.head, 800)
            try run.write(run.head, 512, 288)
            try run.flush()
            try run.discard(run.head, 600, 200)
            try run.checkpoint()
        },
    ]
}
