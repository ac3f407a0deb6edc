import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

@Suite("Protection information in VERIFY, WRITE SAME, COMPARE AND WRITE, ORWRITE, and operations on all blocks")
struct ProtectedCommandTests {
    private let port: DiskInitiator

    init() throws {
        port = try DiskFixture(protection: .type1).initiator()
    }

    private func blocks(_ count: Int, seed: UInt64 = 9) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count * 512)
    }

    private func put(_ blocks: ProtectedBlocks, at lba: Int, flags: UInt8 = 0x60) {
        let write = CDB.ten(OperationCode.write10, lba: lba, count: blocks.blocks.count, flags: flags)
        #expect(port.execute(write, dataOut: blocks.bytes).status == .good)
    }

    /// What the medium has, whatever that is.
    private func raw(_ lba: Int, _ count: Int) -> ProtectedBlocks {
        ProtectedBlocks(
            interleaved: port.execute(CDB.ten(OperationCode.read10, lba: lba, count: count, flags: 0x60)).dataIn)
    }

    // MARK: VERIFY

    @Test("VERIFY without data checks what the medium has as VRPROTECT says", arguments: VerifyTests.forms)
    func verify(form: Form) {
        let good = ProtectedBlocks(blocks(3), first: 90)
        for (field, checked) in [
            (ProtectionField.blockGuard, [0, 1, 4, 5]), (.referenceTag, [0, 1, 2, 5]),
        ] {
            var wrong = good
            if field == .blockGuard {
                wrong.information[1].blockGuard ^= 1
            } else {
                wrong.information[1].referenceTag ^= 1
            }
            put(wrong, at: 90)
            for protect in 0...5 {
                let result = port.execute(
                    form.command(form.verifyCode, lba: 90, count: 3, flags: UInt8(protect << 5)))
                #expect(
                    result.sense == (checked.contains(protect) ? checkFailed(field, 91) : nil), "\(field) \(protect)")
            }
        }
    }

    @Test("VERIFY with data checks and compares protection information", arguments: VerifyTests.forms)
    func comparison(form: Form) {
        let good = ProtectedBlocks(blocks(4), first: 200)
        put(good, at: 200)
        func sense(_ sent: ProtectedBlocks, _ protect: Int) -> SenseData? {
            port.sense(
                form.command(form.verifyCode, lba: 200, count: 4, flags: UInt8(protect << 5) | 0x02),
                dataOut: protect == 0 ? sent.data : sent.bytes)
        }
        for protect in 0...5 { #expect(sense(good, protect) == nil) }
        var other = good
        other.blocks[2][17] ^= 1
        #expect(sense(other, 0) == SenseData(.miscompare, .miscompareDuringVerify, information: 2 * 512 + 17))
        #expect(sense(other, 1) == checkFailed(.blockGuard, 202))
        #expect(sense(other, 3) == SenseData(.miscompare, .miscompareDuringVerify, information: 2 * 520 + 17))
        // Another application tag is no check, but a difference.
        other = good
        other.information[3].applicationTag = 1
        #expect(sense(other, 1) == miscompare(.applicationTag, 3 * 520 + 512))
        #expect(sense(other, 4) == miscompare(.applicationTag, 3 * 520 + 512))
        // The guard is not compared with 010b.
        other = good
        other.information[0].blockGuard ^= 1
        #expect(sense(other, 2) == nil && sense(other, 3) == miscompare(.blockGuard, 512))
        other = good
        other.information[0].referenceTag ^= 1
        #expect(sense(other, 3) == miscompare(.referenceTag, 512) && sense(other, 1) == checkFailed(.referenceTag, 200))
    }

    private func miscompare(_ field: ProtectionField, _ offset: Int64) -> SenseData {
        SenseData(.miscompare, field.checkFailed, information: offset)
    }

    @Test("VERIFY of one block for all counts reference tags", arguments: VerifyTests.forms)
    func sameBlock(form: Form) {
        let one = ProtectedBlocks(blocks(1), first: 300)
        let all = ProtectedBlocks(one.data + one.data + one.data, first: 300)
        put(all, at: 300)
        let verify = form.command(form.verifyCode, lba: 300, count: 3, flags: 0x26)
        #expect(port.execute(verify, dataOut: one.bytes).status == .good)
        var wrong = all
        wrong.information[2].referenceTag = 300
        put(wrong, at: 300)
        #expect(port.sense(verify, dataOut: one.bytes) == miscompare(.referenceTag, 512))
    }

    @Test("WRITE AND VERIFY writes, keeps and compares it", arguments: VerifyTests.forms)
    func writeAndVerify(form: Form) {
        let sent = ProtectedBlocks(blocks(3), first: 400)
        for flags: UInt8 in [0x20, 0x22, 0x62] {
            let command = form.command(form.writeAndVerifyCode, lba: 400, count: 3, flags: flags)
            #expect(port.execute(command, dataOut: sent.bytes).status == .good)
            #expect(raw(400, 3).bytes == sent.bytes)
        }
        var wrong = sent
        wrong.information[0].referenceTag = 0
        #expect(
            port.sense(form.command(form.writeAndVerifyCode, lba: 400, count: 3, flags: 0x20), dataOut: wrong.bytes)
                == checkFailed(.referenceTag, 400))
    }

    // MARK: WRITE SAME

    @Test("WRITE SAME repeats it and counts reference tags; all ones stay so")
    func writeSame() {
        let one = ProtectedBlocks(blocks(1), first: 500)
        let command = CDB.sixteen(OperationCode.writeSame16, lba: 500, count: 3000, flags: 0x20)
        #expect(port.execute(command, dataOut: one.bytes).status == .good)
        let found = raw(500, 3000)
        #expect(found.information.map(\.referenceTag) == (500..<3500).map { UInt32($0) })
        #expect(Set(found.blocks) == [one.data] && Set(found.information.map(\.applicationTag)) == [0xA5A5])
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 500, count: 3000, flags: 0x20)).status == .good)
        var wrong = one
        wrong.information[0].blockGuard ^= 1
        #expect(port.sense(command, dataOut: wrong.bytes) == checkFailed(.blockGuard, 500))
        var ones = one
        ones.information[0] = .unchecked
        #expect(port.execute(command, dataOut: ones.bytes).status == .good)
        #expect(Set(raw(500, 3000).information) == [.unchecked])
        // One block, not the data alone.
        #expect(port.execute(command, dataOut: one.data).status == .checkCondition)
    }

    @Test("WRITE SAME of zeros: made, sent, unmapped, or without a block")
    func zeros() {
        let zero = [UInt8](repeating: 0, count: 512)
        func fill() { put(ProtectedBlocks(blocks(4), first: 40), at: 40) }
        func same(_ flags: UInt8, _ data: [UInt8]) -> ProtectedBlocks {
            fill()
            let command = CDB.sixteen(OperationCode.writeSame16, lba: 41, count: 2, flags: flags)
            #expect(port.execute(command, dataOut: data).status == .good)
            #expect(raw(40, 1).bytes == ProtectedBlocks(blocks(4), first: 40).bytes.prefix(520).map { $0 })
            return raw(41, 2)
        }
        let made = ProtectedBlocks(zero + zero, first: 41, application: .max)
        #expect(same(0, zero).bytes == made.bytes)
        let sent = ProtectedBlocks(zero + zero, first: 41)
        #expect(same(0x20, Array(sent.bytes.prefix(520))).bytes == sent.bytes)
        // Protection information of its own is not unmapped.
        #expect(same(0x28, Array(sent.bytes.prefix(520))).bytes == sent.bytes)
        var none = sent
        none.information = [.unchecked, .unchecked]
        #expect(same(0x28, Array(none.bytes.prefix(520))).bytes == none.bytes)
        for flags: UInt8 in [0x08, 0x09, 0x01] {
            #expect(same(flags, flags & 1 == 0 ? zero : []).bytes == none.bytes, "\(flags)")
        }
        #expect(
            port.sense(CDB.sixteen(OperationCode.writeSame16, lba: 0, count: 1, flags: 0x21)) == invalidField(1, bit: 7)
        )
    }

    // MARK: Uninterrupted changes

    @Test("COMPARE AND WRITE carries it in both halves and compares user data")
    func compareAndWrite() {
        let old = ProtectedBlocks(blocks(2), first: 70, application: 1)
        let new = ProtectedBlocks(blocks(2, seed: 3), first: 70, application: 2)
        put(old, at: 70)
        let command = CDB.compareAndWrite(lba: 70, count: 2, flags: 0x20)
        #expect(port.execute(command, dataOut: old.bytes + new.bytes).status == .good)
        #expect(raw(70, 2).bytes == new.bytes)
        var third = old
        third.blocks[1][5] ^= 1
        third = ProtectedBlocks(third.data, first: 70)
        #expect(
            port.sense(command, dataOut: third.bytes + new.bytes)?.key == .miscompare)
        var wrong = new
        wrong.information[1].blockGuard ^= 1
        #expect(port.sense(command, dataOut: wrong.bytes + new.bytes) == checkFailed(.blockGuard, 71))
        #expect(port.sense(command, dataOut: new.bytes + wrong.bytes) == checkFailed(.blockGuard, 71))
        var difference = new
        difference.blocks[1][5] ^= 1
        difference = ProtectedBlocks(difference.data, first: 70)
        #expect(
            port.sense(command, dataOut: difference.bytes + new.bytes)
                == SenseData(.miscompare, .miscompareDuringVerify, information: 520 + 5))
        #expect(raw(70, 2).bytes == new.bytes)
        // Without it.
        #expect(
            port.execute(CDB.compareAndWrite(lba: 70, count: 2), dataOut: new.data + old.data).status == .good)
        #expect(port.read(70, 2) == old.data)
    }

    @Test("ORWRITE makes the guards anew and keeps the tags that come")
    func orWrite() {
        let (one, other) = (blocks(3, seed: 1), blocks(3, seed: 2))
        put(ProtectedBlocks(one, first: 80, application: 1), at: 80)
        let sent = ProtectedBlocks(other, first: 80, application: 2)
        let command = CDB.sixteen(OperationCode.orWrite16, lba: 80, count: 3, flags: 0x20)
        #expect(port.execute(command, dataOut: sent.bytes).status == .good)
        let wanted = ProtectedBlocks(zip(one, other).map { $0 | $1 }, first: 80, application: 2)
        #expect(raw(80, 3).bytes == wanted.bytes)
        #expect(port.execute(CDB.sixteen(OperationCode.orWrite16, lba: 80, count: 3), dataOut: one).status == .good)
        #expect(raw(80, 3).bytes == ProtectedBlocks(wanted.data, first: 80, application: .max).bytes)
        var wrong = sent
        wrong.information[1].referenceTag = 0
        #expect(port.sense(command, dataOut: wrong.bytes) == checkFailed(.referenceTag, 81))
    }

    // MARK: Side by side

    @Test("Whatever is written, unmapped and read at a time, no read finds the one without the other")
    func race() throws {
        let fixture = port.fixture
        let ports = (0..<4).map {
            fixture.initiator("iqn.2026-11.test:\($0)", on: $0 % 2 == 0 ? nil : fixture.otherReactor)
        }
        concurrently(4) { number in
            var random = SeededRandom(seed: UInt64(number))
            for _ in 0..<150 {
                let first = Int.random(in: 500..<520, using: &random)
                let count = Int.random(in: 1...16, using: &random)
                switch number {
                case 0, 1:
                    let sent = ProtectedBlocks(random.bytes(count * 512), first: UInt32(first))
                    ports[number].execute(
                        CDB.ten(OperationCode.write10, lba: first, count: count, flags: 0x20), dataOut: sent.bytes)
                case 2:
                    let list = CDB.unmapList([(UInt64(first), UInt32(count))])
                    ports[number].execute(CDB.unmap(length: list.count), dataOut: list)
                    ports[number].execute(
                        CDB.sixteen(OperationCode.writeSame16, lba: UInt64(first), count: count),
                        dataOut: [UInt8](repeating: 0, count: 512))
                default:
                    let read = CDB.ten(OperationCode.read10, lba: first, count: count, flags: 0x20)
                    #expect(ports[number].execute(read).sense == nil)
                }
            }
        }
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 0, count: 4096, flags: 0x20)).status == .good)
    }

    // MARK: All blocks

    @Test("SANITIZE and FORMAT UNIT take it away; FORMAT UNIT keeps the type")
    func operations() {
        let sent = ProtectedBlocks(blocks(4), first: 10)
        let commands: [([UInt8], [UInt8])] = [
            ([0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0], []),
            ([0x48, 0x01, 0, 0, 0, 0, 0, 0, 5, 0], [1, 0, 0, 1, 0x5A]), ([0x04, 0x80, 0, 0, 0, 0], []),
            ([0x04, 0x90, 0, 0, 0, 0], [0, 0, 0, 0]),
        ]
        for (command, list) in commands {
            put(sent, at: 10)
            #expect(port.execute(command, dataOut: list).status == .good)
            #expect(raw(10, 4).information == [ProtectionInformation](repeating: .unchecked, count: 4))
            #expect(port.execute(CDB.ten(OperationCode.read10, lba: 10, count: 4, flags: 0x20)).status == .good)
        }
        for (flags, usage) in [(0x10, 0), (0x50, 0), (0xD0, 0), (0xD0, 1)] as [(UInt8, UInt8)] {
            #expect(
                port.sense([0x04, flags, 0, 0, 0, 0], dataOut: [usage, 0, 0, 0]) == invalidField(1, bit: 7))
        }
        #expect(
            port.sense([0x04, 0x90, 0, 0, 0, 0], dataOut: [1, 0, 0, 0]) == invalidParameter(0, bit: 2))
        #expect(port.sense([0x04, 0, 0, 0, 0, 0]) == invalidField(1, bit: 7))
    }

    @Test("A write ends the mark of an unreadable block")
    func marks() {
        put(ProtectedBlocks(blocks(1), first: 33), at: 33)
        #expect(port.execute([0x3F, 0x40, 0, 0, 0, 33, 0, 0, 0, 0]).status == .good)
        #expect(
            port.sense(CDB.ten(OperationCode.read10, lba: 33, count: 1, flags: 0x20))?.additionalSenseCode
                == .markedBadByApplicationClient)
        put(ProtectedBlocks(blocks(1), first: 33), at: 33)
        #expect(raw(33, 1).bytes == ProtectedBlocks(blocks(1), first: 33).bytes)
    }
}
