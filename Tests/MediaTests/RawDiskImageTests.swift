import Bytes
import DeviceTestSupport
import Dispatch
import Glibc
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Raw disk image")
struct RawDiskImageTests {
    let folder: TemporaryFolder
    let pool = BufferPool(limit: 8 << 20)

    init() throws {
        folder = try TemporaryFolder()
    }

    private let engine = SimulatedEngine()

    private func create(_ path: String, _ capacity: Int64, blockSize: Int = 512) throws -> RawDiskImage {
        try RawDiskImage.create(path: path, capacity: capacity, blockSize: blockSize, engine: engine)
    }

    private func open(_ path: String, blockSize: Int = 512, expectedCapacity: Int64? = nil) throws -> RawDiskImage {
        try RawDiskImage.open(
            path: path, blockSize: blockSize, expectedCapacity: expectedCapacity, engine: engine)
    }

    /// The outcome of a request that `prepare` makes, with the bytes that it has read.
    @discardableResult
    private func perform(
        _ image: RawDiskImage, lease: [UInt8]? = nil, _ prepare: (FileRequest) -> Void
    ) throws -> (result: MediaResult, bytes: [UInt8], runs: [ProvisioningRun]) {
        let runner = RequestRunner()
        if let lease { runner.request.payload.lease = try pool.required(lease) }
        image.beginWriting(runner.request)
        runner.run(in: image.lane, prepare)
        let bytes = runner.request.payload.lease.take()?.copyToArray() ?? []
        return (image.outcome(of: runner.request), bytes, image.provisioning(of: runner.request))
    }

    private func read(_ image: RawDiskImage, _ first: UInt64, _ blocks: UInt64) throws -> [UInt8]? {
        let space = [UInt8](repeating: 0xAA, count: Int(blocks) * image.blockSize)
        let (result, bytes, _) = try perform(image, lease: space) {
            image.prepareRead($0, at: 0, first: first, blocks: blocks)
        }
        return result == .done ? bytes : nil
    }

    private func write(_ image: RawDiskImage, _ first: UInt64, _ data: [UInt8]) throws -> MediaResult {
        let lease = try pool.required(data)
        let request = RequestRunner().request
        image.beginWriting(request)
        let blocks = UInt64(data.count / image.blockSize)
        let result = image.writeCached(from: lease, at: 0, first: first, blocks: blocks, for: request)
        guard result == .wouldBlock else { return result }
        return try perform(image, lease: data) { image.prepareWrite($0, at: 0, first: first, blocks: blocks) }.result
    }

    private func runs(_ image: RawDiskImage, _ first: UInt64 = 0, limit: Int = 100) throws -> [ProvisioningRun] {
        try perform(image) { image.prepareProvisioning($0, first: first, runs: limit) }.runs
    }

    @Test("What was written is read, around it are zeros, and it is there after reopening", arguments: [512, 4096])
    func contents(blockSize: Int) throws {
        let path = folder.file("disk")
        let data = [UInt8]((0..<blockSize).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        do {
            let image = try create(path, 1 << 20, blockSize: blockSize)
            #expect(image.blockCount == UInt64(1 << 20) / UInt64(blockSize))
            let result = try perform(image, lease: [0, 0, 0] + data) {
                image.prepareWrite($0, at: 3, first: 1, blocks: 1)
            }.result
            #expect(result == .done)
            #expect(image.synchronize() == nil)
            var lease = try pool.required(blockSize)
            #expect(image.readCached(into: &lease, first: 1, blocks: 1) == .done)
            let bytes = lease.copyToArray()
            #expect(bytes == data)
        }
        let image = try open(path, blockSize: blockSize, expectedCapacity: 1 << 20)
        #expect(try read(image, 0, 2) == [UInt8](repeating: 0, count: blockSize) + data)
        #expect(try read(image, image.blockCount, 0) == [])
    }

    @Test("Images that cannot be used are refused with one sentence")
    func refusals() throws {
        let path = folder.file("disk")
        #expect(throws: DiskImageError.missing(path: path)) { try open(path) }
        try folder.write([UInt8](repeating: 0, count: 1000), to: "disk")
        let mismatch = DiskImageError.lengthMismatch(path: path, length: 1000, blockSize: 512)
        #expect(throws: mismatch) { try open(path) }
        #expect(mismatch.description == "image \(path) is 1000 bytes long, not a multiple of 512")
        #expect(throws: DiskImageError.exists(path: path)) {
            try create(path, 4096)
        }
        #expect(try folder.read("disk").count == 1000)
        try folder.write([], to: "disk")
        #expect(throws: DiskImageError.lengthMismatch(path: path, length: 0, blockSize: 512)) {
            try open(path)
        }
        try folder.write([UInt8](repeating: 0, count: 4096), to: "disk")
        #expect(throws: DiskImageError.capacityMismatch(path: path, length: 4096, expected: 8192)) {
            try open(path, expectedCapacity: 8192)
        }
        for blockSize in [-512, 0, 1024] {
            #expect(throws: DiskImageError.invalidBlockSize(blockSize)) { try open(path, blockSize: blockSize) }
        }
        let image = try open(path)
        #expect(throws: DiskImageError.inUse(path: path)) { try open(path) }
        #expect(image.capacity == 4096)
        let nowhere = folder.file("nowhere/disk")
        #expect(throws: DiskImageError.missing(path: nowhere)) {
            try create(nowhere, 4096)
        }
    }

    @Test("A file that becomes shorter gives an error, never zeros")
    func truncated() throws {
        let path = folder.file("disk")
        let image = try create(path, 8192)
        let other = try File.open(path: path, .readWrite)
        #expect(other.truncate(to: 4352) == 0)
        var lease = try pool.required(4096)
        // The page cache may not know the page any more; but it never makes up zeros.
        #expect(image.readCached(into: &lease, first: 8, blocks: 1) != .done)
        let result = try perform(image, lease: [UInt8](repeating: 0, count: 512)) {
            image.prepareRead($0, at: 0, first: 8, blocks: 1)
        }.result
        #expect(result == .failed(.truncated))
        #expect(try read(image, 7, 1) == [UInt8](repeating: 0, count: 512))
    }

    @Test("Freed blocks read as zeros and take no storage; zeros that are written take it; their neighbours stay")
    func provisioning() throws {
        let image = try create(folder.file("disk"), 1 << 20)
        #expect(try runs(image) == [ProvisioningRun(isMapped: false, end: 2048)])
        #expect(try write(image, 128, [UInt8](repeating: 7, count: 65536)) == .done)
        let mapped = [
            ProvisioningRun(isMapped: false, end: 128), ProvisioningRun(isMapped: true, end: 256),
            ProvisioningRun(isMapped: false, end: 2048),
        ]
        // What is not written out yet has storage too.
        #expect(try runs(image) == mapped)
        #expect(image.synchronize() == nil)
        #expect(try runs(image) == mapped)
        #expect(try runs(image, 130, limit: 1) == [mapped[1]])
        #expect(try perform(image) { image.prepareDeallocate($0, first: 129, blocks: 64) }.result == .done)
        #expect(try read(image, 128, 1) == [UInt8](repeating: 7, count: 512))
        #expect(try read(image, 129, 64) == [UInt8](repeating: 0, count: 32768))
        #expect(try read(image, 193, 1) == [UInt8](repeating: 7, count: 512))
        #expect(try runs(image).count == 5)
        #expect(try perform(image) { image.prepareZeros($0, first: 128, blocks: 128) }.result == .done)
        #expect(try read(image, 128, 128) == [UInt8](repeating: 0, count: 65536))
        #expect(try runs(image) == mapped)
        #expect(image.synchronize() == nil)
        #expect(try runs(image) == mapped)
        #expect(image.capacity == 1 << 20)
    }

    @Test("A disk grows with zeros, and does not become smaller")
    func resize() throws {
        let path = folder.file("disk")
        let image = try create(path, 4096)
        #expect(try write(image, 0, [UInt8](repeating: 9, count: 4096)) == .done)
        #expect(throws: DiskImageError.smaller(path: path, capacity: 4096)) { try image.resize(to: 1024) }
        #expect(image.capacity == 4096)
        try image.resize(to: 8192)
        #expect(image.blockCount == 16)
        #expect(try read(image, 7, 2) == [UInt8](repeating: 9, count: 512) + [UInt8](repeating: 0, count: 512))
        #expect(throws: DiskImageError.lengthMismatch(path: path, length: 9000, blockSize: 512)) {
            try image.resize(to: 9000)
        }
        #expect(image.capacity == 8192)
    }

    private func simulated(_ store: SimulatedStore) -> RawDiskImage {
        RawDiskImage(store: store, engine: engine, path: "test", blockSize: 512, capacity: store.size())
    }

    @Test(
        "A reactor writes only when a write has just ended; the first one after some time, and all until it has, wait")
    func writesOfReactors() throws {
        let time = ManualClock()
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096), canStall: true)
        let image = RawDiskImage(
            store: store, engine: engine, path: "test", blockSize: 512, capacity: 4096, clock: time.clock)
        let block = [UInt8](repeating: 1, count: 512)
        func writeOnReactor() throws -> MediaResult {
            let request = RequestRunner().request
            image.beginWriting(request)
            return image.writeCached(from: try pool.required(block), at: 0, first: 0, blocks: 1, for: request)
        }
        func writeInLane() throws -> MediaResult {
            try perform(image, lease: block) { image.prepareWrite($0, at: 0, first: 1, blocks: 1) }.result
        }
        for _ in 0..<3 {
            #expect(try writeOnReactor() == .wouldBlock)
            #expect(try writeOnReactor() == .wouldBlock)
            #expect(try writeInLane() == .done)
            // Each write lets the next one follow.
            for _ in 0..<30 {
                time.advance(by: .milliseconds(60), on: [])
                #expect(try writeOnReactor() == .done)
            }
            time.advance(by: .milliseconds(114), on: [])
        }
        store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(try writeInLane() == .failed(.hostFull))
        #expect(try writeOnReactor() == .wouldBlock, "a write that has failed shows nothing")
        #expect(store.content.prefix(512) == block[...])
    }

    @Test("A full host is told apart from a broken device")
    func failures() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096))
        let image = simulated(store)
        let block = [UInt8](repeating: 1, count: 512)
        store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(try write(image, 0, block) == .failed(.hostFull))
        #expect(
            try perform(image) { image.prepareDeallocate($0, first: 0, blocks: 1) }.result == .failed(.hostFull))
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: true)
        #expect(try write(image, 0, block) == .failed(.device(Errno.inputOutput)))
        store.stopFailing()
        #expect(try write(image, 0, block) == .done)
        #expect(image.loss == nil)
    }

    @Test("Whoever meets a failed synchronisation counts it: a request, the control plane, or a resize")
    func losses() throws {
        for meets in [
            { image in image.synchronize() != nil },
            { image in (try? image.resize(to: 8192)) == nil },
            { image in
                (try? self.perform(image) { image.prepareSynchronize($0) }.result)
                    == .failed(.device(Errno.inputOutput))
            },
        ] as [(RawDiskImage) -> Bool] {
            let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
            let image = simulated(store)
            let told = Told()
            image.observeLosses { told.failures.append($0) }
            let block = [UInt8](repeating: 1, count: 512)
            #expect(try write(image, 0, block) == .done)
            store.failSynchronizations(Errno.inputOutput)
            #expect(meets(image))
            store.stopFailing()
            #expect(told.failures == [.device(Errno.inputOutput)])
            #expect(image.loss == .device(Errno.inputOutput))
            // The store would say that all is well now.
            #expect(image.synchronize() == .device(Errno.inputOutput))
            #expect(try write(image, 0, block) == .failed(.device(Errno.inputOutput)))
            #expect(image.acknowledgeLoss() == nil)
            #expect(image.synchronize() == nil)
            #expect(try write(image, 0, block) == .done)
            #expect(told.failures.count == 1)
        }
    }

    private final class Told: @unchecked Sendable {
        var failures: [MediaFailure] = []
    }

    @Test("A resize that fails leaves the file as long as it was, and one after a loss does not touch it")
    func failedResize() throws {
        for call in 1...2 {
            let store = SimulatedStore([UInt8](repeating: 9, count: 4096))
            let image = simulated(store)
            store.fail(at: call, errorNumber: Errno.noSpace, fromThenOn: false)
            let operation: StaticString = call == 1 ? "resize" : "synchronize"
            let error = SystemError(code: Errno.noSpace, operation: operation, path: "test")
            #expect(throws: DiskImageError.system(error)) { try image.resize(to: 8192) }
            #expect(store.content == [UInt8](repeating: 9, count: 4096))
            #expect(image.capacity == 4096)
            guard call == 2 else { continue }
            let calls = store.callCount
            #expect(throws: DiskImageError.dataLost(path: "test", .hostFull)) { try image.resize(to: 6144) }
            #expect(store.callCount == calls)
            #expect(image.acknowledgeLoss() == nil)
            try image.resize(to: 6144)
            #expect(store.content.count == 6144)
        }
    }

    @Test("A file that stays longer after a resize that fails is told of")
    func keptLength() throws {
        let store = SimulatedStore([UInt8](repeating: 9, count: 4096))
        let image = simulated(store)
        store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: true)
        let error = SystemError(code: Errno.inputOutput, operation: "synchronize", path: "test")
        #expect(throws: DiskImageError.lengthKept(path: "test", length: 8192, error)) { try image.resize(to: 8192) }
        #expect(image.capacity == 4096)
    }

    @Test("Whoever finds the file shorter than the disk notes a loss, which lasts until it is as long again and known")
    func truncationIsLoss() throws {
        let finders: [(RawDiskImage) throws -> Bool] = [
            { try self.read($0, 7, 2) == nil },
            { try self.runs($0, 8).isEmpty },
            { $0.synchronize() == .truncated },
            { image in try self.perform(image) { image.prepareZeros($0, first: 9, blocks: 1) }.result != .done },
            { image in try self.perform(image) { image.prepareDeallocate($0, first: 0, blocks: 1) }.result != .done },
            { image in
                let error = DiskImageError.capacityMismatch(path: "test", length: 4196, expected: 8192)
                return #expect(throws: error) { try image.resize(to: 16384) } != nil
            },
        ]
        for finds in finders {
            let store = SimulatedStore([UInt8](repeating: 9, count: 8192))
            let image = simulated(store)
            let told = Told()
            image.observeLosses { told.failures.append($0) }
            #expect(store.truncate(to: 4196) == 0)
            #expect(try finds(image))
            #expect(told.failures == [.truncated])
            #expect(store.notedLoss?.errorNumber == MediaFailure.truncatedNumber)
            // The next opening knows the same of its file.
            #expect(simulated(store).loss == .truncated)
            #expect(try write(image, 15, [UInt8](repeating: 1, count: 512)) == .failed(.truncated))
            #expect(store.size() == 4196)
            #expect(image.acknowledgeLoss() == .truncated)
            #expect(image.loss == .truncated)
            #expect(store.truncate(to: 8192) == 0)
            #expect(image.acknowledgeLoss() == nil)
            #expect(try write(image, 15, [UInt8](repeating: 1, count: 512)) == .done)
            #expect(image.synchronize() == nil)
        }
    }

    @Test("What lies beyond the end of the file is neither mapped nor free")
    func provisioningOfTruncated() throws {
        let path = folder.file("disk")
        let image = try create(path, 1 << 20)
        #expect(try write(image, 0, [UInt8](repeating: 7, count: 65536)) == .done)
        #expect(try File.open(path: path, .readWrite).truncate(to: 131_072 + 100) == 0)
        let mapped = [ProvisioningRun(isMapped: true, end: 128), ProvisioningRun(isMapped: false, end: 256)]
        #expect(try runs(image) == mapped)
        #expect(try runs(image, 255) == [mapped[1]])
        #expect(try perform(image) { image.prepareProvisioning($0, first: 256, runs: 1) }.result == .failed(.truncated))
    }

    @Test("A loss outlasts the opening, until it is acknowledged")
    func notedLoss() throws {
        let path = folder.file("disk")
        let block = [UInt8](repeating: 1, count: 512)
        let time = try #require(CalendarTime(seconds: 1_700_000_000))
        do {
            let image = try create(path, 8192)
            #expect(image.loss == nil)
            #expect(image.lossReport == nil)
            #expect(image.store.noteLoss(LossNote(errorNumber: Errno.noSpace, time: time)) == 0)
        }
        do {
            let image = try open(path)
            #expect(image.loss == .hostFull)
            #expect(image.lossReport == LossReport(failure: .hostFull, time: time))
            #expect(try write(image, 0, block) == .failed(.hostFull))
            #expect(try read(image, 0, 1) == [UInt8](repeating: 0, count: 512))
        }
        do {
            let image = try open(path)
            #expect(image.acknowledgeLoss() == nil)
            #expect(image.loss == nil)
            #expect(try write(image, 0, block) == .done)
        }
        #expect(try open(path).loss == nil)
    }

    @Test("A note of a loss without a time is one all the same")
    func notedLossWithoutTime() throws {
        let path = folder.file("disk")
        do {
            let image = try create(path, 8192)
            #expect(image.store.noteLoss(LossNote(errorNumber: Errno.inputOutput, time: nil)) == 0)
        }
        #expect(try open(path).lossReport == LossReport(failure: .device(Errno.inputOutput), time: nil))
    }

    @Test("A loss is recorded for the next opening where it occurs")
    func notingLoss() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
        let image = simulated(store)
        store.failSynchronizations(Errno.quotaExceeded)
        let before = CalendarTime.current()
        #expect(image.synchronize() == .hostFull)
        let report = try #require(image.lossReport)
        let time = try #require(report.time)
        #expect(time >= before && time <= .current())
        #expect(store.notedLoss == LossNote(errorNumber: Errno.quotaExceeded, time: time))
        #expect(simulated(store).lossReport == report)
        #expect(image.acknowledgeLoss() == nil)
        #expect(store.notedLoss == nil)
        #expect(image.lossReport == nil)
    }

    /// An image that has lost data, over `store`.
    private func lossy(_ store: SimulatedStore) -> RawDiskImage {
        let image = simulated(store)
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(image.synchronize() == .device(Errno.inputOutput))
        store.stopFailing()
        return image
    }

    @Test("An acknowledgement that cannot remove the mark changes nothing")
    func refusedAcknowledgement() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
        let image = lossy(store)
        let report = try #require(image.lossReport)
        let note = try #require(store.notedLoss)
        let block = [UInt8](repeating: 1, count: 512)
        func expectLoss() throws {
            #expect(image.lossReport == report)
            #expect(store.notedLoss == note)
            #expect(try write(image, 0, block) == .failed(.device(Errno.inputOutput)))
        }
        store.failNotes(EROFS)
        #expect(image.acknowledgeLoss() == .device(EROFS))
        try expectLoss()
        store.stopFailing()
        // The mark goes, but not durably; so it is set again. Before that, what is left is synchronised.
        store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(image.acknowledgeLoss() == .device(Errno.inputOutput))
        try expectLoss()
        #expect(image.acknowledgeLoss() == nil)
        #expect(image.loss == nil && store.notedLoss == nil)
        #expect(try write(image, 0, block) == .done)
        #expect(image.acknowledgeLoss() == nil)
    }

    @Test("What could not be written out before the acknowledgement is no new loss after it")
    func leftOverFailure() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
        let image = lossy(store)
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(image.acknowledgeLoss() == nil)
        #expect(image.synchronize() == nil && image.loss == nil)
    }

    @Test("Where no mark can be set, whoever watches is told, and the acknowledgement counts")
    func withoutMarks() throws {
        for (keepsNotes, code) in [(false, Errno.notSupported), (true, Errno.noSpace)] {
            let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
            store.keepsNotes = keepsNotes
            store.failNotes(keepsNotes ? code : 0)
            store.failSynchronizations(Errno.inputOutput)
            let image = simulated(store)
            let told = Lock<[MediaFailure?]>([])
            image.observeLossNotes { loss, failure in
                #expect(loss.failure == .device(Errno.inputOutput) && loss.time != nil)
                told.withLock { $0.append(failure) }
            }
            #expect(image.synchronize() == .device(Errno.inputOutput))
            #expect(image.synchronize() == .device(Errno.inputOutput))
            #expect(told.withLock { $0 } == [MediaFailure.of(code)])
            #expect(simulated(store).loss == nil, "a restart forgets")
            store.stopFailing()
            // The end of the daemon tries again.
            #expect(image.synchronize() == .device(Errno.inputOutput))
            #expect((simulated(store).lossReport == image.lossReport) == keepsNotes)
            #expect(image.acknowledgeLoss() == nil)
            #expect(image.synchronize() == nil && image.loss == nil && store.notedLoss == nil)
        }
    }

    @Test("A mark that is set is told too")
    func withMarks() {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096), forgetsAfterFailedSynchronization: true)
        let image = simulated(store)
        let told = Lock<[MediaFailure?]>([])
        image.observeLossNotes { _, failure in told.withLock { $0.append(failure) } }
        store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(image.synchronize() != nil)
        #expect(told.withLock { $0 } == [nil])
    }

    @Test("Synchronisations that wait share the next one")
    func sharedSynchronizations() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: 4096))
        let threads = try FileEngine(threads: 4)
        let image = RawDiskImage(store: store, engine: threads, path: "test", blockSize: 512, capacity: 4096)
        let waiting = Waiting(image, count: 64)
        store.holdSynchronizations()
        waiting.submit(1)
        store.waitUntilHeld()
        // One keeps a thread; the others are put aside, and a read does not wait for them.
        waiting.submit(63)
        #expect(try read(image, 0, 1) == [UInt8](repeating: 0, count: 512))
        store.releaseSynchronizations()
        waiting.wait()
        #expect(waiting.results.allSatisfy { $0 == .done(0) })
        #expect(store.callCount < 10)
        threads.stop()
    }

    /// Synchronisations of an image.
    private final class Waiting: FileRequestOwner, @unchecked Sendable {
        private let image: RawDiskImage
        private let done = DispatchSemaphore(value: 0)
        private(set) var results: [FileResult] = []
        private let count: Int

        init(_ image: RawDiskImage, count: Int) {
            self.image = image
            self.count = count
        }

        func submit(_ count: Int) {
            for _ in 0..<count {
                let request = FileRequest(owner: self)
                image.beginWriting(request)
                image.prepareSynchronize(request)
                image.lane.submitContinuation(request, on: TestReactors.first)
            }
        }

        func fileRequestCompleted(_ request: FileRequest) {
            results.append(request.result)
            done.signal()
        }

        func wait() {
            for _ in 0..<count { done.wait() }
        }
    }
}
