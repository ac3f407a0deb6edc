import Bytes
import DeviceTestSupport
import DiskDevice
import SCSI
import TargetCore
import TestSupport
import Testing

@Suite("A disk against an array")
struct ModelTests {
    @Test("Random commands do to a disk what they do to an array", arguments: [1, 2, 3] as [UInt64], [512, 4096])
    func raw(seed: UInt64, blockSize: Int) throws { try random(seed, blockSize, .raw) }

    @Test("The same of one with snapshots", arguments: [1, 2, 3] as [UInt64], [512, 4096])
    func withSnapshots(seed: UInt64, blockSize: Int) throws { try random(seed, blockSize, .carousel) }

    private func random(_ seed: UInt64, _ blockSize: Int, _ format: DiskFixture.Format) throws {
        let blocks = 300
        let fixture = try DiskFixture(blocks: blocks, blockSize: blockSize, format: format)
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        var random = SeededRandom(seed: seed)
        var model = DiskModel(blocks: blocks, blockSize: blockSize)
        for step in 0..<200 {
            let port = ports[Int.random(in: 0...1, using: &random)]
            let form = Form.allCases[Int.random(in: 1...3, using: &random)]
            let lba = Int.random(in: 0...blocks + 2, using: &random)
            let count = Int.random(in: 1...24, using: &random)
            let range = model.range(lba, count)
            let action = Int.random(in: 0...8, using: &random)
            if step % 50 == 49 { fixture.evict() }
            switch action {
            case 0, 1:
                let result = port.execute(form.command(form.readCode, lba: lba, count: count))
                #expect(result.sense == (range == nil ? outOfRange : nil))
                #expect(result.dataIn == range.map { Array(model.bytes[$0]) } ?? [])
            case 2, 3:
                let data = random.bytes(count * blockSize)
                let isVerified = Bool.random(using: &random)
                let code = isVerified ? form.writeAndVerifyCode : form.writeCode
                let flags: UInt8 = isVerified ? 0x02 : Bool.random(using: &random) ? 0x08 : 0
                let result = port.execute(form.command(code, lba: lba, count: count, flags: flags), dataOut: data)
                #expect(result.sense == (range == nil ? outOfRange : nil))
                if let range { model.bytes.replaceSubrange(range, with: data) }
            case 4:
                let list = CDB.unmapList([(UInt64(lba), UInt32(count)), (0, 1)])
                let result = port.execute(CDB.unmap(length: list.count), dataOut: list)
                #expect(result.sense == (range == nil ? outOfRange : nil))
                if let range {
                    model.clear(range)
                    model.clear(0..<blockSize)
                }
            case 5:
                let isZero = Bool.random(using: &random)
                let data = isZero ? [UInt8](repeating: 0, count: blockSize) : random.bytes(blockSize)
                let flags: UInt8 = Bool.random(using: &random) ? 0x08 : 0
                let result = port.execute(
                    CDB.sixteen(OperationCode.writeSame16, lba: UInt64(lba), count: count, flags: flags), dataOut: data)
                #expect(result.sense == (range == nil ? outOfRange : nil))
                if let range {
                    model.bytes.replaceSubrange(range, with: Array(repeating: data, count: count).flatMap(\.self))
                }
            case 6:
                let new = random.bytes(count * blockSize)
                guard let range else { break }
                var expected = Array(model.bytes[range])
                let isWrong = Bool.random(using: &random)
                if isWrong { expected[expected.count - 1] ^= 0xFF }
                let result = port.execute(CDB.compareAndWrite(lba: lba, count: count), dataOut: expected + new)
                #expect(result.sense?.key == (isWrong ? .miscompare : nil))
                #expect(result.sense?.information == (isWrong ? Int64(expected.count - 1) : nil))
                if !isWrong { model.bytes.replaceSubrange(range, with: new) }
            case 7:
                let mask = random.bytes(count * blockSize)
                let result = port.execute(
                    CDB.sixteen(OperationCode.orWrite16, lba: UInt64(lba), count: count), dataOut: mask)
                #expect(result.sense == (range == nil ? outOfRange : nil))
                if let range {
                    model.bytes.replaceSubrange(range, with: zip(model.bytes[range], mask).map { $0 | $1 })
                }
            default:
                guard let range else { break }
                let result = port.execute(
                    form.command(form.verifyCode, lba: lba, count: count, flags: 0x02),
                    dataOut: Array(model.bytes[range]))
                #expect(result.status == .good)
            }
        }
        #expect(ports[0].read(0, blocks) == model.bytes)
    }
}

/// What a disk should hold.
private struct DiskModel {
    var bytes: [UInt8]
    private let blocks: Int
    private let blockSize: Int

    init(blocks: Int, blockSize: Int) {
        self.blocks = blocks
        self.blockSize = blockSize
        bytes = [UInt8](repeating: 0, count: blocks * blockSize)
    }

    /// The bytes of blocks; nil when they leave the medium.
    func range(_ lba: Int, _ count: Int) -> Range<Int>? {
        lba + count <= blocks ? lba * blockSize..<(lba + count) * blockSize : nil
    }

    mutating func clear(_ range: Range<Int>) {
        bytes.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
    }
}
