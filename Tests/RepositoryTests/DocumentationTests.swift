import Foundation
import Testing

/// Pages of documentation name symbols in double backquotes. Renaming one leaves its page behind; this finds it.
@Suite("Pages of documentation")
struct DocumentationTests {
    /// A file of a module with what it declares.
    private struct Source {
        let text: String
        /// Types, functions, properties and cases.
        var names: Set<String> = []
        /// The types that it declares or extends.
        var types: Set<String> = []

        init(_ file: RepositoryTests.SourceFile) {
            text = file.lines.joined(separator: "\n")
            for line in file.lines {
                let words = line.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
                for (index, word) in words.enumerated() {
                    if word == "init" { names.insert(word) }
                    guard index + 1 < words.count else { continue }
                    if Self.typeKeywords.contains(word) { types.insert(words[index + 1]) }
                    // `case a, b(Int), c`: any word of the line may be one.
                    if word == "case" { names.formUnion(words[(index + 1)...]) }
                    if Self.otherKeywords.contains(word) { names.insert(words[index + 1]) }
                }
            }
            names.formUnion(types)
        }

        private static let typeKeywords: Set<String> = [
            "struct", "class", "enum", "protocol", "actor", "extension", "typealias",
        ]
        private static let otherKeywords: Set<String> = ["func", "var", "let"]
    }

    private static let pages = RepositoryTests.files(under: "Sources", suffix: ".md").filter {
        $0.path.contains(".docc/")
    }
    private static let modules = Dictionary(grouping: RepositoryTests.sources, by: \.module).mapValues {
        $0.map(Source.init)
    }

    /// The labels of the functions of a file that have the name: `start(name:index:)` for each.
    private static func signatures(_ name: String, in source: Source) -> Set<String> {
        var found: Set<String> = []
        for piece in source.text.components(separatedBy: name == "init" ? "init" : "func \(name)").dropFirst() {
            guard let open = piece.firstIndex(of: "("), piece[..<open].allSatisfy({ $0 != " " && $0 != "\n" }) else {
                // Generic parameters may have spaces.
                guard piece.hasPrefix("<"), let end = piece.range(of: ">(") else { continue }
                found.insert(signature(name, String(piece[end.upperBound...])))
                continue
            }
            found.insert(signature(name, String(piece[piece.index(after: open)...])))
        }
        return found
    }

    /// `name` with the labels of the parameters at the beginning of `text`, which goes on after the opening bracket.
    private static func signature(_ name: String, _ text: String) -> String {
        var depth = 1
        var label = ""
        var labels: [String] = []
        var isLabel = true
        for character in text {
            if "([{<".contains(character) { depth += 1 }
            if ")]}".contains(character) || (character == ">" && depth > 1) { depth -= 1 }
            if depth == 0 { break }
            guard depth == 1 else { continue }
            if character == "," {
                isLabel = true
                label = ""
            } else if character == ":" && isLabel {
                labels.append(String(label.split { $0.isWhitespace }.first ?? ""))
                isLabel = false
            } else if isLabel {
                label.append(character)
            }
        }
        return name + "(" + labels.map { $0 + ":" }.joined() + ")"
    }

    /// Why the symbol, written `Type/member(label:)`, is none of the module; nil when it is one.
    private static func problem(of symbol: String, in module: [Source]) -> String? {
        let parts = symbol.split(separator: "/").map(String.init)
        guard let type = parts.first.map({ String($0.prefix { $0 != "(" }) }) else { return "it is empty" }
        guard module.contains(where: { $0.names.contains(type) }) else { return "the module declares no '\(type)'" }
        let scope = module.filter { $0.types.contains(type) }
        for part in parts.dropFirst() {
            let name = String(part.prefix { $0 != "(" })
            let sources = scope.filter { $0.names.contains(name) }
            guard !sources.isEmpty else { return "'\(type)' has no '\(name)'" }
            if part.contains(":"), !sources.contains(where: { signatures(name, in: $0).contains(part) }) {
                return "no '\(name)' has these labels"
            }
        }
        return nil
    }

    @Test("Symbols in double backquotes are declared in the page's module")
    func symbols() {
        var count = 0
        for page in Self.pages {
            let module = Self.modules[page.module] ?? []
            var isInCode = false
            for (number, line) in page.lines.enumerated() where !line.hasPrefix("# ") {
                if line.hasPrefix("```") { isInCode.toggle() }
                guard !isInCode, !line.hasPrefix("```") else { continue }
                let quoted = line.components(separatedBy: "``").enumerated()
                for symbol in quoted where symbol.offset % 2 == 1 {
                    count += 1
                    if let problem = Self.problem(of: symbol.element, in: module) {
                        Issue.record("\(page.path):\(number + 1): ``\(symbol.element)``: \(problem)")
                    }
                }
            }
        }
        #expect(count > 200)
    }

    @Test("A name, a member or a label that is gone is found")
    func gone() {
        let module = Self.modules["Bytes"] ?? []
        #expect(Self.problem(of: "BufferPool", in: module) == nil)
        #expect(Self.problem(of: "BufferPool/lease(capacity:)", in: module) == nil)
        #expect(Self.problem(of: "BufferPool/giveBackIdleMemory()", in: module) == nil)
        for symbol in ["BufferPond", "BufferPool/lend", "BufferPool/lease(size:)", "SlotTable/lease(capacity:)"] {
            #expect(Self.problem(of: symbol, in: module) != nil, "\(symbol)")
        }
    }
}
