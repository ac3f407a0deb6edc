/// Text of others for a terminal.
public enum PrintableText {
    /// `text` with each control character as an escape sequence, such as `\u{1B}`: what stands in it commands no
    /// terminal, and shows itself.
    public static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator:
                result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
