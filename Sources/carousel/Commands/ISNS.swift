import ArgumentParser
import Console
import Management

/// `carousel isns …`
struct ISNS: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "isns",
        abstract: "Register targets and portals with an iSNS server.",
        discussion: """
            The daemon registers its targets, portals and portal groups with one iSNS server (RFC 4171), follows \
            changes, and withdraws the registration when it ends. iSNS has neither encryption nor proof of who \
            speaks: use it on networks that you trust.
            """,
        subcommands: [Set.self, Clear.self, Status.self])

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register with a server.",
            discussion: """
                With --access-control an initiator gets in to a target only if both are in one discovery domain at the \
                server, in addition to what access groups say. Until the server has told who may see a target, nobody \
                gets in there; when the server is away, what it told last counts. Sessions of initiators that leave \
                the domain are ended, within seconds where the server tells of it, else within 15 seconds. Without the \
                option it stays as it is, which is --no-access-control at first.
                """)

        @Argument(help: ArgumentHelp("Name or address, and the port if it is not 3205.", valueName: "host:port"))
        var server: String
        @Flag(inversion: .prefixedNo, help: "Let discovery domains decide who gets in.")
        var accessControl: Bool?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: NameServiceStatus = try await state.daemon.post(
                "isns", NameServiceSetting(server: server, accessControl: accessControl))
            try output.show(answer) {
                "iSNS server \($0.server ?? server) is set; 'carousel isns status' shows whether it answers"
            }
        }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the registration back and use iSNS no longer.",
            discussion: """
                Where discovery domains decide who gets in, they do not any more then, and --open has to say that this \
                is meant.
                """)

        @Flag(help: "Let in whom discovery domains have kept out.")
        var open = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("isns" + (open ? "?mayWiden=true" : ""))
            try output.show(answer) { $0.done }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show how it stands with the server.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let status: NameServiceStatus = try await state.daemon.get("isns")
            try output.show(status) { status in
                guard let server = status.server else { return "no iSNS server is set" }
                return Output.properties(
                    [
                        ("server", server),
                        ("entity", status.entity ?? ""),
                        ("access control", status.accessControl ? "by discovery domains" : "no"),
                        ("registered", status.registeredSince.map { "since \(Output.date($0))" } ?? "no"),
                        ("targets", "\(status.targets)"),
                        ("portals", "\(status.portals)"),
                    ] + (status.lastError.map { [("last error", $0)] } ?? []))
            }
        }
    }
}
