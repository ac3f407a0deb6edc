internal import Bytes
internal import CBench
internal import Initiator
internal import Media
internal import Platform

/// Drives a disk as a device does, one command at a time: first without waiting, on the reactor's thread, and by the
/// lane what would wait. It belongs to its reactor.
final class ImageWorker: FileRequestOwner, @unchecked Sendable {
    /// Commands between two looks at the clock.
    private static let batch = 32

    private let image: any DiskImage
    private let plan: ImagePlan
    private let number: Int
    private let reactor: Reactor
    private let request = FileRequest()
    private var random: SplitMix64
    private var report = ImageReport()
    private var begin: Int64 = 0
    private var processorBegin: Int64 = 0
    private var commandBegin: Int64 = 0
    private var isFlushing = false
    private var isEnding = false
    private var whenDone: (@Sendable (ImageReport) -> Void)?

    init(_ image: any DiskImage, _ plan: ImagePlan, number: Int, on reactor: Reactor) {
        self.image = image
        self.plan = plan
        self.number = number
        self.reactor = reactor
        random = SplitMix64(seed: plan.seed << 32 &+ UInt64(number) &* 0x9E37_79B9 &+ 1)
        request.owner = self
    }

    /// Begins; on the reactor. It calls `body` there at the end.
    func start(_ body: @escaping @Sendable (ImageReport) -> Void) {
        whenDone = body
        guard var lease = reactor.pool.lease(capacity: plan.blockLength) else { return fail("no memory") }
        lease.setCount(plan.blockLength)
        var bytes = lease.mutableBytes
        for offset in stride(from: 0, to: plan.blockLength, by: 8) {
            let isRandom = !plan.isCompressible || offset % 64 < 24
            bytes.storeBE64(isRandom ? random.next() | 1 : 0x2020_2020_2020_2020, at: offset)
        }
        request.payload.lease = consume lease
        processorBegin = cbench_thread_nanoseconds()
        begin = MonotonicTime.current().nanoseconds
        commandBegin = begin
        work()
    }

    // MARK: Commands

    /// Does commands until one has to wait, or all are done.
    private func work() {
        while true {
            if isOver { return end() }
            let first = nextBlock()
            guard perform(first) else { return }
            guard countCommand() else { return }
        }
    }

    private var isOver: Bool {
        switch plan.limit {
        case .commands(let all): return report.commands >= share(all)
        case .seconds(let seconds):
            guard plan.flushesEach || report.commands % Self.batch == 0 else { return false }
            return Double(MonotonicTime.current().nanoseconds - begin) >= seconds * 1e9
        }
    }

    private func share(_ all: Int) -> Int { all / plan.threads }

    private func nextBlock() -> UInt64 {
        let blocks = plan.blocks
        let place: Int
        switch plan.pattern {
        case .random: place = Int(truncatingIfNeeded: random.next() >> 1) % blocks
        case .sequential: place = (number * blocks / plan.threads + report.commands) % blocks
        case .stepping:
            var index = report.commands
            if case .commands(let all) = plan.limit { index += number * share(all) }
            place = index % blocks * ImagePlan.step(blocks: blocks) % blocks
        }
        return UInt64(place) * UInt64(plan.blockLength / image.blockSize)
    }

    /// False when the lane does it.
    private func perform(_ first: UInt64) -> Bool {
        guard var lease = request.payload.lease.take() else { preconditionFailure("the lease is here") }
        let blocks = UInt64(plan.blockLength / image.blockSize)
        let result: MediaResult
        switch plan.operation {
        case .read: result = image.readCached(into: &lease, first: first, blocks: blocks)
        case .write:
            image.beginWriting(request)
            result = image.writeCached(from: lease, at: 0, first: first, blocks: blocks, for: request)
        }
        request.payload.lease = consume lease
        switch result {
        case .done: return true
        case .failed(let failure):
            fail("\(failure)")
            return false
        case .wouldBlock: break
        }
        report.laneCommands += 1
        switch plan.operation {
        case .read: image.prepareRead(request, at: 0, first: first, blocks: blocks)
        case .write: image.prepareWrite(request, at: 0, first: first, blocks: blocks)
        }
        image.lane.submitContinuation(request, on: reactor)
        return false
    }

    /// Counts a command that is done; false when a synchronisation has begun.
    private func countCommand() -> Bool {
        if plan.flushesEach, !isFlushing {
            flush()
            return false
        }
        isFlushing = false
        report.commands += 1
        report.bytes += plan.blockLength
        if plan.isTimed {
            let now = MonotonicTime.current().nanoseconds
            report.latencies.record(nanoseconds: now - commandBegin)
            commandBegin = now
        }
        return true
    }

    private func flush() {
        isFlushing = true
        image.beginWriting(request)
        image.prepareSynchronize(request)
        image.lane.submitContinuation(request, on: reactor)
    }

    func fileRequestCompleted(_ request: FileRequest) {
        if case .failed(let failure) = image.outcome(of: request) { return fail("\(failure)") }
        if isEnding { return finish() }
        guard countCommand() else { return }
        work()
    }

    // MARK: The end

    private func end() {
        guard plan.flushesAtEnd else { return finish() }
        isEnding = true
        flush()
    }

    private func fail(_ reason: String) {
        report.failure = reason
        finish()
    }

    private func finish() {
        report.nanoseconds = MonotonicTime.current().nanoseconds - begin
        report.processorNanoseconds = cbench_thread_nanoseconds() - processorBegin
        request.payload.lease = nil
        whenDone?(report)
        whenDone = nil
    }
}

/// Reactors for workers, and an engine for what waits.
final class ImageReactors: Sendable {
    private static let poolLimit = 64 << 20

    let engine: FileEngine
    private let reactors: [Reactor]

    init(_ count: Int) throws {
        engine = try FileEngine(threads: 16)
        var reactors: [Reactor] = []
        for index in 0..<count {
            reactors.append(
                try Reactor.start(name: "images \(index)", index: index, poolLimit: Self.poolLimit, fileEngine: engine))
        }
        self.reactors = reactors
    }

    func stop() {
        for reactor in reactors { reactor.stop() }
        engine.stop()
    }

    /// Has as many workers as the plan says do it at the same time.
    func run(_ plan: ImagePlan, on image: any DiskImage) async throws -> ImageReport {
        precondition(plan.threads <= reactors.count, "a worker has a reactor")
        let total = await withTaskGroup(of: ImageReport.self) { group in
            for number in 0..<plan.threads {
                let reactor = reactors[number]
                group.addTask {
                    await withCheckedContinuation { continuation in
                        let isPosted = reactor.post {
                            let worker = ImageWorker(image, plan, number: number, on: reactor)
                            // The worker stays until then: nobody else holds it.
                            worker.start { report in
                                withExtendedLifetime(worker) { continuation.resume(returning: report) }
                            }
                        }
                        precondition(isPosted, "a running reactor takes a message")
                    }
                }
            }
            var total = ImageReport()
            for await report in group { total.add(report) }
            return total
        }
        if let failure = total.failure { throw Complaint(failure) }
        return total
    }
}
