import ArgumentParser
import Console
import Foundation
import Management
import Resources

/// `carousel backup`
struct Backup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Copy all that the daemon keeps, while it serves.",
        discussion: """
            The folder gets the catalog (with all serial numbers and designators), the CHAP secrets and the profiles, \
            and with --media the images and cartridges in the state folder. Images elsewhere are yours, and not in it. \
            With --media nobody may be logged in to a disk, and no cartridge may be in a drive, when it begins; what \
            is written before it is copied ends the backup. The daemon writes it, for its user only; the manifest with \
            checksums comes last, so a folder without one is no backup. \
            'carousel restore' is the way back.
            """)

    enum IsJob: JobSource {
        static var isJob: Bool { true }
    }

    @Argument(help: "A folder that is new or empty.", completion: .directory)
    var folder: String
    @Flag(help: "Copy images and cartridges too.")
    var media = false
    @OptionGroup var waiting: WaitingOption<IsJob>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let path = try PathArgument.absolute(folder, "a folder")
        let begun: JSONValue = try await state.daemon.post("backup", BackupRequest(folder: path, hasMedia: media).json)
        if begun["status"] != nil {
            if waiting.isDeclined { return try output.show(begun, text: JobText.begun) }
            _ = try await JobFollower(daemon: state.daemon).finish(begun)
        }
        try output.show(["folder": .text(path)] as JSONValue) { _ in
            "backed up to \(PrintableText.escaped(path))"
                + (media ? "" : "; images and cartridges are not in it (--media)")
        }
    }
}

/// `carousel restore`
struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a backup into an empty state folder, without a daemon.",
        discussion: """
            The backup is checked first, and the catalog comes last. Nothing that is there is replaced; what was \
            interrupted can be repeated, and no daemon starts before. Who may do what is as it was when the backup was \
            made: tokens and CHAP secrets that were deleted or replaced since then are good again. Where the backup \
            has no media, put these back to disks/ and libraries/ in the state folder; what is missing is not served, \
            and 'carousel status' names it. The daemon runs as the user who owns the state folder.
            """)

    @Argument(help: "A folder that 'carousel backup' has made.", completion: .directory)
    var folder: String
    @OptionGroup var state: FolderOption

    func run() throws {
        let result: BackupRestore.Result
        let backup = try PathArgument.absolute(folder, "a folder")
        do {
            result = try BackupRestore.restore(backup, to: state.folder)
        } catch {
            guard error.code == .inUse else { throw CommandFailure(.refused(error)) }
            throw CommandFailure(.temporaryFailure, error.message)
        }
        Output.print(
            "restored \(Counted.text(result.files, "file")) to \(PrintableText.escaped(state.folder)), as of "
                + "\(result.created.formatted(.iso8601)): tokens and CHAP secrets that were deleted or replaced since "
                + "then are good again, so delete them once more"
                + (result.removed.isEmpty
                    ? "" : "; removed \(result.removed.joined(separator: ", ")), which belonged to the catalog before")
                + (result.hasMedia ? "" : "; put images and cartridges back there before you start the daemon"))
    }
}
