import ArgumentParser
import Console
import Resources

/// `carousel job wait`
struct JobWait: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Follow a job until it has ended.",
        discussion: """
            Exit code 0 means that it has done what it was to do; otherwise the sentence and the code are those with \
            which the command that began it would have ended. Ctrl-C leaves the job to itself.
            """)

    @OptionGroup var name: NameArgument<DaemonJob>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let daemon = try state.daemon
        let job = try await daemon.show(DaemonJob.description, name.text)
        try output.show(try await JobFollower(daemon: daemon).finish(job), text: JobText.ended)
    }
}
