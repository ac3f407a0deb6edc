import ArgumentParser
import Console
import Management
import Resources

/// `carousel snapshot create DISK@NAME …`
struct SnapshotCreate: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Snapshot.configuration(.create, "Make snapshots, all at one instant.")
    }

    @Argument(help: ArgumentHelp("The snapshots, of each disk one.", valueName: "disk@name"))
    var names: [String]
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Snapshot.description, try state.daemon)
        if dryRun.isAsked {
            var things: [JSONValue] = []
            for name in names { things.append(try await daemon.startCreation(kind, name, [:], isDryRun: true)) }
            return try output.show(JSONValue.object(["items": .array(things)])) { _ in
                things.map { ResourceText.preview("make", $0, of: kind) }.joined(separator: "\n")
            }
        }
        if names.count == 1 {
            let thing = try await daemon.create(kind, names[0], [:])
            return try output.show(thing) { ResourceText.summary($0, of: Snapshot.self) }
        }
        let answer = try await daemon.perform(
            Snapshot.Take.description, kind, nil, ["names": .array(names.map { .text($0) })])
        try output.show(answer) { ResourceText.answer($0, of: Snapshot.self) }
    }
}

/// `carousel snapshot list`: all, or those of one disk.
struct SnapshotList: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Snapshot.configuration(.list, "List the snapshots of all disks, or of one.")
    }

    @Argument(help: "Only those of this disk.")
    var disk: String?
    @OptionGroup var space: SpaceOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let kind = Snapshot.description
        let items = try await state.daemon.list(kind, of: disk, filters: space.filters)
        try output.show(JSONValue.object(["items": .array(items)])) { _ in ResourceText.table(items, of: kind) }
    }
}

/// `carousel snapshot delete DISK@NAME …`
struct SnapshotDelete: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        Snapshot.configuration(.delete, "Delete snapshots with their content, one after another.")
    }

    @Argument(help: ArgumentHelp("The snapshots.", valueName: "disk@name"))
    var names: [String]
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Snapshot.description, try state.daemon)
        if let again = names.enumerated().first(where: { names[..<$0.offset].contains($0.element) })?.element {
            throw ValidationError("snapshot '\(again)' is named twice")
        }
        // Before any of them goes.
        for name in names { _ = try await daemon.show(kind, name) }
        if dryRun.isAsked {
            var things: [JSONValue] = []
            for name in names { things.append(try await daemon.startDeletion(kind, name, isDryRun: true)) }
            return try output.show(JSONValue.object(["items": .array(things)])) { _ in
                things.map { ResourceText.preview("delete", $0, of: kind) }.joined(separator: "\n")
            }
        }
        try consent.require(
            for: names.count == 1
                ? "delete snapshot '\(names[0])' with its content"
                : "delete \(names.count) snapshots with their content")
        for name in names { _ = try await daemon.startDeletion(kind, name) }
        let done = "deleted " + names.map { "snapshot \($0)" }.joined(separator: ", ")
        try output.show(["done": .text(done)] as JSONValue) { $0["done"]?.text ?? "" }
    }
}

/// `carousel snapshot rollback DISK@NAME`
struct SnapshotRollback: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Snapshot.Rollback>.configuration }

    @OptionGroup var name: NameArgument<Snapshot>
    @OptionGroup var consent: ConsentOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (Snapshot.description, try state.daemon)
        let present = try await daemon.show(kind, name.text)
        let disk = present["status"]?["disk"]?.text ?? ""
        try consent.require(for: "make disk '\(disk)' what snapshot '\(name.text)' is")
        let answer = try await daemon.perform(Snapshot.Rollback.description, kind, name.text, [:])
        try output.show(answer) { ResourceText.answer($0, of: Snapshot.self) }
    }
}
