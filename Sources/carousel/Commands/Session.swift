import ArgumentParser
import Console
import Management
import Resources

/// `carousel session …`
struct Session: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show who is logged in, and close sessions.",
        subcommands: [List.self, Show.self, Close.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the sessions that are logged in.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let sessions: [SessionSummary] = try await state.daemon.get("sessions")
            try output.show(sessions) { sessions in
                Output.table(
                    ["TSIH", "INITIATOR", "TARGET", "ISID", "PORTAL", "CONNECTIONS"],
                    sessions.map {
                        [
                            "\($0.handle)", $0.initiator, $0.target, $0.isid, $0.connections.first?.portal ?? "",
                            $0.connections.map { "\($0.connectionID): \($0.peer)" }.joined(separator: ", "),
                        ]
                    },
                    empty: "no sessions")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one session with its connections and what was negotiated.")

        @Argument(help: "Its number in 'carousel session list'.")
        var tsih: Int
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let session: SessionSummary = try await state.daemon.get("sessions/\(tsih)")
            try output.show(session) { session in
                let properties = Output.properties(
                    [
                        ("TSIH", "\(session.handle)"),
                        ("initiator", session.initiator),
                        ("alias", session.initiatorAlias),
                        ("CHAP user", session.chapUser),
                        ("ISID", session.isid),
                        ("target", session.target),
                        ("portal group", "\(session.portalGroup)"),
                        ("logged in for", "\(session.age) s"),
                        ("commands", "\(session.commands)"),
                        ("sent", "\(ByteSize.format(Int64(session.sentBytes)))"),
                        ("received", "\(ByteSize.format(Int64(session.receivedBytes)))"),
                    ] + session.parameters.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
                let connections = Output.table(
                    ["CID", "INITIATOR'S ADDRESS", "ADDRESS USED", "PORTAL"],
                    session.connections.map { ["\($0.connectionID)", $0.peer, $0.local, $0.portal] },
                    empty: "no connections")
                return properties + "\n\n" + connections
            }
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask initiators to log out, and close what is left.",
            discussion: """
                Many initiators log in again by themselves: to keep one out, take its access away ('carousel access', \
                'carousel target unmap').
                """)

        @Argument(help: "The number of the session in 'carousel session list'.")
        var tsih: Int?
        @Option(help: ArgumentHelp("All sessions of this initiator.", valueName: "name"))
        var initiator: String?
        @Option(help: "Of the initiator's sessions only those with this target.")
        var target: String?
        @Option(help: "How long the initiator gets to log out, in seconds.")
        var seconds = 10
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let closed: [SessionSummary] = try await state.daemon.post(
                "sessions/close",
                SessionClosing(handle: tsih, initiator: initiator, target: target, seconds: seconds))
            try output.show(closed) { closed in
                let count = closed.count == 1 ? "1 session is" : "\(closed.count) sessions are"
                return "\(count) asked to log out, and closed in \(seconds) s"
            }
        }
    }
}
