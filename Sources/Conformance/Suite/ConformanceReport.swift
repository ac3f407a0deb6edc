/// What a run of the suite found.
public struct ConformanceReport: Sendable {
    /// One test and its verdict.
    public struct Entry: Sendable {
        public let test: ConformanceTest
        /// How it ended.
        public let verdict: Verdict
    }

    /// How many tests of a subject ended how.
    public struct Count: Sendable, Hashable {
        /// GROUP.SUBJECT, or GROUP.
        public let name: String
        /// Tests that passed.
        public internal(set) var passed = 0
        /// Tests that failed.
        public internal(set) var failed = 0
        /// Tests that were skipped.
        public internal(set) var skipped = 0
        /// Tests that came to no result.
        public internal(set) var inconclusive = 0

        /// All tests.
        public var total: Int { passed + failed + skipped + inconclusive }

        mutating func add(_ verdict: Verdict) {
            switch verdict {
            case .passed: passed += 1
            case .failed: failed += 1
            case .skipped: skipped += 1
            case .inconclusive: inconclusive += 1
            }
        }
    }

    /// What the target offers, in words.
    public let survey: [String]
    /// The verdicts, in the order of the tests.
    public internal(set) var entries: [Entry] = []

    /// The counts of each group, in the order of the tests.
    public var groups: [Count] { counts(\.group) }
    /// The counts of each subject, in the order of the tests.
    public var subjects: [Count] { counts(\.subject) }
    /// The counts of all tests.
    public var total: Count { counts { _ in "all" }.first ?? Count(name: "all") }

    /// Why tests were skipped, and how many for that reason; the reasons of the most tests first.
    public var skipReasons: [(reason: String, count: Int)] {
        var counts: [String: Int] = [:]
        for entry in entries {
            if case .skipped(let reason) = entry.verdict { counts[reason, default: 0] += 1 }
        }
        return counts.map { (reason: $0.key, count: $0.value) }.sorted { ($1.count, $0.reason) < ($0.count, $1.reason) }
    }

    /// Whether no test failed or remained open.
    public var isClean: Bool { total.failed == 0 && total.inconclusive == 0 }

    private func counts(_ name: (ConformanceTest) -> String) -> [Count] {
        var counts: [Count] = []
        for entry in entries {
            let name = name(entry.test)
            if let index = counts.firstIndex(where: { $0.name == name }) {
                counts[index].add(entry.verdict)
            } else {
                var count = Count(name: name)
                count.add(entry.verdict)
                counts.append(count)
            }
        }
        return counts
    }
}
