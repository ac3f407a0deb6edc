internal import Bytes
internal import Platform
internal import Synchronization

/// The blocks that an application client has made unreadable: pseudo unrecovered errors (SBC-4 clause 4.18.2). They
/// are kept with the image, at most `limit`, and go when they are written.
///
/// A disk without marks pays for one load of an atomic word with each command.
final class BlockMarks: Sendable {
    /// Makes a note of marks, nil for none, durable in place of the present one: 0 or an error number, with which the
    /// present one stays.
    typealias Keeping = (_ note: [UInt8]?, _ present: [UInt8]?) -> Int32

    /// The most marks: their note has room beside others in one block of ext4.
    static let limit = 256

    private let count: Atomic<Int>
    /// In ascending order.
    private let blocks: Lock<[UInt64]>
    /// Held while a change is made durable, on a thread that may wait: what is kept is what is in force.
    private let changing = Lock(())

    /// The marks of a note.
    init(_ note: [UInt8]) {
        let found = Self.blocks(ofNote: note)
        count = Atomic(found.count)
        blocks = Lock(found)
    }

    private static func blocks(ofNote note: [UInt8]) -> [UInt64] {
        var found: [UInt64] = []
        for offset in stride(from: 0, to: note.count & ~7, by: 8) { found.append(note.rawSpan.loadBE64(at: offset)) }
        return Array(Set(found).sorted().prefix(limit))
    }

    /// Has the marks of another note from now on, which is kept already.
    func replace(with note: [UInt8]) {
        changing.withLock { _ in
            let found = Self.blocks(ofNote: note)
            blocks.withLock { $0 = found }
            count.store(found.count, ordering: .releasing)
        }
    }

    /// Whether there is none.
    var isEmpty: Bool { count.load(ordering: .acquiring) == 0 }

    /// Whether one of `count` blocks from `first` on is marked.
    func contain(_ first: UInt64, _ count: UInt64) -> Bool {
        guard !isEmpty else { return false }
        return blocks.withLock { blocks in blocks.contains { $0 >= first && $0 - first < count } }
    }

    /// Marks a block, when `keep` has made that durable; 0 or an error number.
    func add(_ block: UInt64, _ keep: Keeping) -> Int32 {
        change(keep) { blocks in
            guard !blocks.contains(block) else { return }
            blocks.insert(block, at: blocks.firstIndex { $0 > block } ?? blocks.count)
        }
    }

    /// Takes the marks of `count` blocks from `first` on away, when `keep` has made that durable; 0 or an error number.
    func remove(_ first: UInt64, _ count: UInt64, _ keep: Keeping) -> Int32 {
        change(keep) { blocks in blocks.removeAll { $0 >= first && $0 - first < count } }
    }

    /// The note of marks; nil when there are none.
    static func note(_ blocks: [UInt64]) -> [UInt8]? {
        guard !blocks.isEmpty else { return nil }
        var note: [UInt8] = []
        for block in blocks { note.appendBE64(block) }
        return note
    }

    private func change(_ keep: Keeping, _ body: (inout [UInt64]) -> Void) -> Int32 {
        changing.withLock { _ in
            let present = blocks.withLock { $0 }
            var next = present
            body(&next)
            guard next != present else { return 0 }
            guard next.count <= Self.limit else { return Errno.noSpace }
            let code = keep(Self.note(next), Self.note(present))
            guard code == 0 else { return code }
            let changed = next
            blocks.withLock { $0 = changed }
            count.store(changed.count, ordering: .releasing)
            return 0
        }
    }
}
