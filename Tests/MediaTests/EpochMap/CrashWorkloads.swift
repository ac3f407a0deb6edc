import TestSupport

@testable import Media

/// Histories of data: writes, flushes, discards and checkpoints. Eight places are a unit.
enum CrashWorkloads {
    static let ofData: [CrashWorkload] = [
        CrashWorkload(name: "sequential writes and flushes") { run in
            for round in 0..<10 {
                try run.write(run.head, round * 128, 128)
                if round % 3 == 2 { try run.flush() }
            }
        },
        CrashWorkload(name: "random overwrites in place") { run in
            try run.write(run.head, 0, 256)
            try run.flush()
            try run.flush()
            for _ in 0..<40 {
                try run.write(run.head, 8 * Int.random(in: 0..<32, using: &run.random), 8)
                if Int.random(in: 0..<6, using: &run.random) == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "an overwrite before the record is confirmed") { run in
            for round in 0..<10 {
                try run.write(run.head, 16 * round, 16)
                try run.flush()
                try run.write(run.head, 16 * round + 4, 4)
                try run.write(run.head, 16 * round + 8, 8)
                if round % 3 == 1 { try run.flush() }
                if round % 3 == 2 { try run.snapshot(run.head) }
                if round % 2 == 1 { try run.write(run.head, 16 * round, 16) }
            }
        },
        CrashWorkload(name: "one block again and again") { run in
            for _ in 0..<40 {
                try run.write(run.head, 5, 1)
                try run.flush()
            }
        },
        CrashWorkload(name: "parts of a shared unit") { run in
            try run.write(run.head, 0, 64)
            try run.snapshot(run.head)
            for _ in 0..<40 {
                try run.write(run.head, Int.random(in: 0..<64, using: &run.random), 1)
                if Int.random(in: 0..<5, using: &run.random) == 0 { try run.flush() }
                if Int.random(in: 0..<12, using: &run.random) == 0 { try run.snapshot(run.head) }
            }
        },
        CrashWorkload(name: "writes that begin and end in units") { run in
            for _ in 0..<40 {
                let first = Int.random(in: 0..<200, using: &run.random)
                try run.write(run.head, first, Int.random(in: 1...40, using: &run.random))
                if Int.random(in: 0..<5, using: &run.random) == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "discards and rewrites") { run in
            try run.write(run.head, 0, 512)
            try run.flush()
            for _ in 0..<25 {
                let first = 8 * Int.random(in: 0..<48, using: &run.random)
                let count = 8 * Int.random(in: 1...16, using: &run.random)
                try run.discard(run.head, first, count)
                if Bool.random(using: &run.random) { try run.flush() }
                try run.write(run.head, first, Int.random(in: 1...count, using: &run.random))
                if Bool.random(using: &run.random) { try run.flush() }
            }
        },
        CrashWorkload(name: "discards, also of parts of units") { run in
            try run.write(run.head, 0, 400)
            try run.flush()
            for _ in 0..<20 {
                let first = Int.random(in: 0..<380, using: &run.random)
                try run.discard(run.head, first, Int.random(in: 1...20, using: &run.random))
                if Int.random(in: 0..<4, using: &run.random) == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "zeros that are written") { run in
            for _ in 0..<40 {
                let first = Int.random(in: 0..<100, using: &run.random)
                let count = Int.random(in: 1...24, using: &run.random)
                if Bool.random(using: &run.random) {
                    try run.write(run.head, first, [UInt64](repeating: 0, count: count))
                } else {
                    try run.write(run.head, first, count)
                }
                if Int.random(in: 0..<4, using: &run.random) == 0 { try run.flush() }
            }
        },
        CrashWorkload(name: "a freed unit that others need at once") { run in
            try run.write(run.head, 0, 128)
            try run.flush()
            for round in 0..<20 {
                try run.discard(run.head, 8 * (round % 16), 8)
                try run.write(run.head, 512 + 8 * round, 8)
                if round % 2 == 0 { try run.flush() }
                try run.write(run.head, 1024 + 8 * round, 8)
                if round % 5 == 4 { try run.flush() }
                try run.write(run.head, 8 * (round % 16), 8)
            }
        },
        CrashWorkload(name: "checkpoints under writes", layout: DiskLayout(units: 1100)) { run in
            for round in 0..<24 {
                let first = Int.random(in: 0..<1060 * 8, using: &run.random)
                try run.write(run.head, first, Int.random(in: 1...64, using: &run.random))
                if round % 4 == 1 { try run.flush() }
                if round % 3 == 2 { try run.checkpoint() }
            }
        },
        CrashWorkload(name: "the journal goes round") { run in
            for round in 0..<180 {
                try run.write(run.head, 8 * (round % 20), 8)
                if round % 7 == 3 { try run.discard(run.head, 8 * (round % 11), 8) }
                try run.flush()
            }
        },
        CrashWorkload(name: "big frames in the journal", layout: DiskLayout(units: 1100)) { run in
            for round in 0..<6 {
                // Each second unit, from the end on: a record each.
                for unit in 0..<250 { try run.write(run.head, 8 * (2 * (249 - unit) + round % 2), 8) }
                try run.flush()
                for unit in 0..<120 { try run.discard(run.head, 32 * unit, 8) }
                try run.flush()
            }
        },
        CrashWorkload(name: "a full host") { run in
            try run.write(run.head, 0, 160)
            try run.snapshot(run.head)
            for round in 0..<30 {
                if round % 6 == 0 { run.store.limit(to: Int.random(in: 0...6, using: &run.random)) }
                let first = Int.random(in: 0..<200, using: &run.random)
                run.writeOrPin(run.head, first, Int.random(in: 1...24, using: &run.random))
                if round % 3 == 2 { try run.flush() }
                if round % 10 == 9 { run.tryCheckpoint() }
            }
            run.store.limit(to: nil)
            try run.rethrowPinFailure()
            try run.write(run.head, 0, 160)
        },
        CrashWorkload(name: "a failing synchronisation") { run in
            try run.write(run.head, 0, 100)
            try run.flush()
            try run.write(run.head, 40, 100)
            run.store.failSynchronizations(5)
            for round in 0..<6 {
                guard run.tryFlush() != 0 else { throw ProofFailure("a flush is done that could not be") }
                run.writeOrPin(run.head, 20 * round, 17)
            }
            run.store.failSynchronizations(0)
            guard run.tryFlush() != 0 else { throw ProofFailure("what was lost once is durable") }
            run.writeOrPin(run.head, 7, 20)
            try run.rethrowPinFailure()
        },
        CrashWorkload(name: "closed and opened") { run in
            for round in 0..<8 {
                try run.write(run.head, 30 * round, 60)
                if round % 3 == 1 { try run.snapshot(run.head) }
                if round % 2 == 0 { try run.flush() }
                try run.write(run.head, 7 * round, 9)
                try run.reopen()
            }
        },
        CrashWorkload(name: "whole regions", layout: DiskLayout(units: 1100)) { run in
            for first in stride(from: 0, to: 1100 * 8, by: 550 * 2) { try run.write(run.head, first, 1100) }
            try run.checkpoint()
            for _ in 0..<10 { try run.write(run.head, 8 * Int.random(in: 0..<1099, using: &run.random), 8) }
            try run.snapshot(run.head)
            try run.checkpoint()
            for _ in 0..<10 { try run.write(run.head, 8 * Int.random(in: 0..<1099, using: &run.random), 9) }
            try run.flush()
            try run.discard(run.head, 512 * 8, 512 * 8)
            try run.checkpoint()
            try run.write(run.head, 512 * 8, 100)
            try run.flush()
        },
    ]
}
