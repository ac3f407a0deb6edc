import ArgumentParser
import Console
import Resources

/// `carousel alua list`: all devices, or one.
struct AccessStateList: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        AccessState.configuration(.list, "List the states of devices in portal groups.")
    }

    @Argument(help: "Only those of this device.")
    var device: String?
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (kind, daemon) = (AccessState.description, try state.daemon)
        let items =
            if let device { [try await daemon.show(kind, device)] } else { try await daemon.list(kind) }
        try output.show(JSONValue.object(["items": .array(items)])) { _ in ResourceText.table(items, of: kind) }
    }
}
