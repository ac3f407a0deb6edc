import ArgumentParser
import Console
import Management

/// `carousel portal …`
struct Portal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say where the daemon listens.",
        discussion: """
            A portal is an address and a port: 192.0.2.1:3260, [2001:db8::1]:3260, 0.0.0.0:3260 or [::]:3260 for all \
            addresses of the machine. Portals form groups, which have tags from 1 to 65535: a session stays in the \
            group in which it began, and a target can be offered by some groups only ('carousel target portals'). The \
            daemon remembers its portals.
            """,
        subcommands: [Add.self, Remove.self, List.self, Drain.self, Resume.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Listen on one more address.")

        @Argument(help: ArgumentHelp("Address and port.", valueName: "addr:port"))
        var portal: String
        @Option(help: ArgumentHelp("The tag of its portal group; 1 if left out.", valueName: "tag"))
        var group: Int?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: PortalSummary = try await state.daemon.post(
                "portals", PortalCreation(portal: portal, group: group))
            try output.show(answer) { "portal \($0.portal) is open in group \($0.group)" }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Listen on an address no longer.",
            discussion: "Refused while a session uses the portal: drain it first. The last portal stays.")

        @Argument(help: ArgumentHelp("Address and port.", valueName: "addr:port"))
        var portal: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("portals/\(ControlClient.escaped(portal))")
            try output.show(answer) { $0.done }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the portals.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let portals: [PortalSummary] = try await state.daemon.get("portals")
            try output.show(portals) { portals in
                Output.table(
                    ["PORTAL", "GROUP", "STATE", "CONNECTIONS"],
                    portals.map {
                        [$0.portal, "\($0.group)", $0.isDraining ? "draining" : "open", "\($0.connections)"]
                    }, empty: "no portals")
            }
        }
    }

    struct Drain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Free a portal of its sessions.",
            discussion: """
                New logins are sent to another portal of the group, or of another group that offers the target; \
                without one they are refused as unavailable. Initiators that are logged in through the portal are \
                asked to log out, and what is left after the time is closed. Discovery goes on. The state ends with \
                'carousel portal resume' or with the daemon.
                """)

        @Argument(help: ArgumentHelp("Address and port.", valueName: "addr:port"))
        var portal: String
        @Option(help: "How long initiators get to log out, in seconds.")
        var seconds = 30
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: PortalSummary = try await state.daemon.post(
                "portals/\(ControlClient.escaped(portal))/drain", GracePeriod(seconds: seconds))
            try output.show(answer) { "portal \($0.portal) is draining for \(seconds) s" }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a drained portal take logins again.")

        @Argument(help: ArgumentHelp("Address and port.", valueName: "addr:port"))
        var portal: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: PortalSummary = try await state.daemon.post(
                "portals/\(ControlClient.escaped(portal))/resume", [String: String]())
            try output.show(answer) { "portal \($0.portal) takes logins" }
        }
    }
}
