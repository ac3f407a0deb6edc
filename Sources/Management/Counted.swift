/// Numbers of things in sentences.
public enum Counted {
    /// `count` with the noun, in the plural unless it is one: "1 drive", "2 drives".
    public static func text(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
}
