import ArgumentParser
import Console
import Management
import Resources

/// `carousel library …`
struct Library: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, show and delete tape libraries, and move their cartridges.",
        discussion: """
            A library is a target, iqn.2026-11.dev.carousel:NAME, with the medium changer at logical unit 0 and its \
            drives from 1 on.
            """,
        subcommands: [
            Create.self, List.self, Show.self, Delete.self, Move.self, Export.self, Import.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a library.",
            discussion: """
                With --cartridges, new cartridges fill the first slots; their barcodes count up from --first-barcode. \
                Cartridges have the capacity of the kind that their barcodes mean unless --cartridge-size says \
                otherwise; they take \
                space only as they are written.
                """)

        @Argument(help: "The name: a-z, 0-9, '-' and '.'.")
        var name: String
        @Option(help: "The library profile, as in ibm-03584l32.")
        var profile: String
        @Option(help: "How many drives.")
        var drives: Int
        @Option(help: ArgumentHelp("The profile of the drives, as in ibm-ult3580-td8.", valueName: "profile"))
        var driveProfile: String
        @Option(help: "How many slots.")
        var slots: Int
        @Option(name: .customLong("mailslots"), help: "How many mail slots.")
        var mailSlots: Int
        @Option(help: "How many cartridges to put in.")
        var cartridges: Int = 0
        @Option(
            help: ArgumentHelp(
                "The first barcode; left out, V00001L8, or the one behind those that other libraries have.",
                valueName: "barcode"))
        var firstBarcode: String?
        @Option(help: ArgumentHelp("The capacity of a cartridge, as in 100GiB.", valueName: "size"))
        var cartridgeSize: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let size = try cartridgeSize.map { text in
                try parsing { () throws(ManagementError) in try ByteSize.parse(text) }
            }
            let library: LibrarySummary = try await state.daemon.post(
                "libraries",
                LibraryCreation(
                    name: name, profile: profile, drives: drives, driveProfile: driveProfile, slots: slots,
                    mailSlots: mailSlots, cartridges: cartridges, firstBarcode: firstBarcode, cartridgeSize: size))
            try output.show(library) {
                "library \($0.name) with \($0.drives.count) drives and \($0.cartridges) cartridges is target "
                    + "\($0.target)"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the libraries.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let libraries: [LibrarySummary] = try await state.daemon.get("libraries")
            try output.show(libraries) { libraries in
                Output.table(
                    ["NAME", "PROFILE", "DRIVES", "SLOTS", "MAIL", "CARTRIDGES", "SESSIONS", "STATE", "TARGET"],
                    libraries.map {
                        [
                            $0.name, $0.profile, "\($0.drives.count)", "\($0.slots)", "\($0.mailSlots)",
                            "\($0.cartridges)", "\($0.sessions)", $0.state.rawValue,
                            $0.target,
                        ]
                    }, empty: "no libraries; make one with 'carousel library create'")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one library: its drives, cartridges and last moves.")

        @Argument(help: "The name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let detail: LibraryDetail = try await state.daemon.get("libraries/\(ControlClient.escaped(name))")
            try output.show(detail, text: describe)
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a library with all its cartridges.",
            discussion: "Cartridges in the vault go too. Refused while an initiator is logged in.")

        @Argument(help: "The name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("libraries/\(ControlClient.escaped(name))")
            try output.show(answer) { $0.done }
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move the cartridge in one element to another.",
            discussion: "Elements are written slot:3, drive:1 and mail:1. A cartridge that gets to a drive is loaded.")

        @Argument(help: "The library.")
        var name: String
        @Argument(help: "The element that holds the cartridge.")
        var from: String
        @Argument(help: "The empty element that gets it.")
        var to: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            for element in [from, to] {
                _ = try parsing { () throws(ManagementError) in try ElementAddress.parse(element) }
            }
            let cartridge: CartridgeSummary = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(name))/move", MoveRequest(origin: from, destination: to))
            try output.show(cartridge) { "cartridge \($0.barcode) is in \($0.location)" }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a cartridge out of the library, to the vault.",
            discussion: "It keeps its content and comes back with 'carousel library import'. One in a drive is refused."
        )

        @Argument(help: "The library.")
        var name: String
        @Argument(help: "The cartridge.")
        var barcode: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let cartridge: CartridgeSummary = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(name))/export", CartridgeReference(barcode: barcode))
            try output.show(cartridge) { "cartridge \($0.barcode) is in the vault" }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a cartridge from the vault into a mail slot.",
            discussion: "A library without mail slots gets it into a free slot.")

        @Argument(help: "The library.")
        var name: String
        @Argument(help: "The cartridge.")
        var barcode: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let cartridge: CartridgeSummary = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(name))/import", CartridgeReference(barcode: barcode))
            try output.show(cartridge) {
                "cartridge \($0.barcode) is in \($0.location)"
                    + ($0.location.hasPrefix("slot:") ? ", for library \($0.library) has no mail slots" : "")
            }
        }
    }

    private static func describe(_ detail: LibraryDetail) -> String {
        let library = detail.library
        let properties = Output.properties([
            ("name", library.name),
            ("profile", library.profile),
            ("target", library.target),
            ("serial number", library.serialNumber),
            ("NAA", library.naa),
            ("slots", "\(library.slots)"),
            ("mail slots", "\(library.mailSlots)"),
            ("cartridges", "\(library.cartridges), and \(library.exported) in the vault"),
            ("made", Output.date(library.created)),
            ("sessions", "\(library.sessions)"),
            ("state", Output.state(library.state, library.problem)),
        ])
        let drives = Output.table(
            ["DRIVE", "LUN", "PROFILE", "SERIAL", "CARTRIDGE"],
            library.drives.map {
                [$0.element, "\($0.logicalUnitNumber)", $0.profile, $0.serialNumber, $0.barcode ?? "-"]
            }, empty: "no drives")
        let cartridges = Output.table(
            ["PLACE", "BARCODE", "CAPACITY", "STATE"],
            detail.cartridges.map { [$0.location, $0.barcode, ByteSize.format($0.capacity), $0.state.rawValue] },
            empty: "no cartridges")
        let moves = Output.table(
            ["TIME", "CARTRIDGE", "FROM", "TO", "BY"],
            detail.moves.map { [Output.date($0.time), $0.barcode, $0.origin, $0.destination, $0.cause] },
            empty: "no moves yet")
        return [properties, drives, cartridges, moves].joined(separator: "\n\n")
    }
}
