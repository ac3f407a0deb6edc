import ArgumentParser
import Console
import Management

/// `carousel disk …`
struct Disk: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, show, resize and delete disks, and acknowledge a loss of data.",
        discussion: "A disk is logical unit 0 of a target of its own, iqn.2026-11.dev.carousel:NAME.",
        subcommands: [Create.self, List.self, Show.self, Resize.self, AcknowledgeLoss.self, Delete.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a disk.",
            discussion: """
                Its image is a sparse file in the state folder, or an existing file given with --image, which keeps \
                its content and stays when the disk is deleted. The size is rounded up to whole blocks.
                """)

        @Argument(help: "The name: a-z, 0-9, '-' and '.'.")
        var name: String
        @Option(help: "The capacity, as in 1GiB; may be left out with --image.")
        var size: String?
        @Option(help: "The logical block size: 512 or 4096.")
        var blockSize: Int = 512
        @Option(help: ArgumentHelp("Use this existing file as the image.", valueName: "file"))
        var image: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let bytes = try size.map { text in try parsing { () throws(ManagementError) in try ByteSize.parse(text) } }
            let request = DiskCreation(
                name: name, size: bytes, blockSize: blockSize, image: image.map(StateFolder.absolute))
            let disk: DiskSummary = try await state.daemon.post("disks", request)
            try output.show(disk) { "disk \($0.name) of \(ByteSize.format($0.size)) is target \($0.target)" }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the disks.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let disks: [DiskSummary] = try await state.daemon.get("disks")
            try output.show(disks) { disks in
                Output.table(
                    ["NAME", "SIZE", "BLOCK", "SESSIONS", "STATE", "TARGET"],
                    disks.map {
                        [
                            $0.name, ByteSize.format($0.size), "\($0.blockSize)", "\($0.sessions)",
                            $0.state.rawValue, $0.target,
                        ]
                    }, notes: disks.compactMap(\.problem),
                    empty: "no disks; make one with 'carousel disk create NAME --size SIZE'")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one disk.")

        @Argument(help: "The name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let disk: DiskSummary = try await state.daemon.get("disks/\(ControlClient.escaped(name))")
            try output.show(disk, text: describe)
        }
    }

    struct Resize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a disk larger.",
            discussion: "Initiators may go on using it, and learn of the new size. A disk cannot become smaller.")

        @Argument(help: "The name.")
        var name: String
        @Option(help: "The new capacity, as in 2GiB.")
        var size: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let bytes = try parsing { () throws(ManagementError) in try ByteSize.parse(size) }
            let disk: DiskSummary = try await state.daemon.patch(
                "disks/\(ControlClient.escaped(name))", DiskResize(size: bytes))
            try output.show(disk) { "disk \($0.name) has \(ByteSize.format($0.size))" }
        }
    }

    struct AcknowledgeLoss: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that a loss of written data is known, so that the disk can be written again.",
            discussion: """
                When the host could not make written data durable, the disk refuses to be written and to call anything \
                durable until then. Check or restore its content first.
                """)

        @Argument(help: "The name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.post(
                "disks/\(ControlClient.escaped(name))/acknowledge-loss", [String: String]())
            try output.show(answer) { $0.done }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a disk with its content.",
            discussion: "An image given with --image stays. Refused while an initiator is logged in.")

        @Argument(help: "The name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("disks/\(ControlClient.escaped(name))")
            try output.show(answer) { $0.done }
        }
    }

    private static func describe(_ disk: DiskSummary) -> String {
        Output.properties([
            ("name", disk.name),
            ("size", "\(ByteSize.format(disk.size)) (\(disk.size) bytes)"),
            ("block size", "\(disk.blockSize)"),
            ("image", disk.image + (disk.imageIsExternal ? " (external)" : "")),
            ("target", disk.target),
            ("serial number", disk.serialNumber),
            ("NAA", disk.naa),
            ("made", Output.date(disk.created)),
            ("sessions", "\(disk.sessions)"),
            ("state", Output.state(disk.state, disk.problem)),
        ])
    }
}
