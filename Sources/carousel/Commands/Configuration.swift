import ArgumentParser
import Console
import Foundation
import Management
import Resources

/// `carousel export`
struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write down the whole configuration, as JSON.",
        discussion: """
            'carousel apply' makes the same of it elsewhere, or again. It has no data, no secrets, and no serial \
            numbers and designators, which new things get anew: for all that there is 'carousel backup'.
            """)

    @Option(
        help: ArgumentHelp(
            "Write it to this file, of which nothing is seen before it is whole; - is standard output.",
            valueName: "file"),
        completion: .file())
    var output: String?
    @OptionGroup var state: StateOptions

    func run() async throws {
        let configuration: JSONValue = try await state.daemon.get("configuration")
        let json = try APICoding.encode(configuration, isIndented: true)
        if output?.isEmpty == true {
            throw CommandFailure(.usage, "'' is no name for a file; give another with --output")
        }
        guard let output, output != "-" else {
            return Output.print(TerminalText.json(String(decoding: json, as: UTF8.self)))
        }
        try OutputFile.write(json + Data("\n".utf8), to: output, mode: 0o600)
    }
}

/// The file of `diff` and `apply`.
struct ConfigurationOptions: ParsableArguments {
    @Argument(help: "A configuration as 'carousel export' writes it; - is standard input.", completion: .file())
    var file: String
    @Flag(help: "Delete what the file does not mention.")
    var prune = false
    @OptionGroup var state: StateOptions

    func request() throws -> ConfigurationRequest {
        ConfigurationRequest(configuration: try ConfigurationFile(path: file).content, prunes: prune)
    }

    func changes(_ request: ConfigurationRequest) async throws -> ConfigurationChanges {
        try await state.daemon.post("configuration/compare", request.json)
    }
}

/// `carousel diff`
struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what 'carousel apply' would change.",
        discussion: """
            Exit code 0 means nothing, 1 that there are differences, one a line, and 2, as with diff(1), that the file \
            cannot be applied as things stand; 64 that the file asks for what cannot be.
            """)

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let request = try options.request()
        let changes: ConfigurationChanges
        do {
            changes = try await options.changes(request)
        } catch let error as ControlClientError {
            let failure = CommandFailure(error)
            guard failure.status == .refused else { throw failure }
            throw CommandFailure(.notComparable, failure.message)
        }
        try output.show(changes) { $0.text(empty: "no differences") }
        guard changes.lines.isEmpty else { throw ExitCode(ExitStatus.refused.rawValue) }
    }
}

/// `carousel apply`
struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make of everything what a file describes, or change nothing.",
        discussion: """
            Everything is checked first. When a step fails, those before it are taken back; what cannot be, growth of \
            disks and deletion of media, comes last. Initiators see what they saw before until all is done. What the \
            file describes as it is already is no change; what it does not mention stays, unless --prune is given; \
            what it does not say of a thing is what it is by default.

            A secret stands in a file or in a variable of the environment, which the configuration names: "secret": \
            {"file": "db.secret"} or {"environment": "DB_SECRET"}. Credentials that are there keep theirs when it \
            names none.
            """)

    enum IsJob: JobSource {
        static var isJob: Bool { true }
    }

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var waiting: WaitingOption<IsJob>
    @Flag(help: "Let somebody see more than before.")
    var open = false
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var request = try options.request()
        let changes = try await options.changes(request)
        guard !changes.lines.isEmpty, !dryRun.isAsked else {
            return try output.show(changes) { $0.text(empty: "nothing to change") }
        }
        if let widening = changes.widening, !open {
            throw CommandFailure(.refused, "\(widening); say --open if that is meant")
        }
        if let first = changes.deletedMedia.first {
            let more = changes.deletedMedia.count - 1
            try consent.require(for: "delete \(first)\(more > 0 ? " and \(more) more" : "") with all content")
        }
        request.mayWiden = open
        request.deletableMedia = changes.deletedMedia
        let daemon = try options.state.daemon
        let begun: JSONValue = try await daemon.post("configuration/apply", request.json)
        if begun["status"] != nil {
            if waiting.isDeclined { return try output.show(begun, text: JobText.begun) }
            _ = try await JobFollower(daemon: daemon).finish(begun)
        }
        try output.show(changes) { $0.text(empty: "nothing to change") }
    }
}

extension ConfigurationChanges {
    /// The changes, a line each, and who sees more by them.
    fileprivate func text(empty: String) -> String {
        guard !lines.isEmpty else { return empty }
        return (lines.map(PrintableText.escaped) + (widening.map { ["opens: " + PrintableText.escaped($0)] } ?? []))
            .joined(separator: "\n")
    }
}
