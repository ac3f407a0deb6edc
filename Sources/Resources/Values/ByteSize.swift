/// Sizes as people write them: `1GiB`, `500MB`, `64KiB`, `4096`.
public enum ByteSize {
    private static let units: [(name: String, factor: Int64)] = [
        ("B", 1), ("kB", 1000), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("PB", 1_000_000_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ("PiB", 1 << 50),
    ]

    /// The number of bytes that `text` means.
    public static func parse(_ text: String) throws(ManagementError) -> Int64 {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count)
        guard !digits.isEmpty else { throw notASize(text) }
        guard let factor = unit.isEmpty ? 1 : units.first(where: { $0.name == unit })?.factor else {
            throw notASize(text)
        }
        let (size, overflow) = (Int64(digits) ?? .max).multipliedReportingOverflow(by: factor)
        guard !overflow, Int64(digits) != nil else {
            throw ManagementError(.invalid, "size '\(text)' is beyond every limit; the largest unit is PiB")
        }
        guard size > 0 else { throw ManagementError(.invalid, "size '\(text)' is nothing; give at least one byte") }
        return size
    }

    /// `size` with the largest unit of which it is a whole multiple, else one decimal: `1 GiB`, `7.4 GiB`.
    public static func format(_ size: Int64) -> String {
        for (name, factor) in units.reversed() where name.hasSuffix("iB") && size >= factor {
            if size % factor == 0 { return "\(size / factor) \(name)" }
            let tenths = size / (factor / 10)
            return "\(tenths / 10).\(tenths % 10) \(name)"
        }
        return "\(size) B"
    }

    private static func notASize(_ text: String) -> ManagementError {
        ManagementError(.invalid, "'\(text)' is no size; write bytes or a unit, as in 4096, 64KiB, 500MB or 1GiB")
    }
}
