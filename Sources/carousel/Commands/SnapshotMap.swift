import ArgumentParser
import Console
import Management
import Resources

/// `carousel snapshot map DISK@NAME [NEW]`
struct SnapshotMap: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Snapshot.Map>.configuration }

    struct Fields: OptionSource {
        static var options: [FieldDescription] { Snapshot.Map.Arguments.descriptions.filter { $0.name != "name" } }
        static var requiresFields: Bool { true }
    }

    @OptionGroup var name: NameArgument<Snapshot>
    @Argument(help: "The name of the disk that shows it; DISK-NAME if left out.")
    var new: String?
    @OptionGroup var fields: FieldOptions<Fields>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var members = try fields.members
        if let new { members["name"] = .text(new) }
        let answer = try await state.daemon.perform(
            Snapshot.Map.description, Snapshot.description, name.text, members)
        try output.show(answer) { ResourceText.answer($0, of: Snapshot.self) }
    }
}

/// `carousel disk clone DISK@NAME NEW`
struct DiskClone: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Snapshot.Clone>.configuration }

    @OptionGroup var name: NameArgument<Snapshot>
    @Argument(help: "The name of the new disk.")
    var new: String
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let answer = try await state.daemon.perform(
            Snapshot.Clone.description, Snapshot.description, name.text, ["name": .text(new)])
        try output.show(answer) { ResourceText.answer($0, of: Snapshot.self) }
    }
}
