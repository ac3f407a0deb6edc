internal import ArgumentParser
internal import Initiator

/// `carousel-bench durability`.
struct DurabilitySubcommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "durability",
        abstract: "Writes until the target dies, and verifies that it kept what it had acknowledged as durable.",
        discussion: """
            `write` and `verify` take turns on a disk or a tape drive of their own; what is there before the first \
            turn is lost. The journal notes what was acknowledged: SYNCHRONIZE CACHE and writes with FUA on a disk, \
            WRITE FILEMARKS on a tape.
            """,
        subcommands: [Write.self, Verify.self])

    /// What both need.
    struct Options: ParsableArguments {
        @Option(help: LogicalUnitURL.help)
        var url: LogicalUnitURL

        @Option(help: "The file that notes what the target has promised.")
        var journal: String

        func open() throws -> (Journal, LogicalUnitProbe) {
            let journal = try Journal(path: journal)
            return (journal, try LogicalUnitProbe(url, InitiatorSettings(targetName: url.targetName)))
        }
    }

    /// `carousel-bench durability write`.
    struct Write: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes until the connection ends (exit status 3) or time is up (0).")

        /// The exit status when the connection ended, as it does when the target is killed.
        private static let connectionLost = ExitCode(3)

        @OptionGroup var options: Options

        @Option(help: "How long to write, in seconds.")
        var seconds = 60.0

        @Option(help: "How much of the disk or the tape to use.")
        var span = ByteLength(64 << 20)

        func run() async throws {
            let isLost: Bool
            do {
                let (journal, probe) = try options.open()
                switch try probe.kind() {
                case .disk:
                    let writer = try DiskWriter(options.url, journal, probe, span: span.bytes)
                    isLost = try writer.run(seconds: seconds)
                case .tape:
                    var writer = try TapeWriter(journal, probe, span: span.bytes)
                    isLost = try writer.run(seconds: seconds)
                }
            } catch let error as InitiatorError where error.isConnectionLoss {
                print("the connection ended before the first write: \(error)")
                throw Self.connectionLost
            }
            if isLost { throw Self.connectionLost }
        }
    }

    /// `carousel-bench durability verify`.
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks that everything in the journal is there; exit status 1 when something is not.")

        @OptionGroup var options: Options

        func run() async throws {
            let (journal, probe) = try options.open()
            switch try probe.kind() {
            case .disk: try DiskVerifier.verify(journal, probe)
            case .tape: try TapeVerifier.verify(journal, probe)
            }
        }
    }
}
