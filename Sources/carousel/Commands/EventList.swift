import ArgumentParser
import Console
import Foundation
import Management
import Platform
import Resources

/// `carousel events`, which is `carousel event list`.
struct EventList: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Event.configuration(.list, "List what was changed, or follow it as it comes.")
    }

    @Flag(help: "Tell what comes, as it comes, until Ctrl-C.")
    var follow = false
    @Option(help: ArgumentHelp("Only so many of the last ones.", valueName: "n"))
    var last: NumberWord?
    @Option(help: ArgumentHelp("Only those behind the event of this number.", valueName: "number"))
    var after: NumberWord?
    @Option(help: "Only those of this kind of thing: disk, library, cartridge.")
    var kind: String?
    @Option(help: "Only those of the thing of this name.")
    var name: String?
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard last == nil || after == nil else { throw ValidationError("Give --last or --after, not both.") }
    }

    func run() async throws {
        var filters: [String: String] = [:]
        filters["kind"] = kind
        filters["thing"] = name
        let last = try last?.number(for: "--last")
        var start = try after.map { "\(try $0.number(for: "--after"))" }
        let daemon = try state.daemon
        if last != nil || !follow {
            let items = try await daemon.list(Event.description, last: last, after: start, filters: filters)
            guard follow else {
                return try output.show(JSONValue.object(["items": .array(items)])) { _ in
                    ResourceText.table(items, of: Event.description)
                }
            }
            for item in items { guard Self.tell(item, isJSON: output.isJSON) else { return } }
            // Without any, it goes on from the first.
            start = items.last?["name"]?.text ?? "0"
        }
        let isJSON = output.isJSON
        let told = Lock(start)
        // A reader that has gone away has seen enough, also when nothing comes any more.
        let watch = Task {
            while (try? await Task.sleep(for: Self.readerWatch)) != nil {
                if StandardStreams.outputHasNoReader { Self.exit() }
            }
        }
        defer { watch.cancel() }
        try await daemon.follow(Event.description, after: start, filters: filters) { event in
            told.withLock { $0 = event["name"]?.text }
            return Self.tell(event, isJSON: isJSON)
        }
        guard Self.canTell.withLock({ $0 }) else { return }
        let rest = told.withLock { $0 }.map { "; 'carousel events --follow --after \($0)' goes on from here" } ?? ""
        throw CommandFailure(.unavailable, "the daemon has stopped\(rest)")
    }

    /// How often it looks whether somebody still reads.
    private static let readerWatch: Duration = .milliseconds(200)

    /// Whether somebody reads what is printed.
    private static let canTell = Lock(true)

    /// Prints an event in one line; false when nobody reads it any more.
    private static func tell(_ event: JSONValue, isJSON: Bool) -> Bool {
        let line: String
        if isJSON, let json = try? APICoding.encode(event) {
            line = TerminalText.json(String(decoding: json, as: UTF8.self))
        } else {
            let status = event["status"]
            line = PrintableText.escaped(
                ["time", "actor", "verb", "kind", "thing"].map { status?[$0]?.text ?? "" }.joined(separator: "  "))
        }
        let isRead = Output.write(line + "\n")
        if !isRead { canTell.withLock { $0 = false } }
        return isRead
    }
}
