import ArgumentParser
import Console
import Management

/// `carousel target …`
struct Target: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the iSCSI targets.",
        subcommands: [List.self, Show.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the targets.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let targets: [TargetSummary] = try await state.daemon.get("targets")
            try output.show(targets) { targets in
                Output.table(
                    ["TARGET", "UNITS", "SESSIONS", "PORTALS"],
                    targets.map {
                        [
                            $0.name, "\($0.logicalUnits.count)", "\($0.sessions)", $0.portals.joined(separator: ", "),
                        ]
                    }, empty: "no targets; make a disk or a library")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one target with its logical units.")

        @Argument(help: "The iSCSI name, or the name of the disk or library.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let target: TargetSummary = try await state.daemon.get("targets/\(ControlClient.escaped(name))")
            try output.show(target) { target in
                let properties = Output.properties([
                    ("name", target.name),
                    ("portals", target.portals.joined(separator: ", ")),
                    ("sessions", "\(target.sessions)"),
                ])
                let units = Output.table(
                    ["LUN", "KIND", "DEVICE", "SERIAL", "NAA"],
                    target.logicalUnits.map { ["\($0.number)", $0.kind, $0.device, $0.serialNumber, $0.naa] },
                    empty: "no logical units")
                return properties + "\n\n" + units
            }
        }
    }
}

/// `carousel session …`
struct Session: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show who is logged in.",
        subcommands: [List.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the sessions that are logged in.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let sessions: [SessionSummary] = try await state.daemon.get("sessions")
            try output.show(sessions) { sessions in
                Output.table(
                    ["INITIATOR", "TARGET", "CONNECTIONS"],
                    sessions.map { [$0.initiator, $0.target, $0.connections.joined(separator: ", ")] },
                    empty: "no sessions")
            }
        }
    }
}
