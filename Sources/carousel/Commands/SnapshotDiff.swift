import ArgumentParser
import Console
import Management
import Resources

/// `carousel snapshot diff A B`
struct SnapshotDiff: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        let action = Snapshot.Compare.description
        return CommandConfiguration(
            commandName: action.name, abstract: action.help,
            discussion: """
                The ranges are in bytes, in whole units of 4096 but at the end of a disk. A range may have been \
                written with what was there already.
                """)
    }

    @Argument(help: ArgumentHelp("A snapshot, or a disk as it is now.", valueName: "disk[@name]"))
    var from: String
    @Argument(
        help: ArgumentHelp(
            "Another one of the same image: of the same disk, or of a clone.", valueName: "disk[@name]"))
    var to: String
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Snapshot.description, try state.daemon)
        var ranges: [JSONValue] = []
        var arguments: [String: JSONValue] = [
            "from": .text(from), "to": .text(to), "limit": .integer(Int64(Snapshot.rangeLimit)),
        ]
        while true {
            let answer = try await daemon.perform(Snapshot.Compare.description, kind, nil, arguments)
            ranges += answer["ranges"]?.elements ?? []
            guard let next = answer["next"], case .integer = next else { break }
            arguments["after"] = next
        }
        let fields = Snapshot.Compare.ChangedRange.descriptions
        try output.show(JSONValue.object(["ranges": .array(ranges)])) { _ in
            Output.table(
                fields.map { $0.column ?? $0.label.uppercased() },
                ranges.map { range in fields.map { $0.shown(range[$0.name] ?? .null) } },
                empty: "nothing differs")
        }
    }
}
