/// Sizes as people write and read them: `4096`, `64KiB`, `1.5 TiB`, `500MB`, `1G`.
///
/// What ``format(_:)`` shows without a `~` is exact, and ``parse(_:)`` gives the same number back.
public enum ByteSize {
    /// A unit: its name, and how many bytes it is.
    private typealias Unit = (name: String, factor: Int64)

    private static let binary: [Unit] = [
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50),
    ]
    private static let decimal: [Unit] = [
        ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("PB", 1_000_000_000_000_000),
    ]
    /// The most digits after the point; their product with the largest unit fits 128 bits.
    private static let maximumFractionDigits = 9

    /// How sizes are written, for the help of options.
    public static let syntax = """
        bytes, or a number with a unit: 4096, 64KiB, 1.5TiB, 500MB; K, M, G, T and P are KiB to PiB, as with qemu-img
        """

    /// The number of bytes that `text` means; a fraction of a byte is left out.
    ///
    /// Units are of any case, with or without a space before them.
    public static func parse(_ text: String) throws(ManagementError) -> Int64 {
        let digits = text.prefix(while: isDigit)
        var rest = text.dropFirst(digits.count)
        var fraction: Substring = ""
        if rest.first == "." {
            fraction = rest.dropFirst().prefix(while: isDigit)
            rest = rest.dropFirst(1 + fraction.count)
            guard !fraction.isEmpty else { throw notASize(text) }
        }
        let name = rest.drop { $0 == " " }
        guard !digits.isEmpty, let factor = factor(of: name), fraction.isEmpty || factor > 1 else {
            throw notASize(text)
        }
        guard digits.count == 1 || digits.first != "0" else {
            throw ManagementError(.invalid, "size '\(text)' has zeros before its number; write it without them")
        }
        guard fraction.count <= maximumFractionDigits else {
            throw ManagementError(
                .invalid, "size '\(text)' has more than \(maximumFractionDigits) digits after the point; write bytes")
        }
        let whole = Int128(Int64(digits) ?? .max) * Int128(factor)
        let scale = fraction.reduce(Int128(1)) { scale, _ in scale * 10 }
        let size = whole + Int128(Int64(fraction) ?? 0) * Int128(factor) / scale
        guard Int64(digits) != nil, let size = Int64(exactly: size) else {
            throw ManagementError(.invalid, "size '\(text)' is beyond every limit; the largest unit is PiB")
        }
        guard size > 0 else { throw ManagementError(.invalid, "size '\(text)' is nothing; give at least one byte") }
        return size
    }

    /// `size` in the unit in which it has the fewest digits after the point, binary units first: `1 GiB`, `1.5 KiB`,
    /// `12 TB`. With more than three such digits in any it is rounded down to one, and marked: `~7.4 GiB`.
    public static func format(_ size: Int64) -> String {
        guard size >= 1024 else { return "\(size) B" }
        var best: (text: String, digits: Int)?
        for units in [binary, decimal] {
            guard let unit = units.last(where: { size >= $0.factor }) else { continue }
            guard let digits = (0...3).first(where: { isExact(size, unit, digits: $0) }) else { continue }
            if best.map({ digits < $0.digits }) ?? true { best = (number(size, unit, digits: digits), digits) }
        }
        if let best { return best.text }
        let unit = binary.last { size >= $0.factor } ?? binary[0]
        return "~" + number(size, unit, digits: 1)
    }

    /// The digits of `size` in `unit` with `digits` after the point, the rest cut off.
    private static func number(_ size: Int64, _ unit: Unit, digits: Int) -> String {
        var scale: Int64 = 1
        for _ in 0..<digits { scale *= 10 }
        let value = Int64(Int128(size) * Int128(scale) / Int128(unit.factor))
        guard digits > 0 else { return "\(value) \(unit.name)" }
        let fraction = "\(scale + value % scale)".dropFirst()
        return "\(value / scale).\(fraction) \(unit.name)"
    }

    private static func isExact(_ size: Int64, _ unit: Unit, digits: Int) -> Bool {
        var scaled = Int128(size)
        for _ in 0..<digits { scaled *= 10 }
        return scaled % Int128(unit.factor) == 0
    }

    /// The bytes of the unit that `name` is in any case; nil when it is none.
    private static func factor(of name: Substring) -> Int64? {
        let name = name.lowercased()
        if name.isEmpty || name == "b" { return 1 }
        if let unit = (binary + decimal).first(where: { $0.name.lowercased() == name }) { return unit.factor }
        return binary.first { $0.name.prefix(1).lowercased() == name }?.factor
    }

    private static func isDigit(_ character: Character) -> Bool { character.isASCII && character.isNumber }

    private static func notASize(_ text: String) -> ManagementError {
        guard !text.hasPrefix("~") else {
            return ManagementError(
                .invalid, "size '\(text)' is rounded; give it exactly: --json shows the bytes, as the last digits count"
            )
        }
        return ManagementError(
            .invalid,
            "'\(text)' is no size; write bytes or a unit, as in 4096, 64KiB, 1.5TiB, 500MB or 1G, which is 1GiB"
        )
    }
}
