import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media

@Suite("Notes and ends of images with protection information")
struct ProtectedNoteTests {
    private static let blocks: UInt64 = 64
    private let engine = SimulatedEngine()
    private let clock = ManualClock()
    private let data = SimulatedStore(
        [UInt8](repeating: 0, count: Int(blocks) * 512), forgetsAfterFailedSynchronization: true,
        notes: [.operation: [1]])
    private let tags = SimulatedStore(
        [UInt8](repeating: 0, count: Int(ProtectionFile.length(blocks))), forgetsAfterFailedSynchronization: true)

    private func image() -> RawDiskImage {
        RawDiskImage(
            store: data, engine: engine, path: "test", blockSize: 512, capacity: data.size(),
            protection: ProtectionFile(
                tags, type: .type1, blockSize: 512,
                regionBits: [UInt8](repeating: 0, count: ProtectionRegions.count / 8), clock: clock.clock))
    }

    private func write(_ image: RawDiskImage) throws {
        let pool = BufferPool(limit: 1 << 20)
        let runner = RequestRunner()
        runner.request.payload.lease = try pool.required([UInt8](repeating: 5, count: 512))
        image.beginWriting(runner.request)
        runner.run(in: image.lane) { image.prepareWrite($0, at: 0, first: 0, blocks: 1) }
        runner.request.payload.lease = nil
        #expect(image.outcome(of: runner.request) == .done)
    }

    /// Whether the file says that something is being written.
    private var hasBit: Bool {
        var byte: [UInt8] = [0]
        let result = byte.modifyBytes { tags.read(into: &$0, offset: ProtectionRegions.offset, mode: .blocking) }
        return result == .done(1) && byte[0] & 1 != 0
    }

    @Test("A note whose synchronisation fails in the file of the protection information is put back")
    func secondStep() {
        let image = image()
        tags.failSynchronizations(Errno.inputOutput)
        #expect(image.keep(operation: [2], insteadOf: [1]) == .device(Errno.inputOutput))
        #expect(data.notes[.operation] == [1])
        #expect(image.loss == .device(Errno.inputOutput))
    }

    @Test("A note that is refused makes nothing durable, so the regions keep their bits")
    func refusedNote() throws {
        let image = image()
        try write(image)
        #expect(hasBit)
        clock.advance(by: .seconds(60), on: [])
        data.failNotes(Errno.noSpace)
        #expect(image.keep(operation: [2], insteadOf: [1]) == .hostFull)
        #expect(hasBit && image.loss == nil)
        #expect(image.synchronize() == nil && !hasBit)
    }

    @Test(
        "The end of an image takes the bits of what is durable away, and not those after a loss",
        arguments: [false, true])
    func end(fails: Bool) throws {
        let image = image()
        try write(image)
        if fails { data.failSynchronizations(Errno.inputOutput) }
        #expect((image.close() == nil) == !fails)
        #expect(hasBit == fails)
    }

    @Test("A file that is cut is neither made longer by a change of many blocks nor with the disk")
    func cutAndLonger() throws {
        let image = image()
        try write(image)
        #expect(tags.truncate(to: ProtectionFile.dataOffset + 8) == 0)
        let runner = RequestRunner()
        image.beginWriting(runner.request)
        runner.run(in: image.lane) { image.prepareZeros($0, first: 0, blocks: Self.blocks) }
        #expect(image.outcome(of: runner.request) == .failed(.truncated))
        #expect(tags.size() == ProtectionFile.dataOffset + 8 && image.loss == .truncated)
        #expect(throws: DiskImageError.self) { try image.resize(to: 65 * 512) }
        #expect(tags.size() == ProtectionFile.dataOffset + 8)
    }

    @Test("A file of protection information that is cut is a loss, which nobody can acknowledge before it is back")
    func truncation() throws {
        let image = image()
        try write(image)
        #expect(tags.truncate(to: 0) == 0)
        #expect(image.synchronize() == .truncated && image.loss == .truncated)
        #expect(image.acknowledgeLoss() == .truncated)
        #expect(image.truncatedFile == ("test.pi", ProtectionFile.length(Self.blocks)))
        #expect(tags.truncate(to: ProtectionFile.length(Self.blocks)) == 0)
        #expect(image.acknowledgeLoss() == nil && image.loss == nil)
        // With it, what comes before the protection information is there again.
        var header = [UInt8](repeating: 0, count: ProtectionHeader.length)
        #expect(header.modifyBytes { tags.read(into: &$0, offset: 0, mode: .blocking) } == .done(header.count))
        #expect(ProtectionHeader(header)?.blocks == Self.blocks && hasBit)
    }
}
