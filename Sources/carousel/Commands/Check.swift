import ArgumentParser
import Console
import Management
import Resources

/// `carousel check`
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the catalog, images of disks and cartridges, all that is stored of them.",
        discussion: """
            It reads every record of every cartridge and all that an image holds, while the daemon serves. Cartridges \
            in drives are left out, and a drive that wants one ends its check. Exit code 0 means that nothing is \
            wrong, 65 that something is, and is not repaired. Ctrl-C leaves the check to itself: it is a job, which \
            'carousel job wait' follows and 'carousel job cancel' ends; --last shows then what it has found.
            """)

    enum IsJob: JobSource {
        static var isJob: Bool { true }
    }

    @Argument(help: "Disks, libraries, and cartridges as LIBRARY/BARCODE; everything if left out.")
    var names: [String] = []
    @Flag(
        help: """
            For admins: make an index anew where the data of the cartridge are whole; mend images with snapshots of \
            the disks that are named: what cannot be known any more is lost, and reading it fails. Disks in the image \
            wait meanwhile. Nothing else is changed.
            """)
    var repair = false
    @Flag(help: "Begin no check; show what the last one has found, so far if it is under way.")
    var last = false
    @OptionGroup var waiting: WaitingOption<IsJob>
    @OptionGroup var state: StateOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !last || (names.isEmpty && !repair && !waiting.isDeclined) else {
            throw ValidationError("--last shows the last check as it was; give nothing else with it.")
        }
    }

    func run() async throws {
        let daemon = try state.daemon
        var job: JSONValue?
        if !last {
            let begun: JSONValue = try await daemon.post("check", CheckRequest(names: names, repairs: repair).json)
            if waiting.isDeclined { return try output.show(begun, text: JobText.begun) }
            job = try await JobFollower(daemon: daemon).finish(begun)
        }
        let status: CheckStatus = try await daemon.get("check")
        if let name = job?["name"]?.text, name != "\(status.job)" {
            throw CommandFailure(
                .refused, "job \(name) is done, but another check has begun since, and its findings are gone")
        }
        try output.show(status, text: Self.describe)
        if status.isCancelled { throw CommandFailure(.refused, "the check was ended before it was through") }
        let open = status.findings.count { $0.isOpen } + status.omitted
        guard open == 0 else {
            throw CommandFailure(.dataError, open == 1 ? "1 thing is wrong" : "\(open) things are wrong")
        }
    }

    private static func describe(_ status: CheckStatus) -> String {
        let table = Output.table(
            ["KIND", "NAME", "SEVERITY", "FOUND"],
            status.findings.map {
                [
                    $0.kind.rawValue, $0.name, $0.isRepaired ? "repaired" : $0.severity.rawValue,
                    PrintableText.escaped($0.sentence),
                ]
            }, empty: status.isRunning ? "nothing is wrong so far" : "nothing is wrong")
        let more = status.omitted > 0 ? "\nand \(status.omitted) more" : ""
        return table + more
            + "\n\n\(status.checked) of \(status.subjects) checked, \(ByteSize.format(status.done)) read"
    }
}
