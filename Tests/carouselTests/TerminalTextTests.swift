import Foundation
import Testing

@testable import carousel

@Suite("Text on its way to a terminal")
struct TerminalTextTests {
    private static let hostile = "a\u{1B}[2J\u{9B}31m\u{202E}b\nc\u{2028}"

    @Test("nothing of an initiator's alias commands the terminal, or makes a line of its own")
    func words() {
        let printed = Output.properties([("alias", Self.hostile), ("state", "serving")])
        #expect(printed.split(separator: "\n").count == 2)
        #expect(
            printed.unicodeScalars.allSatisfy {
                $0 == "\n" || $0.properties.generalCategory == .spaceSeparator || $0.isASCII && $0.value >= 0x20
            })
        let table = Output.table(["ALIAS"], [[Self.hostile]], empty: "none")
        #expect(table.split(separator: "\n").count == 2)
        #expect(!table.contains("\u{1B}") && !table.contains("\u{9B}"))
        #expect(TerminalText.lines("a\nb\u{1B}") == "a\nb\\u{1B}")
    }

    @Test("JSON stays the same JSON")
    func json() throws {
        let text = String(decoding: try JSONEncoder().encode([Self.hostile, "\u{E0001}é"]), as: UTF8.self)
        let shown = TerminalText.json(text)
        #expect(
            shown.unicodeScalars.allSatisfy {
                $0.properties.generalCategory != .control && $0.properties.generalCategory != .format
            })
        #expect(try JSONDecoder().decode([String].self, from: Data(shown.utf8)) == [Self.hostile, "\u{E0001}é"])
    }
}
