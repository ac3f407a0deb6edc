/// The text format of Prometheus, version 0.0.4: families of metrics, each with a HELP and a TYPE line and its samples.
///
/// Written as bytes: an answer may have a hundred thousand lines.
struct MetricsText {
    /// What HTTP calls the format.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    /// Labels with their values as they stand between braces: those that many samples share are written once.
    struct Labels {
        fileprivate var bytes: [UInt8] = []

        init() {}

        init(_ name: String, _ value: String) { add(name, value) }

        mutating func add(_ name: String, _ value: String) {
            if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
            MetricsText.append(name, value, to: &bytes)
        }
    }

    private(set) var bytes: [UInt8] = []
    /// The name of the present family.
    private var name: [UInt8] = []

    /// Makes room for so many bytes.
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    /// Begins a family. `name` is one of the format; the samples that follow belong to it.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        self.name = Array(name.utf8)
        bytes += Array("# HELP \(name) ".utf8)
        for byte in help.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes += Array("\\\\".utf8)
            case UInt8(ascii: "\n"): bytes += Array("\\n".utf8)
            default: bytes.append(byte)
            }
        }
        bytes += Array("\n# TYPE \(name) \(kind.rawValue)\n".utf8)
    }

    /// The only sample of its family.
    mutating func sample(_ value: Int) { sample(Labels(), value) }

    /// The only sample of its family.
    mutating func sample(_ value: Double) { sample(Labels(), value) }

    mutating func sample(_ labels: Labels, _ value: Int) {
        begin("", labels)
        end(value)
    }

    mutating func sample(_ labels: Labels, _ value: Double) {
        begin("", labels)
        end(value)
    }

    /// A sample with one label more.
    mutating func sample(_ labels: Labels, _ name: String, _ text: String, _ value: Int) {
        begin("", labels, name, text)
        end(value)
    }

    /// An upper bound of a bucket, as it ends the labels of its line.
    struct Bound {
        fileprivate let bytes: [UInt8]

        /// The bound that is written so, as a number of the format.
        init(_ number: String) { bytes = Array("\(number)\"} ".utf8) }
    }

    private static let noBound = Bound("+Inf")

    /// A histogram: for each of `bounds` how many are not above; then all, and their sum.
    mutating func histogram(
        _ labels: Labels, bounds: [Bound], cumulative: [Int], count: Int, sum: Double
    ) {
        // The same for all buckets.
        let start =
            name + Array("_bucket{".utf8) + labels.bytes + Array((labels.bytes.isEmpty ? "" : ",").utf8)
            + Array("le=\"".utf8)
        for index in bounds.indices {
            bytes.append(contentsOf: start)
            bytes.append(contentsOf: bounds[index].bytes)
            end(cumulative[index])
        }
        bytes.append(contentsOf: start)
        bytes.append(contentsOf: Self.noBound.bytes)
        end(count)
        begin("_sum", labels)
        end(sum)
        begin("_count", labels)
        end(count)
    }

    // MARK: Parts of a line

    private mutating func begin(_ suffix: StaticString, _ labels: Labels, _ name: String? = nil, _ value: String = "") {
        bytes.append(contentsOf: self.name)
        if suffix.utf8CodeUnitCount > 0 { bytes.append(contentsOf: suffix.description.utf8) }
        guard !labels.bytes.isEmpty || name != nil else { return bytes.append(UInt8(ascii: " ")) }
        bytes.append(UInt8(ascii: "{"))
        bytes.append(contentsOf: labels.bytes)
        if let name {
            if !labels.bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
            Self.append(name, value, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
        bytes.append(UInt8(ascii: " "))
    }

    private mutating func end(_ value: Int) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        var digits = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
        var (rest, count) = (value.magnitude, 0)
        repeat {
            digits[count] += UInt8(rest % 10)
            rest /= 10
            count += 1
        } while rest > 0
        while count > 0 {
            count -= 1
            bytes.append(digits[count])
        }
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func end(_ value: Double) {
        let text = value.isNaN ? "NaN" : value == .infinity ? "+Inf" : value == -.infinity ? "-Inf" : "\(value)"
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\n"))
    }

    /// `name="value"`, with the value escaped.
    fileprivate static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: name.utf8)
        bytes.append(UInt8(ascii: "="))
        bytes.append(UInt8(ascii: "\""))
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case UInt8(ascii: "\n"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(UInt8(ascii: "n"))
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
