import TargetCore
import TestSupport
import Testing

@Suite("Classes of latencies")
struct LatencyTests {
    @Test("Each latency is in the one class whose bounds it is between, and classes are narrow")
    func bounds() {
        var random = SeededRandom(seed: 11)
        var values: [UInt] = [0, 1, 999, 1000, 1001, UInt(Int64.max), 536_870_912_000, 536_870_912_001]
        for exponent in 0..<50 { for step in [-1, 0, 1] { values.append(UInt(max(0, 1 << exponent + step))) } }
        for _ in 0..<20_000 {
            values.append(UInt.random(in: 0...(1 << UInt.random(in: 0..<48, using: &random)), using: &random))
        }
        for value in values {
            let index = LatencyScale.index(nanoseconds: value)
            #expect(value == 0 || UInt(LatencyScale.lowerBound(index)) * 1000 < value)
            if let upper = LatencyScale.upperBound(index) { #expect(value <= UInt(upper) * 1000) }
        }
        for index in 1..<LatencyScale.count {
            let (lower, next) = (LatencyScale.lowerBound(index - 1), LatencyScale.lowerBound(index))
            #expect(LatencyScale.upperBound(index - 1) == next)
            #expect(next - lower <= max(1, lower / 4), "class \(index - 1)")
        }
        #expect(LatencyScale.upperBound(LatencyScale.count - 1) == nil)
        let bounds = Set((0..<LatencyScale.count).map(LatencyScale.lowerBound))
        for exponent in 0...28 { #expect(bounds.contains(1 << exponent)) }
    }

    @Test("A quantile is in the class of the latency that an exact calculation finds")
    func quantiles() throws {
        var random = SeededRandom(seed: 3)
        for round in 1...50 {
            var histogram = LatencyHistogram()
            var values: [UInt] = []
            for _ in 0..<(round * 7) {
                let value = UInt.random(in: 1...(1 << UInt.random(in: 1..<36, using: &random)), using: &random)
                values.append(value)
                histogram.add(1, at: LatencyScale.index(nanoseconds: value))
            }
            values.sort()
            #expect(histogram.total == UInt(values.count))
            for share in [0, 0.01, 0.5, 0.9, 0.99, 1] {
                let rank = max(1, Int((share * Double(values.count)).rounded(.up)))
                let index = LatencyScale.index(nanoseconds: values[rank - 1])
                let found = try #require(histogram.quantile(share))
                #expect(found >= Double(LatencyScale.lowerBound(index)))
                #expect(found <= Double(try #require(LatencyScale.upperBound(index))))
            }
        }
        #expect(LatencyHistogram().quantile(0.5) == nil)
    }

    @Test("Histograms add up")
    func addition() {
        var (one, other) = (LatencyHistogram(), LatencyHistogram())
        one.add(LatencyHistogram())
        #expect(one.total == 0)
        other.add(2, at: 5)
        one.add(other)
        one.add(3, at: 111)
        one.add(other)
        #expect(one.classes.map(\.index) == [5, 111] && one.classes.map(\.count) == [4, 3] && one.total == 7)
        #expect(one.quantile(1) == Double(LatencyScale.longest))
    }
}
