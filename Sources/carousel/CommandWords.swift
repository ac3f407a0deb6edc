import ArgumentParser

/// The words of a command line, looked at before and after ArgumentParser does.
enum CommandWords {
    /// What people try for commands that have other names here.
    private static let synonyms = [
        "add": "create", "change": "set", "del": "delete", "destroy": "delete", "get": "show", "info": "show",
        "ls": "list",
        "make": "create", "mv": "move", "new": "create", "remove": "delete", "resize": "set", "rm": "delete",
        "start": "serve",
    ]
    /// The most changes of letters between a word and the command that it may have been meant for.
    private static let maximumDistance = 2

    /// `words` with a negative number made the value of the option before it, for which ArgumentParser takes it for an
    /// option of its own: `--drives -1` becomes `--drives=-1`.
    static func joiningNegativeNumbers(_ words: [String]) -> [String] {
        var result: [String] = []
        for (index, word) in words.enumerated() {
            if words[..<index].contains("--") {
                result.append(word)
            } else if word.hasPrefix("-"), word.dropFirst().first?.isNumber == true, let option = result.last,
                option.hasPrefix("--"), !option.hasPrefix("---"), !option.contains("="), option.count > 2
            {
                result[result.count - 1] = "\(option)=\(word)"
            } else {
                result.append(word)
            }
        }
        return result
    }

    /// A sentence about the first of `words` that should be a command below `root` and is none; nil when all are.
    static func unknownCommand(_ words: [String], below root: any ParsableCommand.Type) -> String? {
        var command = root
        var path = root._commandName
        for (index, word) in words.enumerated() where !command.configuration.subcommands.isEmpty {
            // Options of commands with commands: --help, --version, and those of the parser.
            if word.hasPrefix("-") || (index == 0 && word == "help") { return nil }
            let commands = command.configuration.subcommands
            guard let next = commands.first(where: { names(of: $0).contains(word) }) else {
                let suggestion = closest(to: word, among: commands.map { $0._commandName })
                return "'\(path)' has no command '\(word)'"
                    + (suggestion.map { "; did you mean '\($0)'?" } ?? "; see '\(path) --help'")
            }
            command = next
            path += " \(word)"
        }
        return nil
    }

    private static func names(of command: any ParsableCommand.Type) -> [String] {
        [command._commandName] + command.configuration.aliases
    }

    /// The name that `word` was probably meant to be; nil when none is near.
    static func closest(to word: String, among names: [String]) -> String? {
        if let synonym = synonyms[word.lowercased()], names.contains(synonym) { return synonym }
        let word = word.lowercased()
        // A long word is far from every command; its distances are not worth the time.
        guard word.count <= 40 else { return nil }
        let near = names.map { (name: $0, distance: distance(word, $0)) }.filter {
            $0.distance <= min(maximumDistance, max($0.name.count, word.count) / 2)
        }
        return near.min { $0.distance < $1.distance }?.name
            ?? (word.count > 1 ? names.first { $0.hasPrefix(word) } : nil)
    }

    /// How many letters must be inserted, removed, changed or swapped with their neighbour to make `second` of `first`.
    private static func distance(_ first: String, _ second: String) -> Int {
        let first = Array(first)
        let second = Array(second)
        var rows = [Array(0...second.count)]
        for (index, letter) in first.enumerated() {
            var row = [index + 1]
            for (other, otherLetter) in second.enumerated() {
                var cost = min(row[other] + 1, rows[index][other + 1] + 1)
                cost = min(cost, rows[index][other] + (letter == otherLetter ? 0 : 1))
                if index > 0, other > 0, letter == second[other - 1], first[index - 1] == otherLetter {
                    cost = min(cost, rows[index - 1][other - 1] + 1)
                }
                row.append(cost)
            }
            rows.append(row)
        }
        return rows[first.count][second.count]
    }

    /// One sentence of what ArgumentParser says in `message`, and in `full` with its usage: what is wrong, and where to
    /// look.
    static func sentence(_ message: String, full: String) -> String {
        let lines = message.split(separator: "\n").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }
        var text = lines.joined(separator: " ")
        while text.last == "." { text.removeLast() }
        if let first = text.first { text = first.lowercased() + text.dropFirst() }
        text = text.replacing(". Did you mean", with: "; did you mean")
            .replacing(". Please provide", with: "; give")
        guard let see = full.split(separator: "\n").last(where: { $0.contains("See '") }),
            let help = see.split(separator: "'").dropFirst().first, !text.hasSuffix("?")
        else { return text }
        return "\(text); see '\(help)'"
    }
}
