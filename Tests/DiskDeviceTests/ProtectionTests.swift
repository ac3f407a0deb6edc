import Bytes
import DeviceTestSupport
import Glibc
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

@Suite("Disks with protection information")
struct ProtectionTests {
    static let forms: [Form] = [.ten, .twelve, .sixteen]

    private func blocks(_ count: Int, seed: UInt64 = 9, size: Int = 512) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count * size)
    }

    private func port(_ type: ProtectionType, blocks: Int = 4096, blockSize: Int = 512) throws -> DiskInitiator {
        try DiskFixture(blocks: blocks, blockSize: blockSize, protection: type).initiator()
    }

    // MARK: What it says of itself

    @Test("INQUIRY, VPD 86h and B0h, READ CAPACITY(16), the Control mode page, CDB usage data")
    func pages() throws {
        let expected: [(ProtectionType?, UInt8, UInt8)] = [
            (nil, 0, 0), (.type1, 0x07, 1), (.type2, 0x17, 3), (.type3, 0x27, 5),
        ]
        for (type, checks, capacity) in expected {
            let port = try DiskFixture(protection: type).initiator()
            #expect(port.execute([0x12, 0, 0, 0, 96, 0]).dataIn[5] & 1 == (type == nil ? 0 : 1))
            #expect(port.execute([0x12, 1, 0x86, 0, 64, 0]).dataIn[4] == checks)
            #expect(port.execute(CDB.sixteen(0x9E, lba: 0, count: 32, flags: 0x10)).dataIn[12] == capacity)
            let limits = port.execute([0x12, 1, 0xB0, 0, 64, 0]).dataIn
            #expect(limits.rawSpan.loadBE32(at: 8) == UInt32((16 << 20) / (type == nil ? 512 : 520)))
            // Atomic writes.
            #expect((limits.rawSpan.loadBE32(at: 44) == 0) == (type != nil))
            let control = port.execute([0x1A, 0x08, 0x0A, 0, 64, 0]).dataIn
            #expect(control[4 + 5] & 0x80 == (type == nil ? 0 : 0x80))
            let changeable = port.execute([0x1A, 0x08, 0x4A, 0, 64, 0]).dataIn
            #expect(changeable[4 + 2] & 0x08 == (type == nil ? 0 : 0x08))
            #expect(usage(port, 0x28)?[1] == (type == .type1 || type == .type3 ? 0xF8 : 0x18))
            #expect(usage(port, 0x8B)?[1] == (type == .type1 || type == .type3 ? 0xF8 : 0x18))
            #expect((usage(port, 0x9C) == nil) == (type != nil))
            let long = usage(port, 0x7F, action: 0x0009)
            switch type {
            case nil: #expect(long?[10] == 0x18 && long?[20] == 0)
            case .type2: #expect(long?[10] == 0xF8 && long?[20..<28].allSatisfy { $0 == 0xFF } == true)
            default: #expect(long == nil)
            }
        }
    }

    /// CDB USAGE DATA; nil for a command that is not supported.
    private func usage(_ port: DiskInitiator, _ code: UInt8, action: UInt16? = nil) -> [UInt8]? {
        var command: [UInt8] = [0xA3, 0x0C, action == nil ? 1 : 2, code]
        command.appendBE16(action ?? 0)
        command.appendBE32(64)
        let answer = port.execute(command + [0, 0]).dataIn
        guard answer.count > 4, answer[1] & 7 == 3 else { return nil }
        return Array(answer[4...])
    }

    // MARK: READ and WRITE

    @Test("READ and WRITE carry it, keep it, and check it", arguments: forms, [ProtectionType.type1, .type3])
    func transfers(form: Form, type: ProtectionType) throws {
        let port = try port(type)
        // Over the border of what is read and written at a time.
        let sent = ProtectedBlocks(blocks(9), first: 508)
        for protect in 1...5 {
            let flags = UInt8(protect << 5)
            #expect(
                port.execute(form.command(form.writeCode, lba: 508, count: 9, flags: flags), dataOut: sent.bytes).status
                    == .good)
            #expect(
                port.execute(form.command(form.readCode, lba: 508, count: 9, flags: flags)).dataIn == sent.bytes)
            #expect(port.execute(form.command(form.readCode, lba: 508, count: 9)).dataIn == sent.data)
        }
        for protect in 6...7 {
            let flags = UInt8(protect << 5)
            #expect(
                port.sense(form.command(form.readCode, lba: 508, count: 1, flags: flags)) == invalidField(1, bit: 7))
            #expect(
                port.sense(form.command(form.writeCode, lba: 508, count: 1, flags: flags), dataOut: sent.bytes)
                    == invalidField(1, bit: 7))
        }
        #expect(port.execute(form.command(form.readCode, lba: 508, count: 0, flags: 0x20)).status == .good)
        #expect(port.execute(form.command(form.writeCode, lba: 508, count: 0, flags: 0x20)).status == .good)
    }

    @Test("A WRITE with a wrong guard or reference tag changes nothing, where these are checked")
    func wrongDataOut() throws {
        let port = try port(.type1)
        let good = ProtectedBlocks(blocks(4), first: 40)
        port.write(40, good.data)
        for protect in 1...5 {
            let checksGuard = [1, 4, 5].contains(protect)
            let checksReference = [1, 2, 5].contains(protect)
            let command = CDB.ten(OperationCode.write10, lba: 40, count: 4, flags: UInt8(protect << 5))
            for (field, isChecked) in [(ProtectionField.blockGuard, checksGuard), (.referenceTag, checksReference)] {
                var wrong = ProtectedBlocks(blocks(4, seed: 10), first: 40)
                if field == .blockGuard {
                    wrong.information[2].blockGuard ^= 1
                } else {
                    wrong.information[2].referenceTag ^= 1
                }
                let result = port.execute(command, dataOut: wrong.bytes)
                if isChecked {
                    #expect(result.sense == checkFailed(field, 42))
                    #expect(port.read(40, 4) == good.data)
                } else {
                    #expect(result.status == .good)
                    // It is kept as it came.
                    let raw = CDB.ten(OperationCode.read10, lba: 40, count: 4, flags: 0x60)
                    #expect(port.execute(raw).dataIn == wrong.bytes)
                    #expect(
                        port.sense(CDB.ten(OperationCode.read10, lba: 40, count: 4, flags: 0x20))
                            == checkFailed(field, 42))
                    #expect(port.sense(CDB.ten(OperationCode.read10, lba: 40, count: 4)) == checkFailed(field, 42))
                    #expect(port.sense(CDB.six(OperationCode.read6, lba: 40, count: 4)) == checkFailed(field, 42))
                    #expect(port.execute(CDB.ten(OperationCode.read10, lba: 43, count: 1)).status == .good)
                }
                port.write(40, good.data)
            }
        }
    }

    @Test("Without WRPROTECT it is made; what was never written or is unmapped has none")
    func generated() throws {
        for type in [ProtectionType.type1, .type3] {
            let port = try port(type)
            let raw = CDB.ten(OperationCode.read10, lba: 100, count: 3, flags: 0x20)
            let none = ProtectedBlocks(interleaved: port.execute(raw).dataIn)
            #expect(none.information == [.unchecked, .unchecked, .unchecked] && none.data.allSatisfy { $0 == 0 })
            let data = blocks(3)
            port.write(100, data)
            let made = ProtectedBlocks(interleaved: port.execute(raw).dataIn)
            var wanted = ProtectedBlocks(data, first: 100, application: .max)
            if type == .type3 { for index in 0..<3 { wanted.information[index].referenceTag = .max } }
            #expect(made.bytes == wanted.bytes)
            let list = CDB.unmapList([(101, 1)])
            #expect(port.execute(CDB.unmap(length: list.count), dataOut: list).status == .good)
            let left = ProtectedBlocks(interleaved: port.execute(raw).dataIn)
            #expect(left.information[1] == .unchecked && left.information[0] == wanted.information[0])
            #expect(left.blocks[1].allSatisfy { $0 == 0 })
        }
    }

    @Test("DPICZ leaves out checks of commands that say nothing of it")
    func ignored() throws {
        let port = try port(.type1)
        var wrong = ProtectedBlocks(blocks(1), first: 7)
        wrong.information[0].blockGuard ^= 0x8000
        let write = CDB.ten(OperationCode.write10, lba: 7, count: 1, flags: 0x60)
        #expect(port.execute(write, dataOut: wrong.bytes).status == .good)
        let read = CDB.ten(OperationCode.read10, lba: 7, count: 1)
        #expect(port.sense(read) == checkFailed(.blockGuard, 7))
        var page = Array(port.execute([0x1A, 0x08, 0x0A, 0, 64, 0]).dataIn)
        page[0] = 0
        page[4] = 0x0A
        page[4 + 2] |= 0x08
        #expect(port.execute([0x15, 0x10, 0, 0, UInt8(page.count), 0], dataOut: page).status == .good)
        #expect(port.execute(read).dataIn == wrong.data)
        #expect(
            port.sense(CDB.ten(OperationCode.read10, lba: 7, count: 1, flags: 0x20)) == checkFailed(.blockGuard, 7))
    }

    @Test("Blocks of 4 KiB, and transfers of several steps")
    func sizes() throws {
        for (size, count) in [(4096, 2500), (512, 20_000)] {
            let port = try port(.type1, blocks: 1 << 15, blockSize: size)
            let sent = ProtectedBlocks(blocks(count, size: size), first: 3, blockSize: size)
            let write = CDB.sixteen(OperationCode.write16, lba: 3, count: count, flags: 0x20)
            #expect(port.execute(write, dataOut: sent.bytes).status == .good)
            let read = CDB.sixteen(OperationCode.read16, lba: 3, count: count, flags: 0x20)
            #expect(port.execute(read).dataIn == sent.bytes)
            #expect(port.execute(CDB.sixteen(OperationCode.read16, lba: 3, count: count)).dataIn == sent.data)
            let limit = (16 << 20) / (size + 8)
            #expect(
                port.sense(CDB.sixteen(OperationCode.read16, lba: 0, count: limit + 1, flags: 0x20)) == invalidField(10)
            )
        }
    }

    @Test("Fewer whole blocks than named are written; other lengths are refused")
    func lengths() throws {
        let port = try port(.type1)
        let sent = ProtectedBlocks(blocks(2), first: 60)
        let write = CDB.ten(OperationCode.write10, lba: 60, count: 3, flags: 0x20)
        #expect(port.execute(write, dataOut: sent.bytes).status == .good)
        #expect(port.read(60, 3) == sent.data + [UInt8](repeating: 0, count: 512))
        // Two blocks without protection information are none with it.
        #expect(port.execute(write, dataOut: sent.data).status == .checkCondition)
    }

    // MARK: Disks without it

    @Test("A disk without it refuses every protect field")
    func unprotected() throws {
        let port = try DiskFixture().initiator()
        for protect in 1...7 {
            let flags = UInt8(protect << 5)
            for code in [OperationCode.read10, OperationCode.write10, OperationCode.verify10] {
                let sense = port.sense(CDB.ten(code, lba: 0, count: 1, flags: flags), dataOut: blocks(1))
                #expect(sense?.additionalSenseCode == .invalidFieldInCDB && sense?.fieldPointer?.byte == 1)
            }
        }
    }

    // MARK: Type 2

    @Test("With type 2 the 32-byte commands carry it, with the tags that they expect")
    func type2() throws {
        let port = try port(.type2)
        let sent = ProtectedBlocks(blocks(3), first: 0x7000_0001, application: 0x1234)
        let write = CDB.thirtyTwo(
            0x0B, lba: 9, count: 3, flags: 0x20, reference: 0x7000_0001, application: 0x1200, mask: 0xFF00)
        #expect(port.execute(write, dataOut: sent.bytes).status == .good)
        let read = CDB.thirtyTwo(0x09, lba: 9, count: 3, flags: 0x20, reference: 0x7000_0001)
        #expect(port.execute(read).dataIn == sent.bytes)
        // The others know no tags, and move none.
        #expect(port.read(9, 3) == sent.data)
        for command in [
            CDB.ten(OperationCode.read10, lba: 9, count: 1, flags: 0x20),
            CDB.ten(OperationCode.write10, lba: 9, count: 1, flags: 0x60),
            CDB.sixteen(OperationCode.verify16, lba: 9, count: 1, flags: 0xE0),
        ] {
            #expect(port.sense(command)?.additionalSenseCode == .invalidCommandOperationCode)
        }
        #expect(
            port.sense(CDB.thirtyTwo(0x09, lba: 9, count: 3, flags: 0x20, reference: 0x7000_0002))
                == checkFailed(.referenceTag, 9))
        let masked = CDB.thirtyTwo(
            0x09, lba: 9, count: 3, flags: 0x20, reference: 0x7000_0001, application: 0x1334, mask: 0x0100)
        #expect(port.sense(masked) == checkFailed(.applicationTag, 9))
        #expect(
            port.sense(CDB.thirtyTwo(0x0B, lba: 9, count: 3, flags: 0x20, reference: 5), dataOut: sent.bytes)
                == checkFailed(.referenceTag, 9))
        #expect(port.sense(CDB.thirtyTwo(0x09, lba: 9, count: 3, flags: 0xC0)) == invalidField(10, bit: 7))
        // VERIFY(32), WRITE AND VERIFY(32), WRITE SAME(32).
        let verify = CDB.thirtyTwo(0x0A, lba: 9, count: 3, flags: 0x22, reference: 0x7000_0001)
        #expect(port.execute(verify, dataOut: sent.bytes).status == .good)
        let both = CDB.thirtyTwo(0x0C, lba: 20, count: 3, flags: 0x22, reference: 0x7000_0001)
        #expect(port.execute(both, dataOut: sent.bytes).status == .good)
        let one = ProtectedBlocks(blocks(1), first: 70, application: 3)
        let same = CDB.thirtyTwo(0x0D, lba: 30, count: 4, flags: 0x20, reference: 70)
        #expect(port.execute(same, dataOut: one.bytes).status == .good)
        let found = ProtectedBlocks(
            interleaved: port.execute(CDB.thirtyTwo(0x09, lba: 30, count: 4, flags: 0x20, reference: 70)).dataIn)
        #expect(found.information.map(\.referenceTag) == [70, 71, 72, 73])
        // Made without WRPROTECT: nobody knows the reference tag.
        port.write(50, blocks(1))
        let made = ProtectedBlocks(
            interleaved: port.execute(CDB.thirtyTwo(0x09, lba: 50, count: 1, flags: 0x20, reference: 1)).dataIn)
        #expect(made.information[0].referenceTag == .max && made.information[0].applicationTag == .max)
    }

    @Test("With types 1 and 3 the 32-byte commands are no operations", arguments: [ProtectionType.type1, .type3])
    func noType2(type: ProtectionType) throws {
        let port = try port(type)
        for action: UInt16 in 0x09...0x0D {
            #expect(
                port.sense(CDB.thirtyTwo(action, lba: 0, count: 1))?.additionalSenseCode
                    == .invalidCommandOperationCode)
        }
        #expect(port.execute(CDB.thirtyTwo(0x12, lba: 0, count: 0)).status == .good)
        #expect(
            port.sense(CDB.sixteen(OperationCode.writeAtomic16, lba: 0, count: 0))?.additionalSenseCode
                == .invalidCommandOperationCode)
    }
}
