import ArgumentParser
import Console
import Platform
import Testing

@testable import carousel

@Suite("Options for the API on a network")
struct NetworkOptionsTests {
    /// The sentence that refuses what `body` does; nil when nothing does.
    private func refusal(_ body: () throws -> some Any) -> String? {
        do {
            _ = try body()
            return nil
        } catch {
            return (error as? CommandFailure)?.message
        }
    }

    @Test("nothing is offered unless it is asked for, and nothing without TLS")
    func offered() throws {
        #expect(try NetworkOptions.parse([]).access == nil)
        let options = try NetworkOptions.parse(["--control", "127.0.0.1:1", "--certificate", "c", "--key", "k"])
        let part = try NetworkOptions.parse(["--control", "127.0.0.1:1"])
        let wrong = try NetworkOptions.parse(["--control", "localhost", "--certificate", "c", "--key", "k"])
        if NetworkAccess.isAvailable {
            #expect(try options.access?.address.description == "127.0.0.1:1")
            #expect(refusal { try part.access }?.contains("belong together") == true)
            #expect(refusal { try wrong.access }?.contains("no address") == true)
        } else {
            for options in [options, part, wrong] {
                #expect(refusal { try options.access }?.contains("--traits TLS") == true)
            }
        }
    }

    @Test("a daemon on a network is asked where it is named, and the state folder counts more than the environment")
    func asked() throws {
        let variable = ["CAROUSEL_DAEMON": "https://example.com:1"]
        let none = try RemoteOptions.parse([])
        #expect(try none.server(insteadOf: nil, environment: [:]) == nil)
        #expect(try none.server(insteadOf: nil, environment: ["CAROUSEL_DAEMON": ""]) == nil)
        #expect(try none.server(insteadOf: "/var/lib/carousel", environment: variable) == nil)
        for words in [["--token-file", "t"], ["--ca", "c"]] {
            let alone = try RemoteOptions.parse(words)
            #expect(
                refusal { try alone.server(insteadOf: nil, environment: [:]) }?.contains("that --daemon names") == true)
        }
        let named = try RemoteOptions.parse(["--daemon", "https://example.com:1"])
        let both = refusal { try named.server(insteadOf: "/var/lib/carousel", environment: [:]) }
        #expect(both?.contains("two daemons") == true)
        let wanted = NetworkAccess.isAvailable ? "--token-file" : "--traits TLS"
        #expect(refusal { try named.server(insteadOf: nil, environment: [:]) }?.contains(wanted) == true)
        #expect(refusal { try none.server(insteadOf: nil, environment: variable) }?.contains(wanted) == true)
    }

    @Test("no command has two options of one name")
    func options() {
        for kind in KindCommands.all {
            for command in kind.configuration.subcommands {
                // ArgumentParser checks that when it makes the help.
                #expect(command.helpMessage().contains("--state"), "\(command)")
            }
        }
    }
}
