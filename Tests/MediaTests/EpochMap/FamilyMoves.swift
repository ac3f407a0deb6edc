import TestSupport

@testable import Media

/// One random operation: a number decides what it is and, with the state that it meets, with what. So a sequence from
/// which some are taken away is a sequence.
struct FamilyMove: Sendable {
    let seed: UInt64
}

/// Does random operations on a family and its model.
struct FamilyMoves {
    /// The most heads and nodes.
    let heads: Int
    let nodes: Int

    /// A random move that `run` decides.
    mutating func step(_ run: FamilyRun, allowsRestarts: Bool) throws {
        try perform(FamilyMove(seed: run.random.next()), run, allowsRestarts: allowsRestarts)
    }

    func perform(_ move: FamilyMove, _ run: FamilyRun, allowsRestarts: Bool) throws {
        var random = SeededRandom(seed: move.seed)
        let model = run.model
        guard let head = model.heads.randomElement(using: &random) else { throw ProofFailure("there is no head") }
        switch Int.random(in: 0..<1000, using: &random) {
        case 0..<360: try write(run, head, &random)
        case 360..<450: try discard(run, head, &random)
        case 450..<600: try read(run, &random)
        case 615..<700: try run.flush()
        case 700..<760: try grow(run, head, &random)
        case 760..<830: try shrink(run, &random)
        case 830..<930: try run.mergeStep()
        case 930..<945: try run.checkpoint()
        case 600..<615: run.changeLimit(&random)
        case 945..<955:
            let units = run.model.places(head) / DiskLayout.unitBlocks
            let capacity = Int.random(in: units...run.layout.count / DiskLayout.unitBlocks, using: &random)
            guard run.layout.windows.count == 1, capacity > units else { return }
            try run.resize(head, capacity * DiskLayout.unitBlocks)
        case 955..<965: try run.drain()
        case 965..<970:
            guard let snapshot = model.snapshots.randomElement(using: &random) else { return }
            try run.lock(snapshot, for: Int64.random(in: 1...1000, using: &random))
        default:
            guard allowsRestarts else { return }
            try restart(run, &random)
        }
    }

    /// A place in the capacity, near others of its kind, and how many blocks.
    private func range(_ run: FamilyRun, _ node: UInt32, _ random: inout SeededRandom) -> (first: Int, count: Int)? {
        let places = run.model.places(node)
        guard places > 0 else { return nil }
        let longest = [1, 8, 24, 64, 400].randomElement(using: &random) ?? 1
        let span = Bool.random(using: &random) ? min(256, places) : places
        var first = Int.random(in: 0..<span, using: &random)
        var count = Int.random(in: 1...longest, using: &random)
        if Bool.random(using: &random) {
            first = first / 8 * 8
            count = (count + 7) / 8 * 8
        }
        let room = min(run.layout.room(at: first), places - first)
        return room > 0 ? (first, min(count, room)) : nil
    }

    private func write(_ run: FamilyRun, _ head: UInt32, _ random: inout SeededRandom) throws {
        guard let (first, count) = range(run, head, &random) else { return }
        if Int.random(in: 0..<12, using: &random) == 0 {
            try run.writeWithin(head, first, [UInt64](repeating: 0, count: count))
        } else {
            try run.writeWithin(head, first, run.newTags(count))
        }
    }

    private func discard(_ run: FamilyRun, _ head: UInt32, _ random: inout SeededRandom) throws {
        guard let (first, count) = range(run, head, &random) else { return }
        try run.discardWithin(head, first, count)
    }

    private func read(_ run: FamilyRun, _ random: inout SeededRandom) throws {
        guard let node = run.model.nodes.keys.sorted().randomElement(using: &random),
            let (first, count) = range(run, node, &random)
        else { return }
        try run.read(node, first, count)
    }

    /// A snapshot, a clone or a rollback.
    private func grow(_ run: FamilyRun, _ head: UInt32, _ random: inout SeededRandom) throws {
        let model = run.model
        guard model.nodes.count < nodes else { return try shrink(run, &random) }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5: try run.snapshot(head)
        case 5: try run.snapshot(model.heads)
        case 6, 7:
            guard model.heads.count < heads, let snapshot = model.snapshots.randomElement(using: &random) else {
                return
            }
            try run.clone(snapshot)
        default:
            guard let snapshot = model.ancestors(of: head).randomElement(using: &random) else { return }
            try run.rollBack(head, to: snapshot)
        }
    }

    /// A deletion.
    private func shrink(_ run: FamilyRun, _ random: inout SeededRandom) throws {
        let model = run.model
        if model.heads.count > 1, Int.random(in: 0..<4, using: &random) == 0 {
            guard let head = model.heads.randomElement(using: &random) else { return }
            try run.delete(head)
        } else if let snapshot = model.snapshots.randomElement(using: &random) {
            try run.delete(snapshot)
        }
    }

    private func restart(_ run: FamilyRun, _ random: inout SeededRandom) throws {
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
            try run.reopen()
            try run.verify()
            try run.check("after a reopening")
        case 1: try run.crash(.all)
        default: try run.crash(.random(random.next()))
        }
    }
}

/// A random history, and the shortest part of it that still fails.
struct FamilySimulation {
    let layout: DiskLayout
    let seed: UInt64
    let compression: Int?
    let moves: [FamilyMove]

    init(_ layout: DiskLayout, seed: UInt64, count: Int, compression: Int? = nil) {
        self.layout = layout
        self.compression = compression
        self.seed = seed
        var random = SeededRandom(seed: seed)
        moves = (0..<count).map { _ in FamilyMove(seed: random.next()) }
    }

    /// What fails, if anything, and how many moves it takes.
    func failure() -> (description: String, count: Int)? { failure(of: moves) }

    private func failure(of moves: [FamilyMove], keepsLog: Bool = false) -> (description: String, count: Int)? {
        var done = 0
        var run: FamilyRun?
        do {
            let family = try FamilyRun(
                layout, seed: seed, keepsHistory: false, keepsLog: keepsLog, compression: compression)
            run = family
            let chooser = FamilyMoves(heads: 4, nodes: 12)
            for move in moves {
                done += 1
                try chooser.perform(move, family, allowsRestarts: true)
            }
            done += 1
            try family.verify()
            try family.reopen()
            try family.verify()
            try family.check("at the end")
            return nil
        } catch {
            let steps = keepsLog ? "\nafter\n  " + (run?.log ?? []).map(\.label).joined(separator: "\n  ") : ""
            return ("\(error)\(steps)", done)
        }
    }

    /// The failure with moves taken away as long as it stays one, in at most `limit` trials.
    func shortestFailure(limit: Int = 400) -> String? {
        guard let first = failure() else { return nil }
        var moves = Array(self.moves.prefix(first.count))
        var trials = 0
        var piece = max(1, moves.count / 2)
        while trials < limit {
            var start = 0
            var isShorter = false
            while start < moves.count, trials < limit {
                let shorter = Array(moves[..<start] + moves[min(start + piece, moves.count)...])
                trials += 1
                if let next = failure(of: shorter) {
                    moves = Array(shorter.prefix(next.count))
                    isShorter = true
                } else {
                    start += piece
                }
            }
            if piece == 1, !isShorter { break }
            piece = max(1, piece / 2)
        }
        let last = failure(of: moves, keepsLog: true)
        return "seed \(seed), \(first.count) moves: \(first.description)\n"
            + "with \(moves.count) moves: \(last?.description ?? "not again")"
    }
}
