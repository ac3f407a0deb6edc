internal import ArgumentParser

/// The load generator and the durability checker: tools for measuring and testing, no part of the product.
@main
struct CarouselBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "carousel-bench",
        abstract: "Measures iSCSI targets and disk images, and checks that they keep what they acknowledge.",
        subcommands: [
            LoadSubcommand.self, CompareSubcommand.self, DurabilitySubcommand.self, ImagesSubcommand.self,
        ])
}
