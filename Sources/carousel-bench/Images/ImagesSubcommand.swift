internal import ArgumentParser
internal import Foundation

/// `carousel-bench images`.
struct ImagesSubcommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "images",
        abstract: "Compares disks with snapshots with plain ones, and says which goals are reached.",
        discussion: """
            Disks are driven in this process as a device drives them, one command at a time on each thread: first \
            without waiting, and by the lane what would wait. The sides of a job take turns; a ratio is the median of \
            the ratios of the rounds, so that what else the machine does meanwhile is in both figures of a ratio.

            Images of QEMU are driven by 'qemu-img bench', which is another program with another loop: only their \
            ratio to a raw image, driven in the same way, can be compared with that of our disk to a plain image.

            The exit status is 1 when a goal is missed or a job failed.
            """)

    @Option(help: "Where the images are made, in a folder that goes at the end; else where temporary files are.")
    var folder: String?

    @Option(help: "How much of each disk is used.")
    var span = ByteLength(256 << 20)

    @Option(help: "How long one run takes, in seconds.")
    var seconds = 0.5

    @Option(help: "How often each side runs.")
    var rounds = 5

    @Option(help: "The numbers of snapshots with which reads are measured, with 0 as the first.")
    var depths = "0,1,8,32,1000"

    @Flag(help: "With 10,000 snapshots too, and a terabyte mapped when a disk is opened again.")
    var deep = false

    @Flag(help: "Only to see that all of it works: small disks, short runs; misses do not count.")
    var quick = false

    @Argument(help: "Only the jobs whose name contains one of these words.")
    var words: [String] = []

    private var depthNumbers: [Int]? {
        let parts = depths.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.allSatisfy({ ($0 ?? -1) >= 0 }), parts.first == 0 else { return nil }
        return parts.compactMap { $0 } + (deep ? [10_000] : [])
    }

    func validate() throws {
        guard depthNumbers != nil else { throw ValidationError("depths are numbers with commas, 0 first") }
        guard (0.01...3600).contains(seconds), (1...100).contains(rounds) else {
            throw ValidationError("a run takes 0.01 to 3600 seconds, and there are 1 to 100 rounds")
        }
        guard span.bytes.nonzeroBitCount == 1, span.bytes >= 1 << 20, span.bytes <= 8 << 30 else {
            throw ValidationError("the span is a power of two, 1 MiB to 8 GiB")
        }
        guard words.isEmpty || ImageJobs.names.contains(where: { name in words.contains { name.contains($0) } }) else {
            throw ValidationError("no job has a name like that")
        }
    }

    func run() async throws {
        let place = URL(fileURLWithPath: folder ?? NSTemporaryDirectory()).appending(
            path: "carousel-images-\(ProcessInfo.processInfo.processIdentifier)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: place) }
        let results = try await measure(in: place.path)
        let isMissed = results.rows.contains { results.isReached($0) == false }
        if isMissed, !quick { throw ExitCode.failure }
    }

    /// Runs the jobs, with all images in that folder.
    func measure(in folder: String) async throws -> ImageComparison {
        let reactors = try ImageReactors(ImageJobs.threads)
        defer { reactors.stop() }
        let span = quick ? 4 << 20 : span.bytes
        let disks = ImageDisks(folder: folder, reactors: reactors, span: span)
        var jobs = ImageJobs(
            disks: disks, qemu: QemuImages.isPresent ? QemuImages(folder: folder, span: span) : nil,
            depths: quick ? [0, 1, 8] : depthNumbers ?? [0], seconds: quick ? 0.02 : seconds,
            rounds: quick ? 2 : rounds, firstWrites: span / 4096 / 8,
            restartCapacity: quick ? 256 << 20 : deep ? 1 << 40 : 64 << 30
        ) { line in
            // Lines come at once, even into a pipe.
            FileHandle.standardOutput.write(Data("\(line)\n".utf8))
        }
        try await jobs.run(words)
        return jobs.results
    }
}
