import ArgumentParser
import Console
import Foundation
import Management
import Platform

/// `carousel chap …`
struct CHAP: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chap",
        abstract: "Let initiators prove who they are.",
        discussion: """
            CHAP can be asked for at a target, of the members of a group (at every target that the group was mapped \
            to; it goes before that of the target), and at discovery. Secrets have 12 to 255 bytes. They are stored in \
            chap.json in the state folder, which only the daemon's user may read, and shown nowhere. Sessions that are \
            logged in stay; the next login has to know the secret.

            That a proof is required is remembered apart from the secrets: where these are cleared or lost, nobody \
            gets in until others are set, or 'carousel chap clear --not-required' says that none is needed.
            """,
        subcommands: [Set.self, Clear.self, List.self])

    /// Where: exactly one.
    struct Place: ParsableArguments {
        @Option(help: "At this target.")
        var target: String?
        @Option(help: "Of the members of this group.")
        var group: String?
        @Flag(help: "In discovery sessions.")
        var discovery = false

        var place: CHAPPlace { CHAPPlace(target: target, group: group, isDiscovery: discovery) }

        func validate() throws {
            guard [target != nil, group != nil, discovery].count(where: { $0 }) == 1 else {
                throw ValidationError("Name one place: --target TARGET, --group GROUP or --discovery.")
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set a user's secret.",
            discussion: """
                The secret is read from the first line of a file, from standard input with '--secret-file -', or asked \
                for on the terminal. With --mutual it is the target's own, which it answers with when initiators ask \
                it to prove itself too: a place has one such, with another secret than its users, and at least one \
                user.
                """)

        @OptionGroup var place: Place
        @Option(help: "The user name (CHAP_N).")
        var user: String
        @Option(help: ArgumentHelp("The file with the secret; - is standard input.", valueName: "file"))
        var secretFile: String?
        @Flag(help: "The name and secret are the target's own.")
        var mutual = false
        @Option(
            help: ArgumentHelp(
                "The algorithms to allow, with commas: md5, sha1, sha-256, sha3-256; all if left out.",
                valueName: "list"))
        var algorithms: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let secret = CHAPSecret(name: user, secret: try SecretSource(path: secretFile).read(user: user))
            let answer: CHAPSummary = try await state.daemon.post(
                "chap/set",
                CHAPSetting(
                    place: place.place, initiator: mutual ? nil : secret, target: mutual ? secret : nil,
                    algorithms: algorithms.map { $0.split(separator: ",").map(String.init) }))
            try output.show(answer) { summary in
                "\(CHAP.describe(summary.place)) asks for \(summary.users.joined(separator: ", "))"
                    + (summary.mutualUser.map { " and answers as \($0)" } ?? "")
            }
        }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a user, or everything at a place.",
            discussion: """
                Without --user all secrets there are forgotten, and nobody gets in there until others are set; with \
                --not-required nobody has to prove anything there any more.
                """)

        @OptionGroup var place: Place
        @Option(help: "Only this user.")
        var user: String?
        @Flag(help: "Ask for no proof there any more: everyone gets in whom the target's access lets in.")
        var notRequired = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer: Acknowledgement = try await state.daemon.post(
                "chap/clear", CHAPClearing(place: place.place, user: user, isNotRequired: notRequired))
            try output.show(answer) { $0.done }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List where CHAP is asked for, and of whom.", discussion: "Secrets are never shown.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let places: [CHAPSummary] = try await state.daemon.get("chap")
            try output.show(places) { places in
                Output.table(
                    ["PLACE", "USERS", "TARGET'S OWN", "ALGORITHMS"],
                    places.map {
                        [
                            CHAP.describe($0.place),
                            $0.users.isEmpty ? "none: nobody gets in" : $0.users.joined(separator: ", "),
                            $0.mutualUser ?? "",
                            $0.algorithms.joined(separator: ", "),
                        ]
                    }, empty: "nobody has to prove who it is")
            }
        }
    }

    fileprivate static func describe(_ place: CHAPPlace) -> String {
        place.target.map { "target \($0)" } ?? place.group.map { "group \($0)" } ?? "discovery"
    }
}

/// Where a secret comes from: never from the command line, which others can see.
private struct SecretSource {
    /// Far more than any secret: a wrong file is not read to its end.
    private static let limit = 4096
    let path: String?

    /// The first line of the file or of standard input, or what is typed.
    func read(user: String) throws(CommandFailure) -> Data {
        let line: Data
        switch path {
        case "-":
            line = Self.firstLine(of: FileHandle.standardInput)
        case let path?:
            guard let file = FileHandle(forReadingAtPath: path) else {
                throw CommandFailure(
                    .usage, "the secret file \(path) cannot be read; check its name and who may read it")
            }
            line = Self.firstLine(of: file)
        case nil:
            guard Terminal.isInteractive, let typed = Terminal.readSecret(prompt: "Secret of \(user): ") else {
                throw CommandFailure(
                    .usage,
                    "there is no terminal to ask for the secret; give it with --secret-file FILE, or - for standard "
                        + "input"
                )
            }
            line = Data(typed.utf8)
        }
        guard !line.isEmpty else {
            throw CommandFailure(.usage, "the secret of '\(user)' is empty; give 12 to 255 bytes")
        }
        return line
    }

    private static func firstLine(of file: FileHandle) -> Data {
        var data = Data()
        while data.count < limit, !data.contains(0x0A),
            let piece = try? file.read(upToCount: limit - data.count), !piece.isEmpty
        { data.append(piece) }
        var line = data.prefix { $0 != 0x0A }
        if line.last == 0x0D { line.removeLast() }
        return Data(line)
    }
}
