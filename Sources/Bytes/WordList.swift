/// 32-bit words by index, close together, so that one of them is quickly found: eight at a time.
@safe public final class WordList {
    /// The most words.
    public let capacity: Int
    /// What a word is that stands for nothing; it is never found.
    public let vacant: UInt32
    public private(set) var count = 0
    /// Safe: made in init and `grow`, gone in deinit; indices are below `count`, and what is beyond is `vacant`.
    private var units: UnsafeMutablePointer<SIMD8<UInt32>>
    private var unitCount = 4
    private static let width = SIMD8<UInt32>.scalarCount

    /// No words, at most `capacity` of them.
    public init(capacity: Int, vacant: UInt32) {
        self.capacity = capacity
        self.vacant = vacant
        unsafe units = Self.allocate(unitCount, vacant)
    }

    deinit {
        unsafe units.deallocate()
    }

    private static func allocate(_ unitCount: Int, _ vacant: UInt32) -> UnsafeMutablePointer<SIMD8<UInt32>> {
        let units = UnsafeMutablePointer<SIMD8<UInt32>>.allocate(capacity: unitCount)
        unsafe units.initialize(repeating: SIMD8(repeating: vacant), count: unitCount)
        return unsafe units
    }

    /// Adds a vacant word; fewer than `capacity` are there.
    public func append() {
        precondition(count < capacity, "the words are bounded")
        if count == unitCount * Self.width { grow() }
        count += 1
    }

    private func grow() {
        let larger = unsafe Self.allocate(unitCount * 2, vacant)
        unsafe larger.update(from: units, count: unitCount)
        unsafe units.deallocate()
        unsafe units = larger
        unitCount *= 2
    }

    /// The word at an index below `count`.
    public subscript(index: Int) -> UInt32 {
        get {
            precondition(index >= 0 && index < count, "there is no such word")
            return unsafe units[index / Self.width][index % Self.width]
        }
        set {
            precondition(index >= 0 && index < count, "there is no such word")
            unsafe units[index / Self.width][index % Self.width] = newValue
        }
    }

    /// The first index of `word`; nil when it is not there, and for `vacant`.
    public func firstIndex(of word: UInt32) -> Int? {
        guard word != vacant else { return nil }
        for unit in 0..<(count + Self.width - 1) / Self.width {
            let matches = unsafe units[unit] .== word
            guard any(matches) else { continue }
            for lane in 0..<Self.width where matches[lane] { return unit * Self.width + lane }
        }
        return nil
    }
}
