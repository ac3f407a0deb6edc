import ArgumentParser
import Foundation
import Management

/// Manual pages in the macros of man(7), made from what ArgumentParser knows of the commands: one for `carousel`, and
/// one for each of its commands with all that is below it.
struct ManualPages {
    /// A command as ArgumentParser's `--experimental-dump-help` describes it.
    private struct Command: Decodable {
        struct Argument: Decodable {
            struct Name: Decodable {
                let kind: String
                let name: String

                var text: String { (kind == "long" ? "--" : "-") + name }
            }

            let kind: String
            let shouldDisplay: Bool
            let isOptional: Bool
            let isRepeating: Bool
            let names: [Name]?
            let valueName: String?
            let abstract: String?
            let discussion: String?
            let defaultValue: String?
        }

        let commandName: String
        let superCommands: [String]?
        let abstract: String?
        let discussion: String?
        let subcommands: [Command]?
        let arguments: [Argument]?

        /// The words that call it.
        var path: String { ((superCommands ?? []) + [commandName]).joined(separator: " ") }
        /// Those of its commands that have pages.
        var children: [Command] { (subcommands ?? []).filter { $0.commandName != "help" } }
    }

    private struct Dump: Decodable { let command: Command }

    private let root: Command

    /// The pages of all commands.
    init() throws {
        root = try JSONDecoder().decode(Dump.self, from: Data(Carousel._dumpHelp().utf8)).command
    }

    /// File names with the pages.
    var pages: [(name: String, text: String)] {
        [(Self.fileName(root), page(root))] + root.children.map { (Self.fileName($0), page($0)) }
    }

    private static func fileName(_ command: Command) -> String {
        command.path.replacing(" ", with: "-") + ".1"
    }

    private func page(_ command: Command) -> String {
        let name = command.path.replacing(" ", with: "-")
        var lines = [
            ".\\\" Made by 'carousel man'.",
            ".TH \(Self.escaped(name.uppercased())) 1 \"\" \"Carousel \(Controller.version)\" \"Carousel\"",
            ".SH NAME", "\(Self.escaped(name)) \\- \(Self.escaped(Self.clause(command.abstract)))", ".SH SYNOPSIS",
        ]
        let isRoot = command.path == root.path
        let called = isRoot || command.children.isEmpty ? [] : command.children
        for (index, child) in called.enumerated() {
            if index > 0 { lines.append(".br") }
            lines.append(Self.synopsis(child))
        }
        if called.isEmpty { lines.append(isRoot ? "\\fBcarousel\\fR \\fICOMMAND\\fR ..." : Self.synopsis(command)) }
        lines += [".SH DESCRIPTION"] + Self.paragraphs(command.discussion ?? command.abstract)
        if isRoot {
            lines.append(".SH COMMANDS")
            for child in command.children {
                lines += [".TP", "\\fB\(Self.escaped(child.commandName))\\fR", Self.line(child.abstract ?? "")]
            }
        } else if command.children.isEmpty {
            lines += Self.options(command, heading: ".SH OPTIONS")
        } else {
            lines.append(".SH COMMANDS")
            for child in command.children {
                lines += [".SS \(Self.escaped(child.path))", Self.line(child.abstract ?? "")]
                if let discussion = child.discussion { lines += [".PP"] + Self.paragraphs(discussion) }
                lines += Self.options(child, heading: nil)
            }
        }
        lines += Self.seeAlso(isRoot ? root.children : [root])
        return lines.joined(separator: "\n") + "\n"
    }

    private static func seeAlso(_ commands: [Command]) -> [String] {
        let names = commands.map { "\\fB\(escaped($0.path.replacing(" ", with: "-")))\\fR(1)" }
        return [".SH SEE ALSO"] + names.enumerated().map { $0.element + ($0.offset + 1 < names.count ? "," : "") }
    }

    private static func synopsis(_ command: Command) -> String {
        var words = ["\\fB\(escaped(command.path))\\fR"]
        for argument in shown(command) {
            var word: String
            switch argument.kind {
            case "positional": word = value(argument)
            case "flag": word = flags(argument)
            default: word = "\(flags(argument)) \(value(argument))"
            }
            if argument.isOptional { word = "[\(word)]" }
            words.append(argument.isRepeating ? "\(word)..." : word)
        }
        return words.joined(separator: " ")
    }

    private static func options(_ command: Command, heading: String?) -> [String] {
        let arguments = shown(command)
        var lines = arguments.isEmpty ? [] : [heading].compactMap { $0 }
        for argument in arguments {
            lines.append(".TP")
            switch argument.kind {
            case "positional": lines.append(value(argument))
            case "flag": lines.append(flags(argument))
            default: lines.append("\(flags(argument)) \(value(argument))")
            }
            let text = [argument.abstract, argument.discussion, argument.defaultValue.map { "Default: \($0)." }]
            lines.append(line(text.compactMap { $0 }.joined(separator: " ")))
        }
        return lines
    }

    /// What its help shows, less what every command has.
    private static func shown(_ command: Command) -> [Command.Argument] {
        (command.arguments ?? []).filter { argument in
            argument.shouldDisplay && !(argument.names ?? []).contains { ["help", "version"].contains($0.name) }
        }
    }

    private static func flags(_ argument: Command.Argument) -> String {
        (argument.names ?? []).map { "\\fB\(escaped($0.text))\\fR" }.joined(separator: ", ")
    }

    private static func value(_ argument: Command.Argument) -> String {
        "\\fI\(escaped((argument.valueName ?? "value").uppercased()))\\fR"
    }

    /// A sentence as the clause after the dash of NAME.
    private static func clause(_ sentence: String?) -> String {
        let text = (sentence ?? "").trimmingCharacters(in: CharacterSet(charactersIn: ". "))
        return text.prefix(1).lowercased() + text.dropFirst()
    }

    private static func paragraphs(_ text: String?) -> [String] {
        let paragraphs = (text ?? "").components(separatedBy: "\n\n").map { line($0) }.filter { !$0.isEmpty }
        return Array(paragraphs.map { [$0] }.joined(separator: [".PP"]))
    }

    /// Text as one line of input.
    private static func line(_ text: String) -> String {
        let words = text.split { $0.isWhitespace }.joined(separator: " ")
        let first = words.first.map { ".'".contains($0) ? "\\&" : "" } ?? ""
        return first + escaped(words)
    }

    /// `text` with what roff would take for something else as escape sequences.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "'": result += "\\(aq"
            case "`": result += "\\(ga"
            case "~": result += "\\(ti"
            case "^": result += "\\(ha"
            case _ where scalar.isASCII: result.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16, uppercase: true)
                result += "\\[u\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits)]"
            }
        }
        return result
    }
}
