import TestSupport

/// Which of the changes that were not synchronised a crash leaves.
enum CrashChoice: Hashable, Sendable, CustomStringConvertible {
    /// All: the process ended, the machine goes on.
    case all
    case none
    /// All but one, counted from the last one back.
    case allBut(Int)
    /// One, counted from the last one back.
    case only(Int)
    /// Those whose bit is set; the last 62 are chosen from, those before are there.
    case subset(UInt64)
    /// As a seed decides: each change is there, lost, or torn by sectors.
    case random(UInt64)

    var description: String {
        switch self {
        case .all: "all"
        case .none: "none"
        case .allBut(let number): "all but the \(number)-th from the end"
        case .only(let number): "only the \(number)-th from the end"
        case .subset(let bits): "subset \(String(bits, radix: 2))"
        case .random(let seed): "random \(seed)"
        }
    }
}

/// Goes through a record from one crash point to the next, and makes the files that a crash there could leave.
struct CrashCursor {
    private let entries: [StoreEntry]
    /// What a crash cannot take.
    private(set) var durable: SparseImage
    /// The changes that a crash can take: their places in the record.
    private(set) var pending: [Int] = []
    /// How many of the calls were made.
    private(set) var position = 0

    init(base: SparseImage, entries: [StoreEntry]) {
        durable = base
        self.entries = entries
    }

    /// Goes on to where `count` calls were made.
    mutating func advance(to count: Int) {
        while position < count {
            switch entries[position] {
            case .change: pending.append(position)
            case .synchronized(let upTo):
                let done = pending.prefix { $0 < upTo }
                for place in done { apply(place) }
                pending.removeFirst(done.count)
            case .lost(let upTo): pending.removeAll { $0 < upTo }
            }
            position += 1
        }
    }

    private mutating func apply(_ place: Int) {
        if case .change(let change) = entries[place] { change.apply(to: &durable) }
    }

    /// The file after a crash here.
    func image(_ choice: CrashChoice) -> SparseImage {
        var image = durable
        switch choice {
        case .none: break
        case .random(let seed): applyRandom(seed, to: &image)
        default:
            for (number, place) in pending.enumerated() {
                let fromEnd = pending.count - 1 - number
                let isKept =
                    switch choice {
                    case .allBut(let lost): fromEnd != lost
                    case .only(let kept): fromEnd == kept
                    case .subset(let bits): fromEnd > 61 || bits >> UInt64(fromEnd) & 1 != 0
                    default: true
                    }
                if isKept, case .change(let change) = entries[place] { change.apply(to: &image) }
            }
        }
        return image
    }

    private func applyRandom(_ seed: UInt64, to image: inout SparseImage) {
        var random = SeededRandom(seed: seed)
        // A device may have written nearly all, or nearly nothing.
        let lost = [3, 25, 50, 75, 97].randomElement(using: &random) ?? 50
        let torn = [0, 15, 60].randomElement(using: &random) ?? 0
        for place in pending {
            guard case .change(let change) = entries[place] else { continue }
            if Int.random(in: 0..<100, using: &random) < torn {
                let growsWhole = Bool.random(using: &random)
                change.applyTorn(to: &image, growsWhole: growsWhole) { Bool.random(using: &random) }
            } else if Int.random(in: 0..<100, using: &random) >= lost {
                change.apply(to: &image)
            }
        }
    }

    /// What to try here: of few changes each subset, if `isExhaustive`; and else the plain cases and `count` in all.
    func choices(_ count: Int, isExhaustive: Bool, seed: UInt64) -> [CrashChoice] {
        guard !pending.isEmpty else { return [.all] }
        if isExhaustive, pending.count <= 12, 1 << pending.count <= count {
            return (0..<UInt64(1) << UInt64(pending.count)).map { .subset($0) }
        }
        var choices: [CrashChoice] = [.all]
        var random = SeededRandom(seed: seed &+ UInt64(position) &* 0x9E37_79B9)
        while choices.count < count {
            let place = Int.random(in: 0..<pending.count, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: choices.append(.none)
            case 1, 2: choices.append(.allBut(place))
            case 3: choices.append(.only(place))
            default: choices.append(.random(random.next()))
            }
        }
        return choices
    }
}
