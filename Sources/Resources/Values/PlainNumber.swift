/// Numbers as they are written in names, keys and on command lines: digits without a zero before them, and a dash
/// before what is negative. So each number is written in one way, and two ways to write one never become two things.
public enum PlainNumber {
    /// The number that `text` is; nil when it is none, or is written otherwise: `01`, `+1`, `-0`.
    public static func parse<Number: FixedWidthInteger>(
        _ text: some StringProtocol, as type: Number.Type = Int.self
    ) -> Number? {
        guard let number = Number(text), String(number) == String(text) else { return nil }
        return number
    }
}
