internal import Platform
internal import Synchronization

/// Keeps commands apart that write the same units of a head: those that overwrite in place share a unit, those that
/// make new versions have it for themselves.
///
/// There are as many guards as words, for all units of all heads together: a guard is that of several.
@safe final class UnitGuards: @unchecked Sendable {
    /// The guards; a power of two.
    static let count = 1024
    /// Units in succession under one guard, as a power of two: those of an extent, which is compressed as a whole, so
    /// that all who write parts of it meet.
    static let unitShift = EpochFormat.extentShift
    /// Somebody has it for himself.
    private static let exclusive: UInt32 = 1 << 31
    /// Somebody waits to have it for himself; who would share it waits.
    private static let wanted: UInt32 = 1 << 30

    /// The guards of a range of units, which follow one another in the ring of all guards.
    struct Range: Equatable {
        /// The first guard.
        let first: Int
        /// How many.
        let count: Int

        /// Those of the units `units` of the head `head`.
        init(head: UInt32, units: Swift.Range<UInt64>) {
            precondition(!units.isEmpty, "a command has units")
            let begin = units.lowerBound >> UnitGuards.unitShift
            let end = (units.upperBound - 1) >> UnitGuards.unitShift
            let place = begin &+ UInt64(head) &* 0x9E37_79B9
            first = Int(place & UInt64(UnitGuards.count - 1))
            count = Int(min(end - begin + 1, UInt64(UnitGuards.count)))
        }

        /// Calls `body` with the index of each guard, in ascending order, until it is false; how many were true.
        fileprivate func ascending(_ body: (Int) -> Bool) -> Int {
            var done = 0
            let end = first + count
            for index in 0..<max(0, end - UnitGuards.count) {
                guard body(index) else { return done }
                done += 1
            }
            for index in first..<min(end, UnitGuards.count) {
                guard body(index) else { return done }
                done += 1
            }
            return done
        }
    }

    /// Safe: made in init, gone in deinit.
    private let words: UnsafeMutablePointer<Atomic<UInt32>>

    init() {
        unsafe words = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: Self.count)
        for index in 0..<Self.count { unsafe (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe words.deallocate()
    }

    /// Shares all of `range`, or nothing (false). It does not wait.
    func tryShare(_ range: Range) -> Bool {
        take(range, { share($0) }, release: { release($0, shared: true) })
    }

    /// Has all of `range` for itself, or nothing (false). It does not wait.
    func tryExclude(_ range: Range) -> Bool {
        take(range, { exclude($0) }, release: { release($0, shared: false) })
    }

    /// Shares all of `range`; it may wait.
    func share(_ range: Range) {
        _ = range.ascending { index in
            var patience = Patience()
            while !share(index) { patience.pause() }
            return true
        }
    }

    /// Has all of `range` for itself; it may wait.
    func exclude(_ range: Range) {
        _ = range.ascending { index in
            var patience = Patience()
            while !exclude(index) {
                unsafe words[index].bitwiseOr(Self.wanted, ordering: .relaxed)
                patience.pause()
            }
            return true
        }
    }

    /// Gives back what `tryShare` or `share` took.
    func endSharing(_ range: Range) {
        _ = range.ascending { index in
            release(index, shared: true)
            return true
        }
    }

    /// Gives back what `tryExclude` or `exclude` took.
    func endExcluding(_ range: Range) {
        _ = range.ascending { index in
            release(index, shared: false)
            return true
        }
    }

    // MARK: One guard

    private func take(_ range: Range, _ body: (Int) -> Bool, release: (Int) -> Void) -> Bool {
        let done = range.ascending(body)
        guard done < range.count else { return true }
        var left = done
        _ = range.ascending { index in
            guard left > 0 else { return false }
            left -= 1
            release(index)
            return true
        }
        return false
    }

    private func share(_ index: Int) -> Bool {
        var word = unsafe words[index].load(ordering: .relaxed)
        while word & (Self.exclusive | Self.wanted) == 0 {
            let (exchanged, original) = unsafe words[index].weakCompareExchange(
                expected: word, desired: word + 1, ordering: .acquiring)
            if exchanged { return true }
            word = original
        }
        return false
    }

    private func exclude(_ index: Int) -> Bool {
        var word = unsafe words[index].load(ordering: .relaxed)
        while word & ~Self.wanted == 0 {
            // Others who want it too say so again.
            let (exchanged, original) = unsafe words[index].weakCompareExchange(
                expected: word, desired: Self.exclusive, ordering: .acquiring)
            if exchanged { return true }
            word = original
        }
        return false
    }

    private func release(_ index: Int, shared: Bool) {
        if shared {
            unsafe words[index].subtract(1, ordering: .releasing)
        } else {
            unsafe words[index].bitwiseAnd(~Self.exclusive, ordering: .releasing)
        }
    }
}
