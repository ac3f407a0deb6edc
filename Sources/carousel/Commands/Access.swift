import ArgumentParser
import Console
import Management

/// `carousel access …`
struct Access: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make groups of initiators and change them.",
        discussion: """
            An initiator belongs to a group when its name matches one of the group's patterns (or there are none) and \
            its address is in one of the group's ranges (or there are none); a group without any has no members. \
            Patterns know * and ?, as in iqn.2004-10.com.example:*; ranges are written 10.1.0.0/16, fd00::/8 or \
            192.0.2.7.

            A group gets access to a target by 'carousel target map TARGET --group GROUP'. Where several groups match, \
            that with the lowest rank counts. Sessions of initiators that lose access, or would see other logical \
            units, are closed at once.
            """,
        subcommands: [Create.self, Add.self, Remove.self, List.self, Show.self, Delete.self])

    /// The members that an option names.
    struct Members: ParsableArguments {
        @Option(
            name: .customLong("name"),
            help: ArgumentHelp("A pattern of initiators' names; may be given several times.", valueName: "pattern"))
        var names: [String] = []
        @Option(
            name: .customLong("address"),
            help: ArgumentHelp("A range of addresses; may be given several times.", valueName: "cidr"))
        var addresses: [String] = []
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a group.")

        @Argument(help: "The name: a-z, 0-9, '-' and '.'.")
        var group: String
        @OptionGroup var members: Members
        @Option(help: "Its place among the groups; the last if left out.")
        var rank: Int?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: InitiatorGroupSummary = try await state.daemon.post(
                "groups",
                InitiatorGroupCreation(
                    name: group, names: members.names, addresses: members.addresses, rank: rank))
            try output.show(answer, text: describe)
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a group more members, or another rank.")

        @Argument(help: "The group.")
        var group: String
        @OptionGroup var members: Members
        @Option(help: "Its new place among the groups.")
        var rank: Int?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            guard !members.names.isEmpty || !members.addresses.isEmpty || rank != nil else {
                throw CommandFailure(.usage, "nothing to add; give --name, --address or --rank")
            }
            let answer: InitiatorGroupSummary = try await state.daemon.post(
                "groups/\(ControlClient.escaped(group))/add",
                InitiatorGroupChange(names: members.names, addresses: members.addresses, rank: rank))
            try output.show(answer, text: describe)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take members from a group.",
            discussion: """
                When the last pattern goes and ranges are left, any name in the ranges would belong to the group, and \
                the other way round: that has to be asked for. So has to be what lets another group, which shows \
                more, decide for initiators that leave this one.
                """)

        @Argument(help: "The group.")
        var group: String
        @OptionGroup var members: Members
        @Flag(help: "Let any name belong to it when no pattern is left.")
        var anyName = false
        @Flag(help: "Let any address belong to it when no range is left.")
        var anyAddress = false
        @Flag(help: "Let initiators see more, where another group decides for them then.")
        var open = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            guard !members.names.isEmpty || !members.addresses.isEmpty else {
                throw CommandFailure(.usage, "nothing to remove; give --name or --address")
            }
            let answer: InitiatorGroupSummary = try await state.daemon.post(
                "groups/\(ControlClient.escaped(group))/remove",
                InitiatorGroupChange(
                    names: members.names, addresses: members.addresses, anyName: anyName, anyAddress: anyAddress,
                    mayWiden: open))
            try output.show(answer, text: describe)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the groups in the order in which they count.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let groups: [InitiatorGroupSummary] = try await state.daemon.get("groups")
            try output.show(groups) { groups in
                Output.table(
                    ["RANK", "GROUP", "NAMES", "ADDRESSES", "TARGETS"],
                    groups.map {
                        [
                            "\($0.rank)", $0.name, $0.names.joined(separator: ", "),
                            $0.addresses.joined(separator: ", "), "\($0.targets.count)",
                        ]
                    }, empty: "no groups; 'carousel access create' makes one")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one group.")

        @Argument(help: "The group.")
        var group: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: InitiatorGroupSummary = try await state.daemon.get("groups/\(ControlClient.escaped(group))")
            try output.show(answer, text: describe)
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a group.",
            discussion: """
                Refused while it has access to a target: see 'carousel target unmap'. CHAP secrets of the group go \
                with it.
                """)

        @Argument(help: "The group.")
        var group: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.delete("groups/\(ControlClient.escaped(group))")
            try output.show(answer) { $0.done }
        }
    }

    private static func describe(_ group: InitiatorGroupSummary) -> String {
        let hasMembers = !group.names.isEmpty || !group.addresses.isEmpty
        return Output.properties([
            ("group", group.name),
            ("rank", "\(group.rank)"),
            ("names", group.names.isEmpty ? hasMembers ? "any" : "none" : group.names.joined(separator: ", ")),
            (
                "addresses",
                group.addresses.isEmpty ? hasMembers ? "any" : "none" : group.addresses.joined(separator: ", ")
            ),
            ("targets", group.targets.isEmpty ? "none" : group.targets.joined(separator: ", ")),
            ("made", Output.date(group.created)),
        ])
    }
}
