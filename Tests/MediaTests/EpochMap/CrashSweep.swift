import Foundation
import Platform
import TestSupport

@testable import Media

/// A history of a family that is crashed everywhere.
struct CrashWorkload: Sendable, CustomStringConvertible {
    let name: String
    var layout = DiskLayout(units: 256)
    /// Whether each crash point's opening is crashed too.
    var isDeep = false
    /// The level at which extents are compressed.
    var compression: Int?
    let body: @Sendable (FamilyRun) throws -> Void

    var description: String { name }
}

/// Does a workload once and then looks at what crashes in the middle of it leave.
struct CrashSweep {
    let workload: CrashWorkload
    let seed: UInt64
    /// How many crash points have been looked at.
    private(set) var points = 0
    /// Each such point goes on for a while with what the crash has left.
    private let continuation = 5
    /// The opening of each such point is crashed too.
    private let crashOfCrash = 7

    init(_ workload: CrashWorkload, seed: UInt64) {
        self.workload = workload
        self.seed = seed
    }

    /// About `count` crash points; the first fault is thrown.
    mutating func run(_ count: Int) throws {
        let run = try FamilyRun(workload.layout, seed: seed, compression: workload.compression)
        do {
            try workload.body(run)
            try run.verify()
        } catch {
            let last = run.log.suffix(12).map(\.label).joined(separator: "\n  ")
            throw ProofFailure("\(workload) seed \(seed), without a crash: \(error)\nafter\n  \(last)")
        }
        let (base, entries) = run.store.record
        var cursor = CrashCursor(base: base, entries: entries)
        var history = ModelHistory(run)
        let places = entries.count - run.firstCall + 1
        let isDense = places <= count
        let perPlace = max(1, (count + places - 1) / places)
        var random = SeededRandom(seed: seed)
        for place in run.firstCall...entries.count {
            let isChosen = isDense || Int.random(in: 0..<places, using: &random) < count
            guard isChosen || place == entries.count else { continue }
            cursor.advance(to: place)
            history.advance(to: place)
            for choice in cursor.choices(perPlace, isExhaustive: true, seed: seed) {
                do {
                    try look(at: cursor.image(choice), history.alternatives)
                } catch {
                    throw ProofFailure(
                        "\(workload) seed \(seed), crash after call \(place) of \(entries.count), \(choice): \(error)\n"
                            + "log:\n  \(history.lastSteps(run.log))\n"
                            + "not synchronised: \(cursor.pending)\n\(Self.describe(cursor.pending, entries))")
                }
            }
        }
        print("\(workload), seed \(seed): \(points) crash points")
    }

    private static func describe(_ pending: [Int], _ entries: [StoreEntry]) -> String {
        pending.suffix(12).map { place in
            guard case .change(let change) = entries[place] else { return "" }
            return switch change {
            case .write(let offset, let bytes):
                "  \(place): write of \(bytes.count) bytes to unit \(offset / 4096) + \(offset % 4096)"
            case .truncate(let length): "  \(place): truncation to \(length)"
            case .punch(let offset, let length): "  \(place): hole at unit \(offset / 4096), \(length) bytes"
            }
        }.joined(separator: "\n")
    }

    /// Opens what a crash has left and compares it with what may be there.
    private mutating func look(at image: SparseImage, _ alternatives: [FamilyModel]) throws {
        points += 1
        let isDeep = workload.isDeep || points % crashOfCrash == 0
        let store = RecordingStore(image, keepsHistory: isDeep)
        let (family, model) = try Self.open(store, alternatives)
        if isDeep {
            let (base, entries) = store.record
            var cursor = CrashCursor(base: base, entries: entries)
            var random = SeededRandom(seed: seed &+ UInt64(points))
            for place in 0...entries.count where workload.isDeep || Int.random(in: 0...4, using: &random) == 0 {
                cursor.advance(to: place)
                let choice =
                    cursor.choices(2, isExhaustive: false, seed: random.next()).last ?? .all
                points += 1
                do {
                    _ = try Self.open(RecordingStore(cursor.image(choice)), alternatives)
                } catch {
                    throw ProofFailure("then in the opening after call \(place), \(choice): \(error)")
                }
            }
        }
        if points % continuation == 0 {
            let run = FamilyRun(family, store, model, seed: seed &+ UInt64(points))
            do {
                try Self.goOn(run)
            } catch {
                let steps = run.log.map(\.label).joined(separator: "; ")
                throw ProofFailure("going on after that: \(error), after: \(steps)")
            }
        }
    }

    /// Opens a store and gives the alternative that it is like, as it was found.
    private static func open(
        _ store: RecordingStore, _ alternatives: [FamilyModel]
    ) throws -> (DiskFamily, FamilyModel) {
        let family: DiskFamily
        do {
            family = try FamilyRun.open(store)
        } catch {
            throw ProofFailure("it does not open: \(error)")
        }
        let found = FamilyInspection(family, alternatives[0].layout)
        var differences: [String] = []
        for model in alternatives {
            guard let difference = model.difference(from: found, isLive: false) else {
                let findings = family.check()
                guard findings.isEmpty else { throw ProofFailure("check finds \(findings.prefix(5))") }
                return (family, model.settled(with: found))
            }
            differences.append(difference)
        }
        throw ProofFailure(differences.joined(separator: "; or: "))
    }

    /// What was left is a family like any other.
    private static func goOn(_ run: FamilyRun) throws {
        for head in run.model.heads {
            let places = run.model.places(head)
            for _ in 0..<3 {
                let first = Int.random(in: 0..<places - 16, using: &run.random)
                let count = min(Int.random(in: 1...16, using: &run.random), run.layout.room(at: first))
                try run.write(head, first, count)
            }
        }
        try run.flush()
        if let head = run.model.heads.first {
            try run.snapshot(head)
            try run.write(head, 0, 12)
        }
        try run.drain()
        try run.verify()
        // Crashes in succession, some of them right after the opening.
        for _ in 0..<3 {
            try run.crash(.random(run.random.next()))
            guard Bool.random(using: &run.random), let head = run.model.heads.first else { continue }
            try run.write(head, Int.random(in: 0..<64, using: &run.random), 24)
            if Bool.random(using: &run.random) { try run.flush() }
        }
        if Bool.random(using: &run.random) {
            try run.crash(.random(run.random.next()))
        } else {
            try run.reopen()
            try run.check("after the reopening")
        }
        try run.verify()
    }
}

/// The model at each call of a record.
struct ModelHistory {
    private let log: [FamilyRun.Step]
    private var model: FamilyModel
    /// The step that is next or under way, and whether it has begun.
    private(set) var step = 0
    private var hasBegun = false

    init(_ run: FamilyRun) {
        log = run.log
        model = run.firstModel
    }

    /// Goes on to where `calls` calls were made.
    mutating func advance(to calls: Int) {
        while step < log.count {
            if !hasBegun {
                guard log[step].calls.lowerBound <= calls else { return }
                model.start(log[step].change)
                hasBegun = true
            }
            guard log[step].calls.upperBound <= calls else { return }
            if log[step].isAcknowledged { model.finish(log[step].change) }
            step += 1
            hasBegun = false
        }
    }

    /// What may be there: the state before the operation that is under way, and the one after it.
    var alternatives: [FamilyModel] {
        guard hasBegun, log[step].change.isStructural else { return [model] }
        var after = model
        after.finish(log[step].change, isAcknowledged: false)
        return [model, after]
    }

    /// The steps that led here, in words.
    func lastSteps(_ log: [FamilyRun.Step], limit: Int = 40) -> String {
        let end = min(log.count, hasBegun ? step + 1 : step)
        return log[max(0, end - limit)..<end].map { "\($0.calls) \($0.label)" }.joined(separator: "\n  ")
    }
}
