import ArgumentParser
import Console
import Foundation
import Management
import Platform
import Resources
import TextTable

/// Selects the state folder.
struct FolderOption: ParsableArguments {
    @Option(name: .customLong("state"), help: ArgumentHelp("The state folder.", valueName: "folder"))
    var path: String?

    func validate() throws {
        guard path != "" else { throw ValidationError("'' is no state folder; name one with --state.") }
    }

    /// The state folder, absolute.
    var folder: String { StateFolder.absolute(path ?? StateFolder.defaultPath()) }
}

/// Selects the daemon.
struct StateOptions: ParsableArguments {
    @OptionGroup var folder: FolderOption
    @OptionGroup var remote: RemoteOptions

    /// The daemon of the folder, or the one that was named.
    var daemon: ControlClient {
        get throws {
            do throws(ManagementError) { try OpenFiles.check() } catch { throw CommandFailure(starting: error) }
            if let server = try remote.server(insteadOf: folder.path) { return ControlClient(server: server) }
            return ControlClient(stateFolder: folder.folder)
        }
    }
}

/// How a query prints.
struct OutputOptions: ParsableArguments {
    @Flag(name: .customLong("json"), help: "Print JSON instead of a table.")
    var isJSON = false

    /// Prints `value`: as JSON, or as `text` makes it.
    func show<Value: Encodable>(_ value: Value, text: (Value) -> String) throws {
        guard isJSON else { return Output.print(TerminalText.lines(text(value))) }
        let json = try APICoding.encode(value, isIndented: true)
        Output.print(TerminalText.json(String(decoding: json, as: UTF8.self)))
    }
}

/// Text for a terminal.
enum Output {
    /// Why not all could be written that was printed since this was asked for; nil when all was, or its reader has gone
    /// away, which is no failure. The end of the program tells of it.
    static func takeFailure() -> CommandFailure? { failed.withLock { $0.take() } }
    private static let failed = Lock<CommandFailure?>(nil)

    /// Prints `text` and a line end at once, also into a pipe.
    static func print(_ text: String) { _ = write(text + "\n") }

    /// Prints `text` at once; false when nobody gets it.
    static func write(_ text: String) -> Bool {
        do throws(SystemError) {
            try StandardStreams.write(Array(text.utf8))
            return true
        } catch {
            // A reader that has gone away has seen enough.
            guard error.code != Errno.brokenPipe else { return false }
            failed.withLock { failed in
                failed =
                    failed
                    ?? CommandFailure(
                        .notWrittenOut,
                        "standard output cannot be written: \(error.reason); whatever else was to be done is done")
            }
            return false
        }
    }

    /// A table with a header, and `notes` below it, or `empty` when there are no rows.
    static func table(_ titles: [String], _ rows: [[String]], notes: [String] = [], empty: String) -> String {
        guard !rows.isEmpty else { return empty }
        let table = TextTable<[String]> { row in
            zip(titles, row).map { Column(title: $0, value: TerminalText.word($1)) }
        }
        guard let text = table.string(for: rows, style: Style.plain) else { return empty }
        let lines = text.split(separator: "\n").map { String(trimmedAtEnd($0)) }
        return (lines + (notes.isEmpty ? [] : [""]) + notes).joined(separator: "\n")
    }

    /// Labels and values in two columns.
    static func properties(_ properties: [(String, String?)]) -> String {
        let width = properties.map(\.0.count).max() ?? 0
        return properties.compactMap { label, value in
            value.map {
                "\(label)\(String(repeating: " ", count: width - label.count))  \(TerminalText.word($0))"
            }
        }.joined(separator: "\n")
    }

    /// A state, with the problem that it comes from.
    static func state<State: RawRepresentable<String>>(_ state: State, _ problem: String?) -> String {
        problem.map { "\(state.rawValue): \($0)" } ?? state.rawValue
    }

    /// A point in time, to the second.
    static func date(_ date: Date) -> String { date.formatted(.iso8601) }

    private static func trimmedAtEnd(_ line: Substring) -> Substring {
        var line = line
        while line.last == " " { line.removeLast() }
        return line
    }
}
