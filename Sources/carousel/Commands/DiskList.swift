import ArgumentParser
import Console
import Resources

/// `--space` of lists.
struct SpaceOption: ParsableArguments {
    @Flag(
        name: .customLong("space"),
        help: "Wait until it is counted how much space they take, some seconds for each 1000 at most.")
    var isAsked = false

    /// The parameters of the request.
    var filters: [String: String] { isAsked ? ["space": "true"] : [:] }
}

/// `carousel disk list`
struct DiskList: AsyncParsableCommand {
    static var configuration: CommandConfiguration { Disk.configuration(.list, "List the disks.") }

    @Option(help: ArgumentHelp("Only so many of the last ones.", valueName: "n"))
    var last: NumberWord?
    @OptionGroup var space: SpaceOption
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let kind = Disk.description
        let last = try last?.number(for: "--last")
        let items = try await state.daemon.list(kind, last: last, filters: space.filters)
        try output.show(JSONValue.object(["items": .array(items)])) { _ in ResourceText.table(items, of: kind) }
    }
}
