import Resources

/// Text on its way to a terminal: what others have written into it, an initiator's alias for one, commands nothing.
enum TerminalText {
    /// A word in a line or a table: no line ends either.
    static func word(_ text: String) -> String { PrintableText.escaped(text) }

    /// Lines of our own making.
    static func lines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { PrintableText.escaped(String($0)) }
            .joined(separator: "\n")
    }

    /// JSON with the same characters as escape sequences of JSON.
    static func json(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control where scalar == "\n": result.unicodeScalars.append(scalar)
            case .control, .format, .lineSeparator, .paragraphSeparator:
                for unit in Character(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
