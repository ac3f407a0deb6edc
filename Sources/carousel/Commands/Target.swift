import ArgumentParser
import Console
import Management

/// `carousel target …`
struct Target: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the iSCSI targets, and say who sees what there.",
        discussion: """
            Every disk and library has a target of its own. More can be made, and show any devices: disk0 for a disk, \
            vtl for the changer of a library, vtl/drive:1 for a drive. All units of one target that are parts of \
            libraries are of one library.

            A new target lets in who reaches it through a loopback address of this machine. Once a group is mapped to \
            it, only members of such groups get in, and each sees what was mapped to the first group that it belongs \
            to. 'carousel target access' closes a target, opens it to everyone, and changes back; nothing else does, \
            not even the end of its last group. Others do not find the target by discovery, and their logins are \
            refused as not authorised. Sessions of initiators that lose access, or \
            would see other units, are closed at once; units that come and go in what they see are told to those that \
            stay.
            """,
        subcommands: [
            List.self, Show.self, Create.self, Delete.self, Access.self, Map.self, Unmap.self, Portals.self,
            Redirect.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the targets.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let targets: [TargetSummary] = try await state.daemon.get("targets")
            try output.show(targets) { targets in
                Output.table(
                    ["TARGET", "UNITS", "SESSIONS", "ACCESS", "PORTALS"],
                    targets.map {
                        [
                            $0.name, "\($0.logicalUnits.count)", "\($0.sessions)", Target.access($0),
                            $0.portals.joined(separator: ", "),
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
            try output.show(target, text: describe)
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a target without logical units.",
            discussion: "Give it some with 'carousel target map NAME --lun N=DEVICE'.")

        @Argument(help: "The end of its iSCSI name after iqn.2026-11.dev.carousel:, or a whole iSCSI name.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let target: TargetSummary = try await state.daemon.post("targets", TargetCreation(name: name))
            try output.show(target) { "target \($0.name) is made" }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a target that was made with 'carousel target create'.",
            discussion: "The devices stay. Refused while an initiator is logged in.")

        @Argument(help: "The target.")
        var name: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("targets/\(ControlClient.escaped(name))")
            try output.show(answer) { $0.done }
        }
    }

    struct Access: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say who may log in to a target: nobody, this machine, groups, or everyone.",
            discussion: """
                closed: nobody. loopback: who reaches it through a loopback address of this machine, whatever portal \
                that is; so targets begin. groups: the members of the groups that are mapped to it. open: everyone who \
                reaches a portal. Whatever lets somebody see more than before needs --open. Sessions that may not \
                stay are closed at once.
                """)

        @Argument(help: "The target.")
        var target: String
        @Argument(
            help: "closed, loopback, groups or open.",
            completion: .list(["closed", "loopback", "groups", "open"]))
        var level: String
        @Flag(help: "Let somebody see more than before.")
        var open = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: TargetSummary = try await state.daemon.post(
                "targets/\(ControlClient.escaped(target))/access", TargetAccessSetting(level: level, mayWiden: open))
            try output.show(answer, text: describe)
        }
    }

    struct Map: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show devices at a target, to a group or to all who get in.",
            discussion: """
                The first group that is mapped to a target makes its access 'groups': only members of such groups get \
                in from then on. Without --lun the group sees all units of the target, else those that it was given, \
                to which later ones are added; one that was given some sees all only with --all-units. Without --group \
                all see the device for whom nothing else is mapped.
                """)

        @Argument(help: "The target.")
        var target: String
        @Option(help: "The group of initiators.")
        var group: String?
        @Option(
            name: .customLong("lun"),
            help: ArgumentHelp("A logical unit number and a device; may be given several times.", valueName: "n=device")
        )
        var units: [String] = []
        @Flag(help: "Show all units to a group that was given some only.")
        var allUnits = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            var numbered: [Int: String] = [:]
            for text in units {
                let parts = text.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, let number = Int(parts[0]), number >= 0 else {
                    throw CommandFailure(
                        .usage, "'\(text)' is no logical unit; write a number and a device, as in 3=disk0")
                }
                guard numbered.updateValue(String(parts[1]), forKey: number) == nil else {
                    throw CommandFailure(.usage, "logical unit \(number) is given twice; give it one device")
                }
            }
            let answer: TargetSummary = try await state.daemon.post(
                "targets/\(ControlClient.escaped(target))/map",
                TargetMapping(group: group, logicalUnits: numbered, allUnits: allUnits))
            try output.show(answer, text: describe)
        }
    }

    struct Unmap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show devices no longer, or end a group's access.",
            discussion: """
                With --group and without --lun the group's access ends. When that was the last group, nobody gets in: \
                see 'carousel target access'. Where another group shows more to initiators for whom this one decides, \
                --open has to say that it is meant.
                """)

        @Argument(help: "The target.")
        var target: String
        @Option(help: "The group of initiators.")
        var group: String?
        @Option(
            name: .customLong("lun"),
            help: ArgumentHelp("A logical unit number; may be given several times.", valueName: "n"))
        var numbers: [Int] = []
        @Flag(help: "Let initiators see more, where another group decides for them then.")
        var open = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: TargetSummary = try await state.daemon.post(
                "targets/\(ControlClient.escaped(target))/unmap",
                TargetUnmapping(group: group, numbers: numbers, mayWiden: open))
            try output.show(answer, text: describe)
        }
    }

    struct Portals: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Choose the portal groups that offer a target.",
            discussion: "Sessions that came in through other groups are closed.")

        @Argument(help: "The target.")
        var target: String
        @Option(help: ArgumentHelp("Their tags with commas, or 'all'.", valueName: "tags"))
        var groups: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            var tags: [Int]?
            if groups != "all" {
                tags = try groups.split(separator: ",", omittingEmptySubsequences: false).map { part in
                    guard let tag = Int(part) else {
                        throw CommandFailure(.usage, "'\(groups)' are no portal groups; write 1,2 or all")
                    }
                    return tag
                }
            }
            let answer: TargetSummary = try await state.daemon.post(
                "targets/\(ControlClient.escaped(target))/portals", TargetPortalGroups(groups: tags))
            try output.show(answer, text: describe)
        }
    }

    struct Redirect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send logins to a target elsewhere, or no longer.",
            discussion: """
                Initiators with access are told the address instead of being let in; with --permanent they are to \
                remember it. Sessions that are logged in are closed, so that they follow.
                """)

        @Argument(help: "The target.")
        var target: String
        @Option(name: .customLong("to"), help: ArgumentHelp("Where to.", valueName: "addr:port"))
        var address: String?
        @Flag(help: "Let initiators remember it.")
        var permanent = false
        @Flag(help: "Let them in here again.")
        var clear = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (address != nil) != clear, !(clear && permanent) else {
                throw ValidationError("Give either --to ADDR:PORT, perhaps with --permanent, or --clear.")
            }
        }

        func run() async throws {
            let answer: TargetSummary = try await state.daemon.post(
                "targets/\(ControlClient.escaped(target))/redirect",
                TargetRedirect(address: address, isPermanent: permanent))
            try output.show(answer, text: describe)
        }
    }

    private static func access(_ target: TargetSummary) -> String {
        let isByGroups = target.accessLevel == "groups" && !target.access.isEmpty
        let names = target.access.map(\.group).joined(separator: ", ")
        let access =
            isByGroups ? names : target.accessLevel == "groups" ? "groups, of which there are none" : target.accessLevel
        return target.hasCHAP ? access + " (CHAP)" : access
    }

    private static func describe(_ target: TargetSummary) -> String {
        let properties = Output.properties([
            ("name", target.name),
            ("portals", target.portals.joined(separator: ", ")),
            ("portal groups", target.portalGroups.map { $0.map(String.init).joined(separator: ", ") } ?? "all"),
            ("access", access(target)),
            (
                "redirected to",
                target.redirect.map { "\($0) \(target.isRedirectPermanent ? "for good" : "for now")" }
            ),
            ("sessions", "\(target.sessions)"),
        ])
        let own = [properties, table(target.logicalUnits)]
        let groups = target.access.compactMap { access in
            access.logicalUnits.map { "group \(access.group):\n" + table($0) }
        }
        return (own + groups).joined(separator: "\n\n")
    }

    private static func table(_ units: [LogicalUnitSummary]) -> String {
        Output.table(
            ["LUN", "KIND", "DEVICE", "SERIAL", "NAA"],
            units.map { ["\($0.number)", $0.kind, $0.device, $0.serialNumber, $0.naa] }, empty: "no logical units")
    }
}
