import ArgumentParser
import Console
import Management

/// `carousel status`
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what the daemon does.",
        discussion: """
            Exit code 0 means that it serves, 69 that no daemon answers for the state folder. A problem is something \
            that is not served, or that has lost written data; a warning is about what works and may not be wanted, \
            such as a target that is open to other machines; what is unclaimed lay in the state folder at the start, \
            and the catalog does not know it.
            """)

    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let status: DaemonStatus = try await state.daemon.get("status")
        try output.show(status) { status in
            Output.properties(
                [
                    ("version", status.version),
                    ("process", "\(status.processID)"),
                    ("state folder", status.stateFolder),
                    ("serving since", Output.date(status.started)),
                    ("portals", status.portals.joined(separator: ", ")),
                    ("disks", "\(status.disks)"),
                    ("libraries", "\(status.libraries)"),
                    ("cartridges", "\(status.cartridges)"),
                    ("sessions", "\(status.sessions)"),
                    ("refused logins", "\(status.refusedLogins)"),
                    ("refused requests", "\(status.refusedRequests)"),
                ] + status.warnings.map { ("warning", $0) } + status.problems.map { ("problem", $0) }
                    + status.unclaimed.map { ("unclaimed", $0) })
        }
    }
}
