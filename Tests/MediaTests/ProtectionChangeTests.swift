import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media

@Suite("Another type of protection information while requests are prepared, and at openings")
struct ProtectionChangeTests {
    private let folder: TemporaryFolder
    private let engine = SimulatedEngine()
    private let pool = BufferPool(limit: 1 << 20)
    private let content = [UInt8](repeating: 5, count: 4 * 512)

    init() throws {
        folder = try TemporaryFolder()
    }

    private func create(_ type: ProtectionType?) throws -> RawDiskImage {
        let image = try RawDiskImage.create(
            path: folder.file("a"), capacity: 64 * 512, blockSize: 512, protection: type, changesProtection: true,
            engine: engine)
        #expect(image.fill(first: 0, with: content) == nil)
        return image
    }

    /// Prepares a request for an image with type 1, which then has none, and has it performed. The lease has `bytes`.
    private func outcome(
        _ bytes: [UInt8], _ prepare: (RawDiskImage, FileRequest) -> Void
    ) throws -> (result: MediaResult, bytes: [UInt8], failure: ProtectionFailure?, image: RawDiskImage) {
        let image = try create(.type1)
        let runner = RequestRunner()
        runner.request.payload.lease = try pool.required(bytes)
        image.beginWriting(runner.request)
        runner.run(in: image.lane) { request in
            prepare(image, request)
            #expect(image.changeProtection(to: nil) == nil)
        }
        let found = runner.request.payload.lease.take()?.copyToArray() ?? []
        return (image.outcome(of: runner.request), found, image.protectionFailure(of: runner.request), image)
    }

    private func stored() throws -> [UInt8] { Array(try folder.read("a").prefix(4 * 512)) }

    @Test("what was prepared with protection information that stays in the image is done without, once that has gone")
    func plain() throws {
        let other = [UInt8](repeating: 9, count: 4 * 512)
        let read = try outcome(other) { image, request in
            image.prepareRead(request, at: 0, first: 0, blocks: 4, ProtectionTransfer(.image, checks: .all))
        }
        #expect(read.result == .done && read.bytes == content)
        for place in [ProtectionTransfer.Place.image, .repeated(.unchecked)] {
            try folder.remove("a")
            let written = try outcome(other) { image, request in
                image.prepareWrite(request, at: 0, first: 0, blocks: 4, ProtectionTransfer(place))
            }
            #expect(written.result == .done)
            #expect(try stored() == other)
        }
        try folder.remove("a")
        let zeros = try outcome(other) { $0.prepareUnprotectedZeros($1, first: 0, blocks: 4) }
        #expect(zeros.result == .done)
        #expect(try stored() == [UInt8](repeating: 0, count: 4 * 512))
        try folder.remove("a")
        let long = try outcome(other) { $0.prepareLongRead($1, first: 0) }
        #expect(long.result == .done && long.bytes.prefix(512) == content.prefix(512))
    }

    @Test("a file that is too short is a loss for such a read as well")
    func truncated() throws {
        let image = try create(.type1)
        let file = try File.open(path: folder.file("a"), .readWrite)
        let runner = RequestRunner()
        runner.request.payload.lease = try pool.required(content)
        runner.run(in: image.lane) { request in
            image.prepareRead(request, at: 0, first: 60, blocks: 4, ProtectionTransfer(.image))
            #expect(image.changeProtection(to: nil) == nil)
            #expect(file.truncate(to: 61 * 512) == 0)
        }
        runner.request.payload.lease = nil
        #expect(image.outcome(of: runner.request) == .failed(.truncated) && image.loss == .truncated)
    }

    @Test("what has protection information in its lease fails once the blocks have none, and changes nothing")
    func interleaved() throws {
        let sent = [UInt8](repeating: 9, count: 4 * 520)
        for place in [ProtectionTransfer.Place.lease, .leaseWithoutGuard] {
            let read = try outcome(sent) { image, request in
                image.prepareRead(request, at: 0, first: 0, blocks: 4, ProtectionTransfer(place))
            }
            #expect(read.result == .failed(.protection) && read.failure == nil)
            try folder.remove("a")
            let written = try outcome(sent) { image, request in
                image.prepareWrite(request, at: 0, first: 0, blocks: 4, ProtectionTransfer(place))
            }
            #expect(written.result == .failed(.protection) && written.failure == nil)
            #expect(try stored() == content)
            try folder.remove("a")
        }
        let checked = try outcome(sent) { image, request in
            image.prepareProtectionCheck(request, at: 0, first: 0, blocks: 4, ProtectionTransfer(.lease, checks: .all))
        }
        #expect(checked.result == .failed(.protection) && checked.failure == nil)
    }
}
