/// Who may go on and who waits, by keys; the rules of a `KeyedQueue` without its threads.
///
/// Everyone stands in the line of each of its keys, in order of arrival, and goes on when it is the first in all of
/// them. Keys that are held for long come first: only who is the first in all of their lines gets into the lines of its
/// other keys, so that nobody who waits for hours keeps others from what is soon free. In each of the two layers all
/// lines have the same order, and nobody in the lines of the second waits for a key of the first: there is no circle of
/// waiters, and nobody is overtaken in a line.
struct KeyLines<Key: Hashable> {
    /// Who stands in lines.
    typealias Ticket = UInt64

    private let isHeldForLong: (Key) -> Bool
    private var lines: [Key: [Ticket]] = [:]
    /// The keys in whose lines each stands.
    private var keys: [Ticket: Set<Key>] = [:]
    /// The keys in whose lines each will stand when it has those that are held for long.
    private var later: [Ticket: Set<Key>] = [:]
    private var holders: Set<Ticket> = []

    init(isHeldForLong: @escaping (Key) -> Bool = { _ in false }) { self.isHeldForLong = isHeldForLong }

    /// Those that have all of their keys.
    var holderCount: Int { holders.count }
    /// Those that wait for a key.
    var waiterCount: Int { keys.count - holders.count }

    /// Puts `ticket`, which is in no line yet, at the end of the lines of its keys. True when it has them all now.
    mutating func enter(_ ticket: Ticket, keys wanted: Set<Key>) -> Bool {
        let first = wanted.filter(isHeldForLong)
        keys[ticket] = []
        later[ticket] = wanted.subtracting(first)
        stand(ticket, first)
        return promote(ticket)
    }

    /// Takes `ticket` out of its lines, whether it held its keys or waited for them. Gives those that have all of
    /// theirs by that.
    mutating func leave(_ ticket: Ticket) -> [Ticket] {
        guard let left = keys.removeValue(forKey: ticket) else { return [] }
        later[ticket] = nil
        holders.remove(ticket)
        return vacate(ticket, left)
    }

    /// Takes `ticket`, which holds all of its keys, out of the lines of those in `left`; it holds the others on. Gives
    /// those that have all of theirs by that. Does nothing when it holds none.
    mutating func release(_ ticket: Ticket, _ left: Set<Key>) -> [Ticket] {
        guard holders.contains(ticket), let held = keys[ticket] else { return [] }
        keys[ticket] = held.subtracting(left)
        return vacate(ticket, held.intersection(left))
    }

    private mutating func vacate(_ ticket: Ticket, _ left: Set<Key>) -> [Ticket] {
        var first: Set<Ticket> = []
        for key in left {
            lines[key]?.removeAll { $0 == ticket }
            if let next = lines[key]?.first { first.insert(next) } else { lines[key] = nil }
        }
        return first.sorted().filter { promote($0) }
    }

    private mutating func stand(_ ticket: Ticket, _ wanted: Set<Key>) {
        for key in wanted { lines[key, default: []].append(ticket) }
        keys[ticket]?.formUnion(wanted)
    }

    private func isFirst(_ ticket: Ticket) -> Bool {
        keys[ticket]?.allSatisfy { lines[$0]?.first == ticket } ?? false
    }

    /// Has a waiter that is the first in all of its lines stand for the rest of its keys, and makes it a holder when it
    /// is the first there too; false when it is not, or is one already.
    private mutating func promote(_ ticket: Ticket) -> Bool {
        guard !holders.contains(ticket), isFirst(ticket) else { return false }
        if let rest = later.removeValue(forKey: ticket) { stand(ticket, rest) }
        guard isFirst(ticket) else { return false }
        holders.insert(ticket)
        return true
    }
}
