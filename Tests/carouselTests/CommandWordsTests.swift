import ArgumentParser
import Testing

@testable import carousel

@Suite("The words of a command line")
struct CommandWordsTests {
    @Test(
        "a word that is no command names the one that was probably meant",
        arguments: [
            ("disk creat x", "'carousel disk' has no command 'creat'; did you mean 'create'?"),
            ("disk craete x", "'carousel disk' has no command 'craete'; did you mean 'create'?"),
            ("dsik create x", "'carousel' has no command 'dsik'; did you mean 'disk'?"),
            ("DISK", "'carousel' has no command 'DISK'; did you mean 'disk'?"),
            ("disk rm x", "'carousel disk' has no command 'rm'; did you mean 'delete'?"),
            ("tape ls", "'carousel tape' has no command 'ls'; did you mean 'list'?"),
            ("stat", "'carousel' has no command 'stat'; did you mean 'status'?"),
            ("xyzzy", "'carousel' has no command 'xyzzy'; see 'carousel --help'"),
            ("library help", "'carousel library' has no command 'help'; see 'carousel library --help'"),
            ("tape xyzzy", "'carousel tape' has no command 'xyzzy'; see 'carousel tape --help'"),
        ])
    func suggestions(words: String, sentence: String) {
        let words = words.split(separator: " ").map(String.init)
        #expect(CommandWords.unknownCommand(words, below: Carousel.self) == sentence)
    }

    @Test(
        "commands and options are left to the parser",
        arguments: [
            "", "--help", "help disk", "disk", "disk create creat", "disk --help", "status x", "disk list disk",
        ])
    func known(words: String) {
        let words = words.split(separator: " ").map(String.init)
        #expect(CommandWords.unknownCommand(words, below: Carousel.self) == nil)
    }

    @Test("a very long word costs no time and suggests nothing")
    func long() {
        #expect(CommandWords.closest(to: String(repeating: "a", count: 1_000_000), among: ["disk"]) == nil)
    }

    @Test(
        "a negative number is the value of the option before it",
        arguments: [
            ("create --drives -1", "create --drives=-1"), ("--seconds -20 x", "--seconds=-20 x"),
            ("--drives=2 -1", "--drives=2 -1"), ("--secret-file -", "--secret-file -"),
            ("-- --drives -1", "-- --drives -1"),
            ("-1", "-1"), ("x -1", "x -1"), ("---completion -1", "---completion -1"), ("--a -b", "--a -b"),
        ])
    func negativeNumbers(words: String, joined: String) {
        let words = words.split(separator: " ").map(String.init)
        #expect(CommandWords.joiningNegativeNumbers(words).joined(separator: " ") == joined)
    }

    @Test(
        "numbers of options are written in one way only, and refused in one sentence",
        arguments: [
            ("disk list --last", "--last"), ("events --last", "--last"), ("events --after", "--after"),
            ("top --interval", "--interval"), ("adopt disk d --block-size", "--block-size"),
            ("adopt library v --profile p --drives 1 --drive-profile d --mail-slots 0 --slots", "--slots"),
            ("adopt library v --profile p --drive-profile d --mail-slots 0 --drives", "--drives"),
            ("adopt library v --profile p --drives 1 --drive-profile d --mail-slots", "--mail-slots"),
            ("library create v --profile p --slots 1 --drive-profile d --drives", "drives"),
        ])
    func numbers(words: String, what: String) async throws {
        for number in ["010", "+5", "1e1", "x", "0x10", "-0"] {
            // No daemon is there, so it is not asked.
            let line = words.split(separator: " ").map(String.init) + [number, "--state", "/nonexistent"]
            var command = try Carousel.parseAsRoot(CommandWords.joiningNegativeNumbers(line))
            let error = await #expect(throws: CommandFailure.self) {
                if var asynchronous = command as? any AsyncParsableCommand {
                    try await asynchronous.run()
                } else {
                    try command.run()
                }
            }
            #expect(error?.status == .usage)
            #expect(
                error?.message
                    == "'\(number)' is no number for \(what); write digits, without a sign or zeros before them")
        }
    }

    @Test(
        "what the parser says is one sentence with what to do",
        arguments: [
            ("disk create", "missing expected argument '<name>'; see 'carousel disk create --help'"),
            ("disk create a --siz 1", "unknown option '--siz'; did you mean '--size'?"),
            ("disk create a --qqqqqqq 1", "unknown option '--qqqqqqq'; see 'carousel disk create --help'"),
            ("disk create a --size", "missing value for '--size <size>'; see 'carousel disk create --help'"),
            ("disk create a b", "unexpected argument 'b'; see 'carousel disk create --help'"),
        ])
    func sentences(words: String, sentence: String) throws {
        let words = words.split(separator: " ").map(String.init)
        let error = try #require(throws: (any Error).self) { _ = try Carousel.parseAsRoot(words) }
        #expect(Carousel.exitCode(for: error).rawValue == 64)
        let text = CommandWords.sentence(Carousel.message(for: error), full: Carousel.fullMessage(for: error))
        #expect(text == sentence)
    }
}
