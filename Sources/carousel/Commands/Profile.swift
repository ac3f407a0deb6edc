import ArgumentParser
import Console
import Foundation
import Management
import Resources

/// `carousel profile …`
struct Profile: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, show, check and add profiles of drives and libraries.",
        discussion: """
            A profile is a JSON file that says what a drive or a library is: INQUIRY strings, formats, element \
            addresses. Those that are added lie in the folder 'profiles' of the state folder; 'carousel serve \
            --profiles' names one more.
            """,
        subcommands: [List.self, Show.self, Check.self, Add.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the profiles.")

        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let profiles: [ProfileSummary] = try await state.daemon.get("profiles")
            try output.show(profiles) { profiles in
                Output.table(
                    ["NAME", "KIND", "VENDOR", "PRODUCT", "REVISION", "LIBRARIES", "FROM"],
                    profiles.map {
                        [
                            $0.name, $0.kind, $0.vendor, $0.product, $0.revision,
                            $0.libraries.isEmpty ? "-" : $0.libraries.joined(separator: ","), $0.path ?? "the program",
                        ]
                    }, empty: "no profiles")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a profile decides.",
            discussion: "With --file it prints the JSON file, to begin another profile with.")

        @Argument(help: "The name.")
        var name: String
        @Flag(name: .customLong("file"), help: "Print the file as it is.")
        var printsFile = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let detail: ProfileDetail = try await state.daemon.get("profiles/\(ControlClient.escaped(name))")
            if printsFile { return Output.print(detail.content.trimmingCharacters(in: .newlines)) }
            try output.show(detail, text: Profile.describe)
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check the files of profiles, without a daemon.",
            discussion: "The first one with a fault ends it with exit code 65, and with a sentence about the field.")

        @Argument(help: "The files.", completion: .file(extensions: ["json"]))
        var files: [String]
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let profiles = try files.map { try Profile.check($0) }
            try output.show(profiles) { profiles in
                zip(files, profiles).map { file, profile in
                    "\(file) is \(profile.kind) profile \(profile.name): \(profile.description)"
                }.joined(separator: "\n")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check the file of a profile and copy it into the state folder.",
            discussion: "It can be used at once. Libraries that run keep what they have until the daemon starts again.")

        @Argument(help: "The file.", completion: .file(extensions: ["json"]))
        var file: String
        @Flag(help: "Replace a profile of that name.")
        var replace = false
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            _ = try Profile.check(file)
            let text = try ProfileFile.text(path: file)
            let profile: ProfileSummary = try await state.daemon.post(
                "profiles", ProfileAddition(file: file, content: text, replaces: replace).json)
            try output.show(profile) { "\($0.kind) profile \($0.name) is in \($0.path ?? "the program")" }
        }
    }

    private static func check(_ file: String) throws(CommandFailure) -> ProfileSummary {
        do throws(ManagementError) {
            return try ProfileFile.check(path: file)
        } catch {
            throw CommandFailure(.dataError, error.message)
        }
    }

    private static func describe(_ detail: ProfileDetail) -> String {
        let profile = detail.profile
        let properties = Output.properties([
            ("name", profile.name),
            ("kind", profile.kind),
            ("description", profile.description),
            ("vendor", profile.vendor),
            ("product", profile.product),
            ("revision", profile.revision),
            ("libraries", profile.libraries.isEmpty ? "none" : profile.libraries.joined(separator: ", ")),
            ("from", profile.path ?? "the program"),
        ])
        let table =
            profile.kind == "drive"
            ? Output.table(
                ["DENSITY", "FORMAT", "CAPACITY", "LABELS", "WORM LABELS", "WRITES"],
                detail.densities.map {
                    [
                        $0.code, $0.description, ByteSize.format($0.capacity), list($0.barcodeSuffixes),
                        list($0.wormBarcodeSuffixes), $0.isWritable ? "yes" : "no",
                    ]
                }, empty: "no formats")
            : Output.table(
                ["ELEMENT", "FIRST ADDRESS", "AT MOST"],
                detail.elements.map { [$0.kind, $0.firstAddress, "\($0.maximumCount)"] }, empty: "no elements")
        return [properties, table].joined(separator: "\n\n")
    }

    private static func list(_ words: [String]) -> String { words.isEmpty ? "-" : words.joined(separator: ",") }
}
