import Foundation

/// A sample as the text format has it.
struct ParsedSample: Hashable {
    var name: String
    var labels: [String: String]
    var value: Double
}

/// A family: its HELP and TYPE lines, and its samples in their order.
struct ParsedFamily {
    var name: String
    var help: String
    var type: String
    var samples: [ParsedSample] = []
}

/// Why a text is not of the format.
struct MetricsSyntaxError: Error {
    let line: Int
    let reason: String
}

/// Reads version 0.0.4 of Prometheus' text format, as strictly as its rules can be read: every family has HELP and TYPE
/// first, its samples stand together, no series stands twice, histograms are complete.
struct MetricsParser {
    private var families: [ParsedFamily] = []
    private var number = 0

    static func parse(_ text: String) throws -> [ParsedFamily] {
        var parser = MetricsParser()
        guard text.hasSuffix("\n") else { throw MetricsSyntaxError(line: 0, reason: "the last line has no end") }
        // By Unicode scalars: a carriage return before a line end would be one character with it.
        for line in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            parser.number += 1
            try parser.read(String(line))
        }
        for family in parser.families { try parser.check(family) }
        return parser.families
    }

    private func fail(_ reason: String) -> MetricsSyntaxError { MetricsSyntaxError(line: number, reason: reason) }

    private mutating func read(_ line: String) throws {
        if line.hasPrefix("# HELP ") {
            let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1)
            guard parts.count == 2, Self.isName(parts[0], mayHaveColon: true) else { throw fail("no HELP: \(line)") }
            guard !families.contains(where: { $0.name == parts[0] }) else { throw fail("\(parts[0]) comes twice") }
            families.append(ParsedFamily(name: String(parts[0]), help: String(parts[1]), type: ""))
        } else if line.hasPrefix("# TYPE ") {
            let parts = line.split(separator: " ")
            guard parts.count == 4, let last = families.indices.last, families[last].name == parts[2],
                families[last].type.isEmpty, families[last].samples.isEmpty,
                ["counter", "gauge", "histogram"].contains(parts[3])
            else { throw fail("no TYPE: \(line)") }
            families[last].type = String(parts[3])
        } else {
            guard let last = families.indices.last, !families[last].type.isEmpty else { throw fail("no family") }
            let sample = try sample(line)
            let suffixes = families[last].type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
            guard suffixes.contains(where: { families[last].name + $0 == sample.name }) else {
                throw fail("\(sample.name) is not of the family \(families[last].name)")
            }
            families[last].samples.append(sample)
        }
    }

    private func sample(_ line: String) throws -> ParsedSample {
        var rest = Substring(line)
        let name = rest.prefix { $0 != "{" && $0 != " " }
        guard Self.isName(name, mayHaveColon: true) else { throw fail("no name: \(line)") }
        rest = rest.dropFirst(name.count)
        var labels: [String: String] = [:]
        if rest.first == "{" {
            repeat {
                rest = rest.dropFirst()
                let label = rest.prefix { $0 != "=" }
                guard Self.isName(label, mayHaveColon: false), labels[String(label)] == nil else {
                    throw fail("no label: \(line)")
                }
                rest = rest.dropFirst(label.count)
                guard rest.hasPrefix("=\"") else { throw fail("no value of \(label): \(line)") }
                rest = rest.dropFirst(2)
                labels[String(label)] = try Self.unescaped(&rest, fail("an escape sequence is wrong: \(line)"))
            } while rest.first == ","
            guard rest.first == "}" else { throw fail("no closing brace: \(line)") }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = Self.number(rest.dropFirst()) else { throw fail("no value: \(line)") }
        return ParsedSample(name: String(name), labels: labels, value: value)
    }

    /// The label value at the beginning of `rest`, which goes on behind its closing quotation mark.
    private static func unescaped(_ rest: inout Substring, _ error: MetricsSyntaxError) throws -> String {
        var scalars = String.UnicodeScalarView()
        var view = rest.unicodeScalars
        while let scalar = view.popFirst() {
            switch scalar {
            case "\"":
                rest = Substring(view)
                return String(scalars)
            case "\\":
                let meant: [Unicode.Scalar: Unicode.Scalar] = ["\\": "\\", "\"": "\"", "n": "\n"]
                guard let next = view.popFirst(), let scalar = meant[next] else { throw error }
                scalars.append(scalar)
            default: scalars.append(scalar)
            }
        }
        throw error
    }

    private static func number(_ text: Substring) -> Double? {
        switch text {
        case "NaN": return .nan
        case "+Inf": return .infinity
        case "-Inf": return -.infinity
        default: return text.allSatisfy { "0123456789.e+-".contains($0) } ? Double(text) : nil
        }
    }

    private static func isName(_ text: Substring, mayHaveColon: Bool) -> Bool {
        guard let first = text.first, !first.isNumber else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            case UInt8(ascii: ":"): mayHaveColon
            default: false
            }
        }
    }

    // MARK: Rules of a whole family

    private func check(_ family: ParsedFamily) throws {
        var seen: Set<ParsedSample> = []
        for sample in family.samples {
            var series = sample
            series.value = 0
            guard seen.insert(series).inserted else { throw fail("\(sample) comes twice") }
            guard family.type == "gauge" || sample.value >= 0 else { throw fail("\(sample) has gone down") }
        }
        if family.type == "counter", !family.name.hasSuffix("_total") { throw fail("\(family.name) has no _total") }
        if family.type == "histogram" { try checkHistograms(family) }
    }

    private func checkHistograms(_ family: ParsedFamily) throws {
        var histograms: [[String: String]: [ParsedSample]] = [:]
        for sample in family.samples {
            histograms[sample.labels.filter { $0.key != "le" }, default: []].append(sample)
        }
        for (labels, samples) in histograms {
            let buckets = samples.filter { $0.name.hasSuffix("_bucket") }
            let bounds = buckets.compactMap { $0.labels["le"].flatMap { Self.number(Substring($0)) } }
            guard bounds.count == buckets.count, bounds.last == .infinity, bounds == bounds.sorted(),
                Set(bounds).count == bounds.count, buckets.map(\.value) == buckets.map(\.value).sorted()
            else { throw fail("the buckets of \(family.name) \(labels) are wrong") }
            let counts = samples.filter { $0.name.hasSuffix("_count") }
            guard counts.count == 1, counts[0].value == buckets.last?.value,
                samples.count(where: { $0.name.hasSuffix("_sum") }) == 1
            else { throw fail("\(family.name) \(labels) is not complete") }
        }
    }
}
