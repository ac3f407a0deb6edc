import ArgumentParser
import Console
import Management
import Resources

/// A command that begins a job about the content of a disk.
private enum Transfer: JobSource {
    static var isJob: Bool { true }

    /// Asks for the action, and waits for the end of its job unless that is declined.
    static func run(
        _ action: ActionDescription, _ members: [String: JSONValue], _ waiting: WaitingOption<Transfer>,
        _ state: StateOptions, _ output: OutputOptions, _ done: String
    ) async throws {
        let daemon = try state.daemon
        let answer = try await daemon.perform(action, Disk.description, nil, members)
        guard let job = answer["job"] else {
            throw CommandFailure(.software, "the daemon's answer is no job; are both of one version?")
        }
        if waiting.isDeclined { return try output.show(job, text: JobText.begun) }
        let ended = try await JobFollower(daemon: daemon).finish(job)
        try output.show(ended) { _ in PrintableText.escaped(done) }
    }
}

/// `carousel disk copy DISK[@NAME] NEW`
struct DiskCopy: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Disk.Copy>.configuration }

    @OptionGroup var fields: FieldOptions<ActionFields<Disk.Copy>>
    @OptionGroup fileprivate var waiting: WaitingOption<Transfer>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let members = try fields.members
        let (source, name) = (members["source"]?.text ?? "", members["name"]?.text ?? "")
        try await Transfer.run(
            Disk.Copy.description, members, waiting, state, output, "disk \(name) has what is on \(source)")
    }
}

/// `carousel disk export DISK[@NAME] FILE`
struct DiskExport: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Disk.Export>.configuration }

    @OptionGroup var fields: FieldOptions<ActionFields<Disk.Export>>
    @OptionGroup fileprivate var waiting: WaitingOption<Transfer>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let members = try fields.members
        let (source, file) = (members["source"]?.text ?? "", members["file"]?.text ?? "")
        try await Transfer.run(
            Disk.Export.description, members, waiting, state, output, "\(file) has what is on \(source)")
    }
}

/// `carousel disk import FILE NAME`
struct DiskImport: AsyncParsableCommand {
    static var configuration: CommandConfiguration { ActionCommand<Disk.Import>.configuration }

    @OptionGroup var fields: FieldOptions<ActionFields<Disk.Import>>
    @OptionGroup fileprivate var waiting: WaitingOption<Transfer>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let members = try fields.members
        let (file, name) = (members["file"]?.text ?? "", members["name"]?.text ?? "")
        try await Transfer.run(
            Disk.Import.description, members, waiting, state, output, "disk \(name) has what is in \(file)")
    }
}
