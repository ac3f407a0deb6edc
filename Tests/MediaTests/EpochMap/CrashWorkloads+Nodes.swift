import TestSupport

@testable import Media

/// Histories of snapshots, clones, rollbacks, deletions and changes of capacity.
extension CrashWorkloads {
    static let ofNodes: [CrashWorkload] = [
        CrashWorkload(name: "a snapshot under writes") { run in
            for _ in 0..<6 {
                for _ in 0..<5 { try random(run) }
                try run.snapshot(run.head)
                for _ in 0..<3 { try random(run) }
                try run.flush()
            }
        },
        CrashWorkload(name: "a snapshot, then overwrites") { run in
            try run.write(run.head, 0, 256)
            try run.snapshot(run.head)
            for unit in 0..<32 {
                try run.write(run.head, 8 * unit, 8)
                if unit % 9 == 8 { try run.flush() }
            }
            try run.flush()
            for unit in 0..<16 { try run.write(run.head, 8 * unit, 8) }
        },
        CrashWorkload(name: "many snapshots between checkpoints") { run in
            for round in 0..<24 {
                try random(run)
                try random(run)
                try run.snapshot(run.head)
                if round % 12 == 11 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "a clone, and writes to both") { run in
            try run.write(run.head, 0, 200)
            let snapshot = try run.snapshot(run.head)
            let clone = try run.clone(snapshot)
            for round in 0..<24 {
                try random(run, round % 2 == 0 ? run.head : clone)
                if round % 5 == 4 { try run.flush() }
                if round == 12 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "snapshots of two heads at one instant") { run in
            try run.write(run.head, 0, 200)
            let clone = try run.clone(try run.snapshot(run.head))
            for _ in 0..<5 {
                for _ in 0..<3 {
                    try random(run)
                    try random(run, clone)
                }
                try run.snapshot([run.head, clone])
            }
        },
        CrashWorkload(name: "rollbacks") { run in
            var head = run.head
            var snapshots: [UInt32] = []
            for round in 0..<8 {
                for _ in 0..<4 { try random(run, head) }
                if round % 2 == 0 { snapshots.append(try run.snapshot(head)) }
                if round % 3 == 2 { head = try run.rollBack(head, to: snapshots[round % snapshots.count]) }
                if round == 4 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "deletions with many steps", layout: sparse) { run in
            var snapshots: [UInt32] = []
            for _ in 0..<5 {
                for _ in 0..<8 { try random(run) }
                snapshots.append(try run.snapshot(run.head))
            }
            for number in [1, 3, 0, 2, 4] {
                try run.delete(snapshots[number])
                var steps = 0
                while try run.mergeStep() {
                    steps += 1
                    if steps % 2 == 0 { try run.flush() }
                }
                if number == 3 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "a deletion while its head overwrites", layout: sparse) { run in
            for _ in 0..<20 { try random(run) }
            let first = try run.snapshot(run.head)
            for _ in 0..<20 { try random(run) }
            let second = try run.snapshot(run.head)
            for _ in 0..<10 { try random(run) }
            try run.checkpoint()
            for snapshot in [second, first] {
                try run.delete(snapshot)
                repeat {
                    for _ in 0..<4 { try random(run) }
                    if Bool.random(using: &run.random) { try run.flush() }
                } while try run.mergeStep()
            }
        },
        CrashWorkload(name: "a deletion with snapshots in the middle of it", layout: sparse) { run in
            for _ in 0..<20 { try random(run) }
            let first = try run.snapshot(run.head)
            for _ in 0..<20 { try random(run) }
            try run.delete(first)
            while try run.mergeStep() {
                try random(run)
                try run.snapshot(run.head)
                try random(run)
            }
            for snapshot in run.model.snapshots {
                try run.delete(snapshot)
                try run.mergeStep()
                try random(run)
            }
            try run.drain()
        },
        CrashWorkload(name: "branches that go") { run in
            try run.write(run.head, 0, 200)
            let trunk = try run.snapshot(run.head)
            let clone = try run.clone(trunk)
            for _ in 0..<6 {
                try random(run)
                try random(run, clone)
            }
            let upper = try run.snapshot(clone)
            let other = try run.clone(upper)
            for _ in 0..<6 { try random(run, other) }
            try run.delete(trunk)
            try run.drain()
            try run.delete(clone)
            try run.mergeStep()
            for _ in 0..<4 { try random(run) }
            try run.drain()
            try run.checkpoint()
            try run.delete(other)
            try run.drain()
            try run.delete(upper)
            try run.drain()
            for _ in 0..<4 { try random(run) }
            try run.flush()
        },
        CrashWorkload(name: "snapshots that are locked") { run in
            for round in 0..<6 {
                for _ in 0..<4 { try random(run) }
                let snapshot = try run.snapshot(run.head)
                try random(run)
                try run.lock(snapshot, for: 100)
                if round % 2 == 1 { try run.checkpoint() }
                if let oldest = run.model.snapshots.first {
                    try run.lock(oldest, for: 50)
                    if round % 3 == 2 { try run.delete(oldest) }
                }
                try run.mergeStep()
            }
        },
        CrashWorkload(name: "a disk that grows", layout: DiskLayout(units: 100, growsTo: 1400)) { run in
            for capacity in [101, 300, 512, 513, 1024, 1400] {
                for _ in 0..<4 { try random(run) }
                // To the end, so that the region there may be a run.
                let places = run.model.places(run.head)
                if capacity % 2 == 0 { try run.write(run.head, places - 64, 64) }
                if capacity == 512 { try run.checkpoint() }
                if capacity == 1024 {
                    try run.write(run.head, 512 * 8, 8)
                    try run.checkpoint()
                }
                try run.resize(run.head, capacity * 8)
                for _ in 0..<4 { try random(run) }
                let places2 = run.model.places(run.head)
                try run.write(run.head, places2 - 8, 8)
                if capacity == 513 { try run.snapshot(run.head) }
                if capacity % 3 == 0 { try run.flush() }
            }
            try run.flush()
        },
        CrashWorkload(name: "a crash of the crash", layout: DiskLayout(units: 600), isDeep: true) { run in
            for round in 0..<5 {
                for _ in 0..<4 { try random(run) }
                if round % 2 == 0 { try run.snapshot(run.head) } else { try run.flush() }
                if round == 2 { try run.checkpoint() }
            }
            if let snapshot = run.model.snapshots.first { try run.delete(snapshot) }
            try run.mergeStep()
            for _ in 0..<4 { try random(run) }
        },
        CrashWorkload(name: "anything", layout: DiskLayout(units: 560)) { run in
            var moves = FamilyMoves(heads: 3, nodes: 10)
            for _ in 0..<120 { try moves.step(run, allowsRestarts: false) }
        },
    ]

    static let all = ofData + ofNodes

    /// Windows of a disk of 1.75 GiB: its map has four pages of level 1.
    static let sparse = DiskLayout(
        windows: [0..<160, 1_048_496..<1_048_656, 2_101_248..<2_101_408, 3_500_000..<3_500_160],
        capacity: 3_670_016)

    /// A random write or discard.
    static func random(_ run: FamilyRun, _ head: UInt32? = nil) throws {
        let head = head ?? run.head
        let places = run.model.places(head)
        let first = Int.random(in: 0..<min(places, 800), using: &run.random)
        let room = min(run.layout.room(at: first), places - first)
        let count = Int.random(in: 1...min(room, 24), using: &run.random)
        if Int.random(in: 0..<5, using: &run.random) == 0 {
            try run.discard(head, first, count)
        } else {
            try run.write(head, first, count)
        }
    }
}
