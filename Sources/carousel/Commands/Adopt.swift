import ArgumentParser
import Console
import Foundation
import Management
import Resources

/// `carousel adopt …`
struct Adopt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take up images, cartridges and libraries that are there and that the catalog does not know.",
        discussion: """
            'carousel status' shows as unclaimed what lies in the state folder. Media keep their content, labels and \
            serial numbers; disks, drives and changers get new ones, by which initiators take them for new devices.
            """,
        subcommands: [AdoptDisk.self, AdoptTape.self, AdoptLibrary.self])

    struct AdoptDisk: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "disk", abstract: "Make a disk of an image.",
            discussion: "An image outside of the state folder stays where it is, and is kept when the disk is deleted.")

        @Argument(help: "The name of an image in the state folder, or the path of a file.", completion: .file())
        var image: String
        @Option(help: "The name of the disk; that of the file if left out.")
        var name: String?
        @Option(help: ArgumentHelp("The length of its blocks: 512 or 4096.", valueName: "bytes"))
        var blockSize = NumberWord(512)
        @Option(help: "Of an encrypted image, the file with the user's key.", completion: .file())
        var encryptionKeyFile: String?
        @Option(help: "Of an encrypted image, the command that writes the user's key.")
        var encryptionKeyCommand: String?
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            var adoption = DiskAdoption(
                image: Adopt.path(image), name: name, blockSize: try blockSize.number(for: "--block-size"))
            adoption.encryptionKeyFile = encryptionKeyFile.map { StateFolder.absolute($0) }
            adoption.encryptionKeyCommand = encryptionKeyCommand
            let answer: JSONValue = try await state.daemon.post("adopt/disk", adoption.json)
            try output.show(answer) { Resource<Disk>($0).map(Disk.summary) ?? "the image is adopted" }
        }
    }

    struct AdoptTape: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "tape", abstract: "Take a cartridge into the vault of a library.",
            discussion: "'carousel library import' puts it into the library then.")

        @Argument(help: "The library.")
        var library: String
        @Argument(
            help: "The barcode of a cartridge in the library's folder, or the path of a folder BARCODE.tape.",
            completion: .directory)
        var cartridge: String
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let adopted: JSONValue = try await state.daemon.post(
                "libraries/\(ControlClient.escaped(library))/adopt",
                CartridgeAdoption(cartridge: Adopt.path(cartridge)).json)
            try output.show(adopted) { ResourceText.summary($0, of: Cartridge.self) }
        }
    }

    struct AdoptLibrary: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "library", abstract: "Make a library of its folder in the state folder.",
            discussion: """
                Its cartridges go to the slots by barcode, and to the vault where there are no more. Those that cannot \
                be used are named and stay as they are.
                """)

        @Argument(help: "The name, which is that of the folder.")
        var name: String
        @Option(help: "The library profile, as in ibm-03584l32.")
        var profile: String
        @Option(help: "How many drives.")
        var drives: NumberWord
        @Option(help: ArgumentHelp("The profile of the drives, as in ibm-ult3580-td8.", valueName: "profile"))
        var driveProfile: String
        @Option(help: "How many slots; as many as cartridges if left out.")
        var slots: NumberWord?
        @Option(name: .customLong("mail-slots"), help: "How many mail slots.")
        var mailSlots: NumberWord
        @OptionGroup var state: StateOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let result: LibraryAdoptionResult = try await state.daemon.post(
                "adopt/library",
                LibraryAdoption(
                    name: name, profile: profile, drives: try drives.number(for: "--drives"),
                    driveProfile: driveProfile, slots: try slots?.number(for: "--slots"),
                    mailSlots: try mailSlots.number(for: "--mail-slots")
                ).json)
            try output.show(result) { result in
                let library = result.library
                let head = Library.summary(library) + "; \(library.status.exported) more are in the vault"
                return ([head] + result.left.map { "left: \($0)" }).joined(separator: "\n")
            }
        }
    }

    /// What was typed, whole if it is a path.
    private static func path(_ text: String) -> String { text.contains("/") ? StateFolder.absolute(text) : text }
}
