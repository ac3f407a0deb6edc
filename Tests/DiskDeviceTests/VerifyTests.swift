import Bytes
import DeviceTestSupport
import DiskDevice
import SCSI
import TargetCore
import TestSupport
import Testing

@Suite("VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE")
struct VerifyTests {
    static let forms: [Form] = [.ten, .twelve, .sixteen]

    @Test("VERIFY compares all blocks, one block, or none", arguments: forms)
    func byteCheck(form: Form) throws {
        let port = try DiskFixture().initiator()
        var random = SeededRandom(seed: 4)
        let data = random.bytes(8 * 512)
        port.write(50, data)
        #expect(port.execute(form.command(form.verifyCode, lba: 50, count: 8)).status == .good)
        #expect(
            port.execute(form.command(form.verifyCode, lba: 50, count: 8, flags: 0x02), dataOut: data).status == .good)
        var wrong = data
        wrong[1027] ^= 0x10
        #expect(
            port.sense(form.command(form.verifyCode, lba: 50, count: 8, flags: 0x02), dataOut: wrong)
                == SenseData(.miscompare, .miscompareDuringVerify, information: 1027))
        let block = [UInt8](repeating: 0x77, count: 512)
        port.write(60, block + block + block)
        #expect(
            port.execute(form.command(form.verifyCode, lba: 60, count: 3, flags: 0x06), dataOut: block).status == .good)
        #expect(
            port.sense(form.command(form.verifyCode, lba: 60, count: 4, flags: 0x06), dataOut: block)
                == SenseData(.miscompare, .miscompareDuringVerify, information: 0))
        #expect(port.sense(form.command(form.verifyCode, lba: 60, count: 1, flags: 0x04)) == invalidField(1, bit: 2))
        #expect(port.execute(form.command(form.verifyCode, lba: 60, count: 0, flags: 0x02)).status == .good)
        #expect(port.sense(form.command(form.verifyCode, lba: 4096, count: 1, flags: 0x00)) == outOfRange)
    }

    @Test("VERIFY goes through more than one transfer holds")
    func long() throws {
        let port = try DiskFixture(blocks: 1 << 17).initiator()
        #expect(port.execute(CDB.sixteen(OperationCode.verify16, lba: 0, count: 1 << 17)).status == .good)
        port.write(100_000, [UInt8](repeating: 1, count: 512))
        #expect(
            port.sense(
                CDB.sixteen(OperationCode.verify16, lba: 0, count: 1 << 17, flags: 0x06),
                dataOut: [UInt8](repeating: 0, count: 512))
                == SenseData(.miscompare, .miscompareDuringVerify, information: 0))
    }

    @Test("WRITE AND VERIFY writes, with and without comparing", arguments: forms, [0x00, 0x02] as [UInt8])
    func writeAndVerify(form: Form, flags: UInt8) throws {
        let port = try DiskFixture().initiator()
        var random = SeededRandom(seed: 5)
        let data = random.bytes(3 * 512)
        #expect(
            port.execute(form.command(form.writeAndVerifyCode, lba: 9, count: 3, flags: flags), dataOut: data).status
                == .good)
        #expect(port.read(9, 3) == data)
        #expect(port.execute(form.command(form.writeAndVerifyCode, lba: 9, count: 0, flags: flags)).status == .good)
        #expect(port.sense(form.command(form.writeAndVerifyCode, lba: 4096, count: 1), dataOut: data) == outOfRange)
    }

    @Test("COMPARE AND WRITE writes when all is as expected, and names the first byte that is not")
    func compareAndWrite() throws {
        let port = try DiskFixture().initiator()
        var random = SeededRandom(seed: 6)
        let old = random.bytes(1024)
        let new = random.bytes(1024)
        port.write(7, old)
        #expect(port.execute(CDB.compareAndWrite(lba: 7, count: 2), dataOut: old + new).status == .good)
        #expect(port.read(7, 2) == new)
        var wrong = new
        wrong[700] ^= 1
        #expect(
            port.sense(CDB.compareAndWrite(lba: 7, count: 2), dataOut: wrong + old)
                == SenseData(.miscompare, .miscompareDuringVerify, information: 700))
        #expect(port.read(7, 2) == new)
        #expect(port.execute(CDB.compareAndWrite(lba: 7, count: 2, flags: 0x18), dataOut: new + old).status == .good)
        #expect(port.read(7, 2) == old)
        #expect(port.execute(CDB.compareAndWrite(lba: 7, count: 0)).status == .good)
        // 256 blocks would be a length of zero.
        #expect(port.sense(CDB.compareAndWrite(lba: 7, count: 0), dataOut: old + new) == invalidField(13))
        #expect(port.sense(CDB.compareAndWrite(lba: 4095, count: 2), dataOut: old + new) == outOfRange)
        #expect(port.sense(CDB.compareAndWrite(lba: 7, count: 1, flags: 0x20), dataOut: old) == invalidField(1, bit: 5))
    }

    @Test("ORWRITE sets bits and clears none")
    func orWrite() throws {
        let port = try DiskFixture().initiator()
        var random = SeededRandom(seed: 7)
        let old = random.bytes(2048)
        let mask = random.bytes(2048)
        port.write(7, old)
        #expect(port.execute(CDB.sixteen(OperationCode.orWrite16, lba: 7, count: 4), dataOut: mask).status == .good)
        #expect(port.read(7, 4) == zip(old, mask).map { $0 | $1 })
    }

    @Test("COMPARE AND WRITE counts right, however many initiators count, beside writers of other blocks")
    func atomicity() throws {
        let fixture = try DiskFixture()
        let ports = [
            fixture.initiator("a"), fixture.initiator("b", on: fixture.otherReactor), fixture.initiator("c"),
            fixture.initiator("d", on: fixture.otherReactor),
        ]
        let rounds = 60
        let counters = Counters(ports: ports, rounds: rounds)
        counters.run()
        let sum = ports[0].read(5, 1).rawSpan.loadBE32(at: 0)
        #expect(Int(sum) == ports.count * rounds)
    }
}

/// Initiators that increment one counter on a disk by COMPARE AND WRITE, each from a thread of its own.
final class Counters: @unchecked Sendable {
    private let ports: [DiskInitiator]
    private let rounds: Int

    init(ports: [DiskInitiator], rounds: Int) {
        self.ports = ports
        self.rounds = rounds
    }

    func run() {
        concurrently(ports.count) { index in
            let port = self.ports[index]
            for round in 0..<self.rounds {
                port.write(20 + index, [UInt8](repeating: UInt8(round), count: 512), flags: round % 8 == 0 ? 8 : 0)
                while true {
                    let old = port.read(5, 1)
                    var new: [UInt8] = []
                    new.appendBE32(old.rawSpan.loadBE32(at: 0) + 1)
                    new += [UInt8](repeating: 0, count: 508)
                    if port.execute(CDB.compareAndWrite(lba: 5, count: 1), dataOut: old + new).status == .good { break }
                }
            }
        }
    }
}
