import ArgumentParser
import Console
import Management
import Resources

/// `carousel tape …`
struct Tape: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, show and delete cartridges, and acknowledge a loss of data.",
        subcommands: [Create.self, List.self, Show.self, AcknowledgeLoss.self, Delete.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an empty cartridge in the first free slot of a library.")

        @Argument(help: "The library.")
        var library: String
        @Argument(
            help: """
                The barcode: A-Z and 0-9, as many characters as the library's profile allows. Its last two say what \
                kind of cartridge it is: L8 and L7 are LTO-8 and LTO-7, M8 is LTO-7 in the denser format of LTO-8 \
                drives, LY and LX are WORM.
                """)
        var barcode: String
        @Option(help: "The capacity, as in 100GiB; that of its kind if left out.")
        var size: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let bytes = try size.map { text in try parsing { () throws(ManagementError) in try ByteSize.parse(text) } }
            let cartridge: CartridgeSummary = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(library))/cartridges",
                CartridgeCreation(barcode: barcode, size: bytes))
            try output.show(cartridge) {
                "cartridge \($0.barcode) of \(ByteSize.format($0.capacity)) is in \($0.location)"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the cartridges of one library, or of all.")

        @Argument(help: "The library.")
        var library: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let path = library.map { "libraries/\(ControlClient.escaped($0))/cartridges" } ?? "cartridges"
            let cartridges: [CartridgeSummary] = try await state.daemon.get(path)
            try output.show(cartridges) { cartridges in
                Output.table(
                    ["LIBRARY", "BARCODE", "PLACE", "CAPACITY", "STATE"],
                    cartridges.map {
                        [$0.library, $0.barcode, $0.location, ByteSize.format($0.capacity), $0.state.rawValue]
                    },
                    notes: cartridges.compactMap { cartridge in
                        cartridge.problem.map { "cartridge '\(cartridge.barcode)' of '\(cartridge.library)': \($0)" }
                    }, empty: "no cartridges; make one with 'carousel tape create LIBRARY BARCODE'")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one cartridge, with how much is written.")

        @Argument(help: "The library.")
        var library: String
        @Argument(help: "The barcode.")
        var barcode: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let cartridge: CartridgeSummary = try await state.daemon.get(
                "libraries/\(ControlClient.escaped(library))/cartridges/\(ControlClient.escaped(barcode))")
            try output.show(cartridge) { cartridge in
                Output.properties([
                    ("barcode", cartridge.barcode),
                    ("library", cartridge.library),
                    ("place", cartridge.location),
                    ("taken from", cartridge.source),
                    ("medium", cartridge.medium),
                    ("capacity", "\(ByteSize.format(cartridge.capacity)) (\(cartridge.capacity) bytes)"),
                    ("written", cartridge.used.map { "\(ByteSize.format($0)) (\($0) bytes)" }),
                    ("serial number", cartridge.serialNumber),
                    ("made", Output.date(cartridge.created)),
                    ("state", Output.state(cartridge.state, cartridge.problem)),
                ])
            }
        }
    }

    struct AcknowledgeLoss: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that a loss of written data is known, so that the cartridge can be written again.",
            discussion: """
                When the host could not make written data durable, the cartridge ends where durability ended, and \
                refuses to be written until then.
                """)

        @Argument(help: "The library.")
        var library: String
        @Argument(help: "The barcode.")
        var barcode: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(library))/cartridges/\(ControlClient.escaped(barcode))"
                    + "/acknowledge-loss",
                [String: String]())
            try output.show(answer) { $0.done }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a cartridge with its content.",
            discussion: "One in a drive is refused.")

        @Argument(help: "The library.")
        var library: String
        @Argument(help: "The barcode.")
        var barcode: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete(
                "libraries/\(ControlClient.escaped(library))/cartridges/\(ControlClient.escaped(barcode))")
            try output.show(answer) { $0.done }
        }
    }
}
