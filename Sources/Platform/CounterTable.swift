public import Synchronization

/// Rows of counters in which one thread counts and that any thread reads, late by as much as the processor's caches
/// are.
///
/// A row has words of its own and a sparse part, in pages of 16 words. Rows and pages are made when they are first
/// counted in: a table costs what has occurred, and after that counting is a load and a store. What is read of one row
/// while it is counted in need not fit together.
@safe public final class CounterTable: @unchecked Sendable {
    /// The words of a page.
    public static let pageLength = 16

    /// The most rows.
    public let rowLimit: Int
    /// The words that a row has of its own.
    public let words: Int
    /// The pages of a row's sparse part.
    public let pages: Int

    /// A row: its words, then the addresses of its pages, 0 where there is none.
    @usableFromInline typealias Block = UnsafeMutablePointer<Atomic<UInt>>

    /// Safe: made in init, gone in deinit; the addresses of the rows, 0 where there is none. A row or page that is
    /// there stays where it is, and is published when it is all zero.
    @usableFromInline let rows: Block

    /// A table without rows: at most `rowLimit` of them with `words` words and `pages` pages.
    public init(rowLimit: Int, words: Int, pages: Int) {
        precondition(rowLimit > 0 && words > 0 && pages >= 0, "a table has rows and words")
        self.rowLimit = rowLimit
        self.words = words
        self.pages = pages
        unsafe rows = Self.allocate(rowLimit)
    }

    deinit {
        for row in 0..<rowLimit {
            guard let block = unsafe Block(bitPattern: rows[row].load(ordering: .acquiring)) else { continue }
            for page in 0..<pages {
                let address = unsafe block[words + page].load(ordering: .acquiring)
                if let page = unsafe Block(bitPattern: address) { unsafe Self.free(page) }
            }
            unsafe Self.free(block)
        }
        unsafe Self.free(rows)
    }

    /// Zeros on cache lines of their own.
    private static func allocate(_ count: Int) -> Block {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: (count * MemoryLayout<UInt>.stride + 63) & ~63, alignment: 64)
        let block = unsafe memory.assumingMemoryBound(to: Atomic<UInt>.self)
        for index in 0..<count { unsafe (block + index).initialize(to: Atomic(0)) }
        return unsafe block
    }

    private static func free(_ block: Block) {
        // Atomic words need no deinitialisation.
        unsafe UnsafeMutableRawPointer(block).deallocate()
    }

    // MARK: The thread that counts

    /// Adds to a word of a row.
    @inlinable public func add(_ amount: UInt, row: Int, word: Int) {
        update(row) { $0.add(amount, word: word) }
    }

    /// Makes a word of a row `value`.
    @inlinable public func store(_ value: UInt, row: Int, word: Int) {
        update(row) { $0.store(value, word: word) }
    }

    /// Adds one to a word of the sparse part of a row.
    @inlinable public func count(row: Int, sparse index: Int) {
        update(row) { $0.count(sparse: index) }
    }

    /// Counts several things in one row, which is looked for once.
    @inlinable @inline(__always) public func update(_ row: Int, _ body: (borrowing Row) -> Void) {
        body(unsafe Row(block: block(row), words: words, pages: pages))
    }

    /// A row while it is counted in.
    @safe public struct Row: ~Copyable {
        /// Safe: `update` lends the row, and the table keeps its rows.
        @usableFromInline let block: Block
        @usableFromInline let words: Int
        @usableFromInline let pages: Int

        @usableFromInline @inline(__always) init(block: Block, words: Int, pages: Int) {
            unsafe self.block = block
            self.words = words
            self.pages = pages
        }

        @usableFromInline @inline(__always) func place(_ word: Int) -> Block {
            precondition(word >= 0 && word < words, "there is no such word")
            return unsafe block + word
        }

        /// Adds to a word.
        @inlinable public func add(_ amount: UInt, word: Int) {
            let place = unsafe place(word)
            unsafe place.pointee.store(place.pointee.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
        }

        /// Makes a word `value`.
        @inlinable public func store(_ value: UInt, word: Int) {
            unsafe place(word).pointee.store(value, ordering: .relaxed)
        }

        /// Makes a word `value`, unless it is that or more already.
        @inlinable public func raise(to value: UInt, word: Int) {
            let place = unsafe place(word)
            if unsafe value > place.pointee.load(ordering: .relaxed) {
                unsafe place.pointee.store(value, ordering: .relaxed)
            }
        }

        /// Adds one to a word of the sparse part.
        @inlinable public func count(sparse index: Int) {
            precondition(index >= 0 && index < pages * CounterTable.pageLength, "there is no such word")
            let page = unsafe page(index / CounterTable.pageLength)
            let place = unsafe page + index % CounterTable.pageLength
            unsafe place.pointee.store(place.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        }

        @usableFromInline @inline(__always) func page(_ page: Int) -> Block {
            let place = unsafe block + words + page
            if let block = unsafe Block(bitPattern: place.pointee.load(ordering: .relaxed)) { return unsafe block }
            return unsafe CounterTable.publish(CounterTable.pageLength, at: place)
        }
    }

    @usableFromInline @inline(__always) func block(_ row: Int) -> Block {
        precondition(row >= 0 && row < rowLimit, "there is no such row")
        let address = unsafe rows[row].load(ordering: .relaxed)
        if let block = unsafe Block(bitPattern: address) { return unsafe block }
        return unsafe Self.publish(words + pages, at: rows + row)
    }

    @usableFromInline @inline(never) static func publish(_ count: Int, at place: Block) -> Block {
        let block = unsafe allocate(count)
        unsafe place.pointee.store(UInt(bitPattern: block), ordering: .releasing)
        return unsafe block
    }

    // MARK: Any thread

    /// Whether anything of the row was counted.
    @inlinable public func hasRow(_ row: Int) -> Bool { unsafe published(row) != nil }

    /// A word of a row; 0 when there is no such row.
    @inlinable public func value(row: Int, word: Int) -> UInt {
        precondition(word >= 0 && word < words, "there is no such word")
        guard let block = unsafe published(row) else { return 0 }
        return unsafe block[word].load(ordering: .relaxed)
    }

    /// Calls `body` with the index and the value of each word of the sparse part of a row that is not 0, in order.
    @inlinable public func forEachSparse(row: Int, _ body: (Int, UInt) -> Void) {
        guard let block = unsafe published(row) else { return }
        for page in 0..<pages {
            let address = unsafe block[words + page].load(ordering: .acquiring)
            guard let words = unsafe Block(bitPattern: address) else { continue }
            for word in 0..<Self.pageLength {
                let value = unsafe words[word].load(ordering: .relaxed)
                if value != 0 { body(page * Self.pageLength + word, value) }
            }
        }
    }

    @usableFromInline @inline(__always) func published(_ row: Int) -> Block? {
        precondition(row >= 0 && row < rowLimit, "there is no such row")
        return unsafe Block(bitPattern: rows[row].load(ordering: .acquiring))
    }
}
