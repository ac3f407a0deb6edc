internal import ArgumentParser

/// `carousel-bench durability`.
struct DurabilitySubcommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "durability", abstract: "Writes until the target dies, and verifies what it had promised to keep.")
}
