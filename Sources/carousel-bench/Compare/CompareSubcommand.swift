internal import ArgumentParser
internal import Foundation
internal import Initiator

/// `carousel-bench compare`.
struct CompareSubcommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Runs the same jobs against Carousel and others, in turns, and says which goals are reached.",
        discussion: """
            Disks are written once from start to end before the first job, tapes likewise, so that no job pays for \
            the first use of memory and storage. The bare loops run in this process and answer READ and WRITE from \
            a file each, with nothing but epoll, recv, send, and pread and pwrite or a copy from and to a mapping.

            The exit status is 1 when a goal is missed or a job failed.
            """)

    /// Which jobs to run.
    enum JobSet: String, ExpressibleByArgument, CaseIterable {
        /// Those with goals and a few beside them.
        case quick
        /// Every combination of connections, depth, size, operation and digests.
        case matrix
        /// Those that the bare loop can do.
        case floor

        var jobs: [Job] {
            switch self {
            case .quick: Job.quick
            case .matrix: Job.matrix
            case .floor: Job.floor
            }
        }
    }

    @Option(help: "Carousel, as PID,DISK[,TAPE] with iSCSI addresses.")
    var carousel: ProcessArgument

    @Option(help: "tgt, likewise.")
    var tgt: ProcessArgument?

    @Option(help: "A file for the bare loop that uses pread and pwrite; without it there is no such loop.")
    var floorFile: String?

    @Option(help: "A file for the bare loop that copies from and to a mapping, likewise.")
    var mappedFile: String?

    @Option(name: .customLong("set"), help: "Which jobs.")
    var jobSet = JobSet.quick

    @Option(help: "How long one run takes, in seconds.")
    var seconds = 1.0

    @Option(help: "How often each job runs on each side.")
    var rounds = 3

    @Option(help: "How much of a tape is written before its jobs.")
    var tapeLength = ByteLength(1 << 30)

    @Option(help: "A shell command that is run before the first job, when all is written.")
    var onceFilled: String?

    @Argument(help: "Only the jobs whose name contains one of these words.")
    var words: [String] = []

    /// How long each run works before it is measured, in seconds.
    private static let warmup = 0.1
    /// How long filling a unit may take, in seconds.
    private static let fillLimit = 300.0

    private var jobs: [Job] {
        jobSet.jobs.filter { job in words.isEmpty || words.contains { job.name.contains($0) } }
    }

    func validate() throws {
        guard !jobs.isEmpty else { throw ValidationError("no job has a name like that") }
        guard (0.1...3600).contains(seconds), (1...100).contains(rounds) else {
            throw ValidationError("a run takes 0.1 to 3600 seconds, and there are 1 to 100 rounds")
        }
    }

    func run() async throws {
        var contestants = [try Contestant(.carousel, carousel)]
        if let tgt { contestants.append(try Contestant(.tgt, tgt)) }
        if let floorFile { contestants.append(Contestant(.floor, try BareLoop(path: floorFile, isMapped: false))) }
        if let mappedFile { contestants.append(Contestant(.mapped, try BareLoop(path: mappedFile, isMapped: true))) }
        try await fill(contestants)
        if let onceFilled { try Self.run(onceFilled) }
        var results = Results()
        var hasFailed = false
        show(ResultTable.heading)
        for job in jobs {
            for _ in 0..<rounds {
                for contestant in contestants {
                    guard let unit = contestant.unit(for: job) else { continue }
                    do {
                        results.add(try await measure(job, unit, contestant), of: job, on: contestant.side)
                    } catch {
                        // The other jobs run nevertheless.
                        show("\(job.name) on \(contestant.side.rawValue): \(error)")
                        hasFailed = true
                    }
                }
            }
            for line in ResultTable.rows(of: job, in: results) { show(line) }
        }
        let goals = Goal.all(in: results)
        if !goals.isEmpty { show("\ngoals") }
        for line in ResultTable.lines(of: goals) { show(line) }
        if hasFailed || !goals.allSatisfy(\.isReached) { throw ExitCode.failure }
    }

    private static func run(_ command: String) throws {
        let shell = try Process.run(URL(fileURLWithPath: "/bin/sh"), arguments: ["-c", command])
        shell.waitUntilExit()
        guard shell.terminationStatus == 0 else {
            throw Complaint("'\(command)' has ended with \(shell.terminationStatus)")
        }
    }

    /// Lines come at once, even into a pipe.
    private func show(_ line: String) {
        FileHandle.standardOutput.write(Data("\(line)\n".utf8))
    }

    private func measure(_ job: Job, _ unit: LogicalUnitURL, _ contestant: Contestant) async throws -> Measurement {
        // What the run before has left in the page cache would be written during this one, by the kernel's own threads
        // and on the same processors.
        sync()
        let preparation = LoadPreparation(
            address: unit, operation: job.operation, pattern: job.pattern, blockLength: job.blockLength,
            depth: job.depth, connections: job.connections, hasHeaderDigest: job.hasDigests,
            hasDataDigest: job.hasDigests)
        let run = try await LoadRun(preparation.logIn()).measure(
            warmup: Self.warmup, seconds: seconds, processorNanoseconds: contestant.processorNanoseconds)
        if let problem = run.report.failure.map({ "\($0)" }) ?? run.report.firstError {
            throw Complaint(problem)
        }
        return Measurement(run.report, seconds: run.seconds, processorNanoseconds: run.processorNanoseconds)
    }

    /// Writes all of each disk, and tapes as far as jobs will: in 64 KiB, because ext4 goes through a whole folio of
    /// the page cache for each small write into it, and larger writes make larger folios; the 4 KiB jobs would measure
    /// only that.
    ///
    /// Then all of each disk is read twice: the page cache moves a page from one list to another at its second use, and
    /// Carousel keeps in memory what was read twice over, as far as its limit goes; the first jobs would measure that.
    private func fill(_ contestants: [Contestant]) async throws {
        for unit in [Job.Unit.disk, .tape] {
            guard let job = jobs.first(where: { $0.unit == unit })?.withoutDigests else { continue }
            for contestant in contestants {
                guard let address = contestant.unit(for: job) else { continue }
                try await goOver(address, unit, .write, contestant)
                guard unit == .disk else { continue }
                for _ in 0..<2 { try await goOver(address, unit, .read, contestant) }
            }
        }
    }

    /// Reads or writes all of a unit once.
    private func goOver(
        _ address: LogicalUnitURL, _ unit: Job.Unit, _ operation: LoadOperation, _ contestant: Contestant
    ) async throws {
        let preparation = LoadPreparation(
            address: address, operation: operation, pattern: .sequential, blockLength: 65536,
            depth: unit == .disk ? 8 : 1, connections: 1, isOnePass: true, tapeBytes: tapeLength.bytes)
        let report = try await LoadRun(preparation.logIn()).finish(limit: Self.fillLimit)
        if let problem = report.failure.map({ "\($0)" }) ?? report.firstError {
            throw Complaint("preparing the \(unit.rawValue) of \(contestant.side.rawValue): \(problem)")
        }
    }
}
