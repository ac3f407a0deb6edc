/// How times are written on command lines: a number of seconds, or one with a unit: `90d`, `12h`, `30m`, `45s`.
public enum TimeSpan {
    private static let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

    /// The seconds that `text` means; nil when it means none.
    public static func seconds(_ text: String) -> Int64? {
        guard let last = text.last, let unit = units[last] else { return Int64(text) }
        guard let number = Int64(text.dropLast()) else { return nil }
        let (seconds, overflow) = number.multipliedReportingOverflow(by: unit)
        return overflow ? nil : seconds
    }
}
