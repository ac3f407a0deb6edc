import Bytes
import NIOCore

/// The text format of Prometheus, version 0.0.4: families of metrics, each with a HELP and a TYPE line and its samples.
///
/// Written as bytes, in parts that go on as soon as they are full: an answer may have a hundred thousand lines, and the
/// first are on their way while the last are written.
struct MetricsText {
    /// What HTTP calls the format.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"
    /// How many bytes a part has, or little more.
    static let partLength = 60 << 10

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    /// Labels with their values as they stand between braces: those that many samples share are written once.
    struct Labels {
        fileprivate var bytes: [UInt8] = []

        init() {}

        init(_ name: String, _ value: String) {
            bytes.reserveCapacity(name.utf8.count + value.utf8.count + 4)
            add(name, value)
        }

        /// These labels, and `other` behind them.
        func with(_ other: Labels) -> Labels {
            var both = Labels()
            both.bytes.reserveCapacity(bytes.count + 1 + other.bytes.count)
            both.bytes.append(contentsOf: bytes)
            if !bytes.isEmpty, !other.bytes.isEmpty { both.bytes.append(UInt8(ascii: ",")) }
            both.bytes.append(contentsOf: other.bytes)
            return both
        }

        mutating func add(_ name: String, _ value: String) {
            if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
            bytes.append(contentsOf: name.utf8)
            bytes.append(contentsOf: "=\"".utf8)
            for byte in value.utf8 { MetricsText.escape(byte, .value) { bytes.append($0) } }
            bytes.append(UInt8(ascii: "\""))
        }
    }

    /// An upper bound of a bucket, as it ends the labels of its line.
    struct Bound {
        fileprivate let bytes: [UInt8]

        /// The bound that is written so, as a number of the format.
        init(_ number: String) { bytes = Array("\(number)\"} ".utf8) }
    }

    private static let noBound = Bound("+Inf")
    /// More than a number needs, with what ends the line.
    private static let numberLength = 32

    private var parts: Parts
    /// The name of the present family.
    private var name: [UInt8] = []
    /// What all buckets of a histogram begin with.
    private var start: [UInt8] = []

    /// A text whose parts go to `pass`, in order.
    init(_ pass: @escaping (ByteBuffer) -> Void) { parts = Parts(pass) }

    /// A text in one part, which stays here.
    private init() { parts = Parts(nil) }

    /// The lines of several families without what families begin with, and where those of each end. `write` is called
    /// for each of them in order.
    static func lines(
        ofFamilies names: [[UInt8]], _ write: (Int, inout MetricsText) -> Void
    ) -> (bytes: [UInt8], ends: [Int32]) {
        var text = MetricsText()
        var ends: [Int32] = []
        ends.reserveCapacity(names.count)
        for index in names.indices {
            text.name = names[index]
            write(index, &text)
            ends.append(Int32(text.parts.length))
        }
        return (text.parts.bytes, ends)
    }

    /// Lines that were written before: those at `range` of `bytes`.
    mutating func append(_ bytes: [UInt8], _ range: Range<Int>) {
        guard !range.isEmpty else { return }
        parts.write(range.count) { $0.append(contentsOf: bytes, range) }
    }

    /// Passes on what has not gone yet. The last call.
    mutating func end() { parts.end() }

    /// Begins a family. `name` is one of the format; the samples that follow belong to it.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        self.name = Array(name.utf8)
        var lines = Array("# HELP \(name) ".utf8)
        for byte in help.utf8 { Self.escape(byte, .help) { lines.append($0) } }
        lines += Array("\n# TYPE \(name) \(kind.rawValue)\n".utf8)
        parts.write(lines.count) { $0.append(contentsOf: lines) }
    }

    /// The only sample of its family.
    mutating func sample(_ value: Int) { sample(Labels(), value) }

    /// The only sample of its family.
    mutating func sample(_ value: Double) { sample(Labels(), value) }

    mutating func sample(_ labels: Labels, _ value: Int) {
        parts.write(name.count + labels.bytes.count + Self.numberLength) { line in
            line.append(contentsOf: name)
            line.append(inBraces: labels.bytes)
            line.end(value)
        }
    }

    mutating func sample(_ labels: Labels, _ value: Double) {
        parts.write(name.count + labels.bytes.count + Self.numberLength) { line in
            line.append(contentsOf: name)
            line.append(inBraces: labels.bytes)
            line.end(value)
        }
    }

    /// A sample with one label more.
    mutating func sample(_ labels: Labels, _ name: StaticString, _ text: String, _ value: Int) {
        let length = labels.bytes.count + name.utf8CodeUnitCount + 2 * text.utf8.count + Self.numberLength
        parts.write(self.name.count + length) { line in
            line.append(contentsOf: self.name)
            line.append(UInt8(ascii: "{"))
            line.append(contentsOf: labels.bytes)
            if !labels.bytes.isEmpty { line.append(UInt8(ascii: ",")) }
            line.append(text: name)
            line.append(text: "=\"")
            for byte in text.utf8 { Self.escape(byte, .value) { line.append($0) } }
            line.append(text: "\"} ")
            line.end(value)
        }
    }

    /// A histogram: for each of `bounds` how many are not above; then all, and their sum in seconds, written to the
    /// nanosecond.
    mutating func histogram<let length: Int>(
        _ labels: Labels, bounds: [Bound], cumulative: InlineArray<length, Int>, count: Int, sum: Double
    ) {
        precondition(bounds.count == length, "each bound has its number")
        start.removeAll(keepingCapacity: true)
        start.append(contentsOf: name)
        start.append(contentsOf: "_bucket{".utf8)
        start.append(contentsOf: labels.bytes)
        start.append(contentsOf: (labels.bytes.isEmpty ? "le=\"" : ",le=\"").utf8)
        let lineLength = start.count + 2 * Self.numberLength
        parts.write((length + 3) * lineLength) { line in
            for index in 0..<length {
                line.append(contentsOf: start)
                line.append(contentsOf: bounds[index].bytes)
                line.end(cumulative[index])
            }
            line.append(contentsOf: start)
            line.append(contentsOf: Self.noBound.bytes)
            line.end(count)
            line.append(contentsOf: name)
            line.append(text: "_sum")
            line.append(inBraces: labels.bytes)
            line.end(seconds: sum)
            line.append(contentsOf: name)
            line.append(text: "_count")
            line.append(inBraces: labels.bytes)
            line.end(count)
        }
    }

    // MARK: Parts of a line

    /// The part that is written, and where it goes.
    private struct Parts {
        private var part: ByteBuffer
        /// Nil when there is but one.
        private let pass: ((ByteBuffer) -> Void)?

        init(_ pass: ((ByteBuffer) -> Void)?) {
            self.pass = pass
            part = pass == nil ? ByteBuffer() : Self.newPart()
        }

        var length: Int { part.readableBytes }
        var bytes: [UInt8] { Array(part.readableBytesView) }

        private static func newPart() -> ByteBuffer {
            ByteBufferAllocator().buffer(capacity: MetricsText.partLength + 4096)
        }

        /// Writes lines of together at most so many bytes.
        @inline(__always) mutating func write(_ length: Int, _ body: (inout OutputRawSpan) -> Void) {
            if let pass, part.readableBytes >= MetricsText.partLength {
                pass(part)
                part = Self.newPart()
            }
            part.writeWithOutputRawSpan(minimumWritableBytes: length) { body(&$0) }
        }

        mutating func end() {
            pass?(part)
            part = ByteBuffer()
        }
    }

    private enum Place {
        case help
        case value
    }

    /// The bytes that stand for `byte` in a help text or in the value of a label.
    @inline(__always) private static func escape(_ byte: UInt8, _ place: Place, _ write: (UInt8) -> Void) {
        switch byte {
        case UInt8(ascii: "\\"):
            write(byte)
            write(byte)
        case UInt8(ascii: "\"") where place == .value:
            write(UInt8(ascii: "\\"))
            write(byte)
        case UInt8(ascii: "\n"):
            write(UInt8(ascii: "\\"))
            write(UInt8(ascii: "n"))
        default: write(byte)
        }
    }
}

extension OutputRawSpan {
    /// Labels with their braces, if there are any, and the blank before the value.
    @inline(__always) fileprivate mutating func append(inBraces labels: [UInt8]) {
        if !labels.isEmpty {
            append(UInt8(ascii: "{"))
            append(contentsOf: labels)
            append(UInt8(ascii: "}"))
        }
        append(UInt8(ascii: " "))
    }

    /// The value at the end of a line.
    @inline(__always) fileprivate mutating func end(_ value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: value.magnitude)
        append(UInt8(ascii: "\n"))
    }

    /// The value at the end of a line.
    fileprivate mutating func end(_ value: Double) {
        let text = value.isNaN ? "NaN" : value == .infinity ? "+Inf" : value == -.infinity ? "-Inf" : "\(value)"
        for byte in text.utf8 { append(byte) }
        append(UInt8(ascii: "\n"))
    }

    /// A time at the end of a line, to the nanosecond: quicker than the shortest text of any number.
    fileprivate mutating func end(seconds: Double) {
        let nanoseconds = (seconds * 1e9).rounded()
        guard nanoseconds >= 0, nanoseconds < 0x1p53 else { return end(seconds) }
        let (whole, rest) = UInt(nanoseconds).quotientAndRemainder(dividingBy: 1_000_000_000)
        append(decimal: whole)
        append(UInt8(ascii: "."))
        append(decimal: rest, digits: 9)
        append(UInt8(ascii: "\n"))
    }
}
