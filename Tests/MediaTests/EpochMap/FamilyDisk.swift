import Bytes
import DeviceTestSupport
import Platform
import TestSupport

@testable import Media

/// Disks over a file of a family in memory, and what commands do to them.
struct FamilyDisk {
    static let capacity: Int64 = 8 << 20

    let image: EpochDiskImage
    private let pool = BufferPool(limit: 8 << 20)

    init(_ image: EpochDiskImage) { self.image = image }

    /// A disk over a node; nil when there cannot be one.
    init?(_ file: FamilyFile, _ node: UInt32 = 1, engine: any MediumEngine = SimulatedEngine()) {
        guard let image = EpochDiskImage(file: file, node: node, engine: engine) else { return nil }
        self.init(image)
    }

    /// A new family in `store`.
    static func file(_ store: any ByteStore, capacity: Int64 = capacity) throws -> FamilyFile {
        FamilyFile(store: store, family: try FamilyFixture.create(on: store, capacity: capacity), path: "test")
    }

    var file: FamilyFile { image.file }

    // MARK: Requests

    /// A request that is prepared by `prepare`, as a command has it that has begun to write.
    func request(lease: [UInt8]? = nil, _ prepare: (FileRequest) -> Void) throws -> RequestRunner {
        let runner = RequestRunner()
        if let lease { runner.request.payload.lease = try pool.required(lease) }
        image.beginWriting(runner.request)
        prepare(runner.request)
        return runner
    }

    /// How a prepared request ends.
    func outcome(_ runner: RequestRunner) -> MediaResult {
        runner.run(in: image.lane) { _ in }
        return image.outcome(of: runner.request)
    }

    func perform(lease: [UInt8]? = nil, _ prepare: (FileRequest) -> Void) throws -> MediaResult {
        outcome(try request(lease: lease, prepare))
    }

    // MARK: Blocks of 512 bytes

    func preparedWrite(_ first: UInt64, _ blocks: Int, _ value: UInt8) throws -> RequestRunner {
        try request(lease: [UInt8](repeating: value, count: blocks * 512)) {
            image.prepareWrite($0, at: 0, first: first, blocks: UInt64(blocks))
        }
    }

    func write(_ first: UInt64, _ blocks: Int, _ value: UInt8) throws -> MediaResult {
        outcome(try preparedWrite(first, blocks, value))
    }

    /// What reading a block gives: the value of all its bytes.
    func read(_ block: UInt64) throws -> UInt8? {
        let runner = try request(lease: [UInt8](repeating: 0xAA, count: 512)) {
            image.prepareRead($0, at: 0, first: block, blocks: 1)
        }
        guard outcome(runner) == .done, let bytes = runner.request.payload.lease.take()?.copyToArray(),
            bytes == [UInt8](repeating: bytes[0], count: 512)
        else { return nil }
        return bytes[0]
    }

    func discard(_ first: UInt64, _ blocks: UInt64) throws -> MediaResult {
        try perform { image.prepareDeallocate($0, first: first, blocks: blocks) }
    }

    func mark(_ block: UInt64) throws -> MediaResult { try perform { image.prepareMarking($0, first: block) } }

    func synchronize() throws -> MediaResult { try perform { image.prepareSynchronize($0) } }
}
