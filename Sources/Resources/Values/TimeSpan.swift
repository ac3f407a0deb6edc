/// How times are written on command lines: a number of seconds, or one with a unit: `90d`, `12h`, `30m`, `45s`.
public enum TimeSpan {
    private static let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

    /// The seconds that `text` means; nil when it means none.
    public static func seconds(_ text: String) -> Int64? {
        guard let last = text.last, let unit = units[last] else { return PlainNumber.parse(text, as: Int64.self) }
        guard let number = PlainNumber.parse(text.dropLast(), as: Int64.self) else { return nil }
        let (seconds, overflow) = number.multipliedReportingOverflow(by: unit)
        return overflow ? nil : seconds
    }
}
