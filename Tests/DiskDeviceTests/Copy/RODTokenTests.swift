import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

/// Parameter lists of POPULATE TOKEN and WRITE USING TOKEN.
enum TokenList {
    static func ranges(_ ranges: [(Int, Int)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (first, count) in ranges {
            bytes.appendBE64(UInt64(first))
            bytes.appendBE32(UInt32(count))
            bytes.appendBE32(0)
        }
        return bytes
    }

    static func populate(
        _ ranges: [(Int, Int)], timeout: UInt32 = 0, type: UInt32? = nil
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(14 + ranges.count * 16))
        bytes += [type == nil ? 0 : 2, 0]
        bytes.appendBE32(timeout)
        bytes.appendBE32(type ?? 0)
        bytes.appendBE16(0)
        bytes.appendBE16(UInt16(ranges.count * 16))
        return bytes + Self.ranges(ranges)
    }

    static func write(_ token: [UInt8], offset: Int = 0, _ ranges: [(Int, Int)], deletes: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(534 + ranges.count * 16))
        bytes += [deletes ? 2 : 0, 0, 0, 0, 0, 0]
        bytes.appendBE64(UInt64(offset))
        bytes += token + [0, 0, 0, 0, 0, 0]
        bytes.appendBE16(UInt16(ranges.count * 16))
        return bytes + Self.ranges(ranges)
    }

    static var zero: [UInt8] { [0xFF, 0xFF, 0, 1, 0, 0, 1, 0xF8] + [UInt8](repeating: 0, count: 504) }
}

extension CopyInitiator {
    func populate(_ list: [UInt8], unit: Int = 0, identifier: UInt32 = 1) -> CommandResult {
        execute(CopyCDB.populateToken(identifier, list.count), unit: unit, dataOut: list)
    }

    func writeUsing(_ list: [UInt8], unit: Int = 1, identifier: UInt32 = 2) -> CommandResult {
        execute(CopyCDB.writeUsingToken(identifier, list.count), unit: unit, dataOut: list)
    }

    /// RECEIVE ROD TOKEN INFORMATION.
    func information(_ identifier: UInt32, unit: Int = 0) -> [UInt8] {
        execute(CopyCDB.receive(7, identifier), unit: unit).dataIn
    }

    /// A token for blocks of a unit.
    func token(_ ranges: [(Int, Int)], unit: Int = 0, timeout: UInt32 = 0) -> [UInt8] {
        let result = populate(TokenList.populate(ranges, timeout: timeout), unit: unit)
        precondition(result.status == .good, "POPULATE TOKEN failed")
        return Array(information(1, unit: unit).suffix(512))
    }
}

@Suite("ROD tokens")
struct RODTokenTests {
    private let unknown = SenseData(.illegalRequest, .tokenUnknown)
    private let cancelled = SenseData(.illegalRequest, .tokenCancelled)

    @Test("A token of several ranges is written to several ranges of another disk, from any offset on")
    func copies() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        #expect(port.populate(TokenList.populate([(100, 3000), (9, 0), (5, 2), (8000, 1)])).status == .good)
        let information = port.information(1)
        #expect(information.count == 32 + 4 + 2 + 512 && information.be32(at: 0) == 546)
        #expect(information[4] == 0x10 && information[5] == 0x01 && information[15] == 0xF1)
        #expect(information.be64(at: 16) == 3003 && information.be16(at: 24) == 0)
        #expect(information.be32(at: 32) == 514)
        let token = Array(information.suffix(512))
        // It is given once.
        #expect(port.information(1).count == 36 && port.information(1).be32(at: 32) == 0)
        #expect(token.be32(at: 0) == 0x0080_0001 && token.be16(at: 6) == 0x01F8)
        #expect(Array(token[16..<32]) == [0xE4, 0, 0, 0, 1, 3, 0, 8] + token[24..<32])
        #expect(token.be64(at: 24) == fixture.disks[0].naa)
        #expect(token.be64(at: 56) == 3003 * 512)
        let source = fixture.bytes(0, 0..<8 << 20)
        let data = Array(
            source[100 * 512..<3100 * 512] + source[5 * 512..<7 * 512] + source[8000 * 512..<8001 * 512])
        let list = TokenList.write(token, [(0, 1), (50, 0), (10, 2999), (7000, 3)])
        #expect(port.writeUsing(list).status == .good)
        #expect(fixture.bytes(1, 0..<512) == Array(data[0..<512]))
        #expect(fixture.bytes(1, 10 * 512..<3009 * 512) == Array(data[512..<3000 * 512]))
        #expect(fixture.bytes(1, 7000 * 512..<7003 * 512) == Array(data[3000 * 512..<3003 * 512]))
        let written = port.information(2, unit: 1)
        #expect(written.count == 36 && written[4] == 0x11 && written[5] == 0x01)
        #expect(written.be64(at: 16) == 3003)
        #expect(port.writeUsing(TokenList.write(token, offset: 2999, [(20, 2)])).status == .good)
        #expect(fixture.bytes(1, 20 * 512..<22 * 512) == Array(data[2999 * 512..<3001 * 512]))
        #expect(fixture.leasedBytes == 0)
    }

    @Test("More than the token has is not written, and said")
    func partial() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(10, 4)])
        let before = fixture.bytes(1, 0..<1 << 20)
        #expect(port.writeUsing(TokenList.write(token, offset: 1, [(30, 2), (40, 5)])).status == .good)
        let information = port.information(2, unit: 1)
        #expect(information[5] == 0x03 && information.be64(at: 16) == 3)
        #expect(fixture.bytes(1, 40 * 512..<41 * 512) == fixture.bytes(0, 13 * 512..<14 * 512))
        #expect(fixture.bytes(1, 41 * 512..<45 * 512) == Array(before[41 * 512..<45 * 512]))
        for offset in [4, 5, 1 << 40, Int.max] {
            #expect(port.writeUsing(TokenList.write(token, offset: offset, [(0, 1)])).sense == invalidParameter(8))
        }
    }

    @Test("Between block sizes the token is a row of bytes; the last block is filled with zeros")
    func blockSizes() throws {
        let fixture = try CopyFixture(blockSizes: [512, 4096])
        let port = fixture.initiator()
        let source = fixture.bytes(0, 0..<1 << 20)
        let token = port.token([(3, 5), (100, 13)])
        let data = Array(source[3 * 512..<8 * 512] + source[100 * 512..<113 * 512])
        #expect(port.writeUsing(TokenList.write(token, [(1, 1), (7, 4)])).status == .good)
        #expect(fixture.bytes(1, 4096..<2 * 4096) == Array(data[0..<4096]))
        let rest = Array(data[4096...]) + [UInt8](repeating: 0, count: 3 * 4096 - data.count)
        #expect(fixture.bytes(1, 7 * 4096..<9 * 4096) == rest)
        #expect(port.information(2, unit: 1).be64(at: 16) == 3)
        #expect(port.information(2, unit: 1)[5] == 0x03)
        // To small blocks, from within a large one.
        let large = port.token([(2, 1), (9, 1)], unit: 1)
        let bytes = fixture.bytes(1, 2 * 4096..<3 * 4096) + fixture.bytes(1, 9 * 4096..<10 * 4096)
        #expect(port.writeUsing(TokenList.write(large, offset: 3, [(500, 4), (600, 7)]), unit: 0).status == .good)
        #expect(fixture.bytes(0, 500 * 512..<504 * 512) == Array(bytes[3 * 512..<7 * 512]))
        #expect(fixture.bytes(0, 600 * 512..<607 * 512) == Array(bytes[7 * 512..<14 * 512]))
    }

    @Test("The block device zero ROD token writes zeros, which need no storage")
    func zeros() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        #expect(port.writeUsing(TokenList.write(TokenList.zero, offset: 77, [(3, 5), (4000, 9000)])).status == .good)
        #expect(fixture.bytes(1, 3 * 512..<8 * 512).allSatisfy { $0 == 0 })
        #expect(fixture.bytes(1, 4000 * 512..<13000 * 512).allSatisfy { $0 == 0 })
        #expect(fixture.bytes(1, 8 * 512..<9 * 512).contains { $0 != 0 })
        #expect(port.information(2, unit: 1).be64(at: 16) == 9005)
        fixture.disks[1].store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        let failed = port.writeUsing(TokenList.write(TokenList.zero, [(3, 5)]))
        #expect(failed.sense == SenseData(.dataProtect, .spaceAllocationFailed, information: 3))
        #expect(port.information(2, unit: 1)[5] == 0x02)
    }

    // MARK: Validity

    /// Commands that write a block at an address, and the data of each.
    private var writing: [(name: String, command: (UInt64) -> [UInt8], dataOut: (UInt64) -> [UInt8])] {
        typealias Action = DiskDeviceServer.VariableLengthAction
        let block = [UInt8](repeating: 9, count: 512)
        func form(
            _ name: String, _ command: @escaping (UInt64) -> [UInt8]
        ) -> (name: String, command: (UInt64) -> [UInt8], dataOut: (UInt64) -> [UInt8]) {
            (name, command, { _ in block })
        }
        return [
            form("WRITE(6)") { CDB.six(OperationCode.write6, lba: Int($0), count: 1) },
            form("WRITE(10)") { CDB.ten(OperationCode.write10, lba: Int($0), count: 1) },
            form("WRITE(12)") { CDB.twelve(OperationCode.write12, lba: Int($0), count: 1) },
            form("WRITE(16)") { CDB.sixteen(OperationCode.write16, lba: $0, count: 1) },
            form("WRITE(32)") { CDB.thirtyTwo(Action.write32, lba: $0, count: 1) },
            form("WRITE ATOMIC(16)") { CDB.writeAtomic(lba: $0, count: 1) },
            form("WRITE AND VERIFY(10)") { CDB.ten(OperationCode.writeAndVerify10, lba: Int($0), count: 1) },
            form("WRITE AND VERIFY(12)") { CDB.twelve(OperationCode.writeAndVerify12, lba: Int($0), count: 1) },
            form("WRITE AND VERIFY(16)") { CDB.sixteen(OperationCode.writeAndVerify16, lba: $0, count: 1) },
            form("WRITE AND VERIFY(32)") { CDB.thirtyTwo(Action.writeAndVerify32, lba: $0, count: 1) },
            form("ORWRITE(16)") { CDB.sixteen(OperationCode.orWrite16, lba: $0, count: 1) },
            form("WRITE SAME(10)") { CDB.ten(OperationCode.writeSame10, lba: Int($0), count: 1) },
            form("WRITE SAME(16)") { CDB.sixteen(OperationCode.writeSame16, lba: $0, count: 1) },
            form("WRITE SAME(32)") { CDB.thirtyTwo(Action.writeSame32, lba: $0, count: 1) },
            ("UNMAP", { _ in CDB.unmap(length: 40) }, { CDB.unmapList([(1000, 1), ($0, 1)]) }),
            (
                "WRITE LONG(10)", { CDB.ten(OperationCode.writeLong10, lba: Int($0), count: 0, flags: 0x40) },
                { _ in [] }
            ),
            // The block is marked now.
            (
                "REASSIGN BLOCKS", { _ in [OperationCode.reassignBlocks, 0, 0, 0, 0, 0] },
                { [0, 0, 0, 4, 0, 0, UInt8($0 >> 8), UInt8($0 & 0xFF)] }
            ),
            (
                "WRITE LONG(16)",
                { CDB.sixteen(OperationCode.serviceActionOut16, lba: $0, count: 0, flags: 0x51) }, { _ in [] }
            ),
            form("WRITE(10) of a marked block") { CDB.ten(OperationCode.write10, lba: Int($0), count: 1) },
        ]
    }

    @Test("Every command that changes a represented block makes the token invalid before it")
    func changes() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        for (name, command, dataOut) in writing {
            for block in [100, 109, 5000] as [UInt64] {
                // Blocks may be marked: a token of them is made, and cannot be read.
                let token = port.token([(5000, 1), (100, 10)])
                #expect(fixture.disks[0].server.writeGate.isWatched)
                #expect(port.execute(command(block), dataOut: dataOut(block)).status == .good, "\(name)")
                #expect(!fixture.disks[0].server.writeGate.isWatched, "\(name)")
                #expect(port.writeUsing(TokenList.write(token, [(0, 11)])).sense == cancelled, "\(name)")
            }
        }
        let block = [UInt8](repeating: 9, count: 512)
        for (command, dataOut) in [
            (CDB.ten(OperationCode.write10, lba: 99, count: 2), block + block),
            (CDB.ten(OperationCode.writeSame10, lba: 50, count: 100), block),
            (CDB.thirtyTwo(0x0B, lba: 4998, count: 3), block + block + block),
            (CDB.writeAtomic(lba: 99, count: 2), block + block),
        ] {
            let token = port.token([(5000, 1), (100, 10)])
            #expect(port.writeUsing(TokenList.write(token, [(0, 11)])).status == .good)
            #expect(port.execute(command, dataOut: dataOut).status == .good)
            #expect(port.writeUsing(TokenList.write(token, [(0, 11)])).sense == cancelled)
        }
        // COMPARE AND WRITE, and a copy to it.
        let token = port.token([(5000, 1)])
        let present = fixture.bytes(0, 5000 * 512..<5001 * 512)
        #expect(port.execute(CDB.compareAndWrite(lba: 5000, count: 1), dataOut: present + block).status == .good)
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)])).sense == cancelled)
        let other = port.token([(5000, 1)])
        let list = CopyList(fixture.disks, [CopyList.Segment(source: 1, destination: 0, to: 4990, count: 11)])
        #expect(port.copy(list).status == .good)
        #expect(port.writeUsing(TokenList.write(other, [(0, 1)])).sense == cancelled)
    }

    @Test("A change of other blocks, by any command, leaves the token as it is")
    func otherChanges() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(5000, 1), (100, 10)])
        let write = TokenList.write(token, [(0, 11)])
        for (name, command, dataOut) in writing {
            for block in [99, 110, 4999, 5001] as [UInt64] {
                #expect(port.execute(command(block), dataOut: dataOut(block)).status == .good, "\(name)")
            }
            #expect(port.writeUsing(write).status == .good, "\(name)")
        }
        let present = fixture.bytes(0, 5001 * 512..<5002 * 512)
        #expect(port.execute(CDB.compareAndWrite(lba: 5001, count: 1), dataOut: present + present).status == .good)
        #expect(port.execute(CDB.ten(OperationCode.read10, lba: 100, count: 10)).status == .good)
        #expect(port.writeUsing(write).status == .good)
    }

    @Test("A change while the token is used ends the use before anything of it is written")
    func changeInBetween() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 8192)])
        let before = fixture.bytes(1, 0..<8 << 20)
        fixture.engine.hold()
        let list = TokenList.write(token, [(0, 8192)])
        let write = port.submit(CopyCDB.writeUsingToken(2, list.count), unit: 1, dataOut: list)
        // The first piece is copied and the second one read.
        for _ in 0..<2 {
            fixture.settle()
            fixture.engine.step()
        }
        fixture.settle()
        #expect(port.write(8191, [UInt8](repeating: 1, count: 512)).status == .good)
        fixture.engine.release()
        #expect(write.outcome.wait().sense == cancelled)
        #expect(fixture.bytes(1, 0..<1 << 20) == fixture.bytes(0, 0..<1 << 20))
        #expect(fixture.bytes(1, 1 << 20..<8 << 20) == Array(before[1 << 20..<8 << 20]))
        let information = port.information(2, unit: 1)
        #expect(information[5] == 0x02 && information.be64(at: 16) == 2048)
    }

    @Test("A token is not created in the middle of a write")
    func writeInBetween() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        fixture.engine.hold()
        // A write that the lane has.
        let large = [UInt8](repeating: 3, count: 2 << 20)
        let write = port.submit(CDB.ten(OperationCode.write10, lba: 0, count: 4096), dataOut: large)
        fixture.settle()
        let list = TokenList.populate([(0, 4096)])
        let populate = port.submit(CopyCDB.populateToken(1, list.count), dataOut: list)
        fixture.settle()
        #expect(!populate.outcome.hasArrived && !write.outcome.hasArrived)
        // Later writes wait for it, and make the token invalid.
        fixture.engine.release()
        #expect(write.outcome.wait().status == .good)
        #expect(populate.outcome.wait().status == .good)
        let token = Array(port.information(1).suffix(512))
        #expect(port.writeUsing(TokenList.write(token, [(0, 4096)])).status == .good)
        #expect(fixture.bytes(1, 0..<2 << 20) == large)
        // One that waits is aborted.
        fixture.engine.hold()
        let other = port.submit(CDB.ten(OperationCode.write10, lba: 0, count: 4096), dataOut: large)
        fixture.settle()
        let waiting = port.submit(CopyCDB.populateToken(1, list.count), dataOut: list)
        fixture.settle()
        #expect(
            port.port.manage(.abortTask, slot: waiting.slot) {
                fixture.settle()
                fixture.engine.release()
            } == .complete)
        #expect(waiting.outcome.wait().isAborted && other.outcome.wait().status == .good)
        #expect(port.write(0, [UInt8](repeating: 3, count: 512)).status == .good)
        #expect(port.execute(CDB.compareAndWrite(lba: 0, count: 0)).status == .good)
    }

    @Test("A token that was guessed is unknown, whichever byte is wrong")
    func guessed() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 1)])
        let before = fixture.bytes(1, 0..<512)
        for offset in token.indices where !(0..<4).contains(offset) && !(6..<8).contains(offset) {
            var guessed = token
            guessed[offset] ^= 0x01
            #expect(port.writeUsing(TokenList.write(guessed, [(0, 1)])).sense == unknown, "byte \(offset)")
        }
        var other = token
        other[3] = 0x02
        #expect(
            port.writeUsing(TokenList.write(other, [(0, 1)])).sense
                == SenseData(.illegalRequest, .unsupportedTokenType))
        for offset in [6, 7] {
            var short = token
            short[offset] ^= 0x10
            #expect(
                port.writeUsing(TokenList.write(short, [(0, 1)])).sense
                    == SenseData(.illegalRequest, .invalidTokenLength))
        }
        #expect(fixture.bytes(1, 0..<512) == before)
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)])).status == .good)
        // No two tokens have anything in common that could be guessed.
        let second = port.token([(0, 1)])
        #expect(zip(token[256...], second[256...]).count { $0 == $1 } < 16)
    }

    @Test("A token expires when it is not used, and each use begins its time again")
    func expiry() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 1)])
        let long = port.token([(0, 1)], timeout: 600)
        let write = TokenList.write(token, [(0, 1)])
        for _ in 0..<3 {
            fixture.clock.advance(by: .seconds(59), on: [])
            #expect(port.writeUsing(write).status == .good)
        }
        // Also one that writes nothing.
        #expect(port.writeUsing(TokenList.write(token, [(0, 0)])).status == .good)
        fixture.clock.advance(by: .seconds(60), on: [])
        #expect(port.writeUsing(write).sense == SenseData(.illegalRequest, .tokenExpired))
        #expect(port.writeUsing(TokenList.write(long, [(0, 1)])).status == .good)
        #expect(port.populate(TokenList.populate([(0, 1)], timeout: 601)).sense == invalidParameter(4))
        // The next write of the disk finds that there is nothing to watch.
        fixture.clock.advance(by: .seconds(600), on: [])
        #expect(fixture.disks[0].server.writeGate.isWatched)
        #expect(port.write(9, [UInt8](repeating: 1, count: 512)).status == .good)
        #expect(!fixture.disks[0].server.writeGate.isWatched)
    }

    @Test("DEL_TKN deletes a token when it has been used, a failed use does not")
    func deletion() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 1)])
        fixture.disks[1].store.fail(at: 1, errorNumber: Errno.noSpace, fromThenOn: true)
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)], deletes: true)).sense?.key == .dataProtect)
        fixture.disks[1].store.stopFailing()
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)], deletes: true)).status == .good)
        #expect(
            port.writeUsing(TokenList.write(token, [(0, 1)])).sense == SenseData(.illegalRequest, .tokenDeleted))
    }

    @Test("A token ends with its disk, and with a loss of its data; it stays when the disk grows")
    func ends() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        var token = port.token([(0, 1)])
        try fixture.disks[0].server.resize(to: 16 << 20)
        port.port.clearUnitAttentions()
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)])).status == .good)
        fixture.disks[0].store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(fixture.disks[0].image.synchronize() != nil)
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)])).sense == cancelled)
        // Until the loss is acknowledged nobody knows what a token would represent.
        #expect(port.populate(TokenList.populate([(0, 1)])).sense == SenseData(.mediumError, .writeError))
        #expect(fixture.disks[0].server.acknowledgeLoss() == nil)
        token = port.token([(0, 1)])
        fixture.manager.remove(fixture.disks[0].unit)
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)])).sense == cancelled)
    }

    @Test("There are not more valid tokens of a disk than the limit, and room again when some are not valid any more")
    func limit() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let full = SenseData(.illegalRequest, .insufficientResourcesToCreateROD)
        let tokens = (0..<128).map { _ in port.token([(0, 1)]) }
        #expect(port.populate(TokenList.populate([(0, 1)])).sense == full)
        #expect(port.information(1)[5] == 0x02)
        #expect(port.writeUsing(TokenList.write(tokens[0], [(0, 1)])).status == .good)
        #expect(port.write(0, [UInt8](repeating: 1, count: 512)).status == .good)
        // Four times as many records are kept; the oldest goes then.
        for _ in 0..<4 {
            for _ in 0..<128 { _ = port.token([(0, 1)]) }
            #expect(port.write(0, [UInt8](repeating: 1, count: 512)).status == .good)
        }
        #expect(port.writeUsing(TokenList.write(tokens[0], [(0, 1)])).sense == unknown)
    }

    @Test("The token is all that is needed of the source: its reservations and maps do not count, its state does")
    func capability() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 1)])
        let other = fixture.initiator("iqn.2026-11.test:b", target: fixture.disks[1].target)
        #expect(port.execute([OperationCode.reserve6, 0, 0, 0, 0, 0], unit: 0).status == .good)
        #expect(other.writeUsing(TokenList.write(token, [(0, 1)]), unit: 0).status == .good)
        #expect(port.execute([OperationCode.startStopUnit, 0, 0, 0, 0, 0], unit: 0).status == .good)
        let notReady =
            [SCSIStatus.checkCondition.rawValue] + SenseData(.notReady, .initializingCommandRequired).encoded()
        #expect(
            AbortedCopy(other.writeUsing(TokenList.write(token, [(0, 1)]), unit: 0))
                == AbortedCopy(.thirdPartyDeviceFailure, source: notReady))
    }

    // MARK: Parameter lists

    @Test("Lists of POPULATE TOKEN that are wrong, and cut at each byte")
    func populateLists() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let list = TokenList.populate([(1, 2), (5, 6)])
        func outcome(_ offset: Int, _ bytes: [UInt8]) -> SenseData? {
            var changed = list
            changed.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            return port.populate(changed).sense
        }
        let lengthError = SenseData(.illegalRequest, .parameterListLengthError)
        for length in 1..<list.count {
            let result = port.execute(
                CopyCDB.populateToken(1, length), dataOut: Array(list.prefix(length)))
            // Ranges that are not whole are left out.
            if length < 32 { #expect(result.sense == lengthError) } else { #expect(result.status == .good) }
        }
        #expect(port.execute(CopyCDB.populateToken(1, 0)).status == .good)
        #expect(outcome(0, [0, 0x1D]) == invalidParameter(0))
        #expect(outcome(0, [0, 0x2D]) == invalidParameter(0))
        #expect(outcome(0, [0xFF, 0xFF]) == invalidParameter(0))
        #expect(outcome(14, [0, 15]) == invalidParameter(14))
        #expect(outcome(14, [0, 0x30]) == invalidParameter(0))
        #expect(outcome(14, [0, 0x10]) == invalidParameter(0))
        #expect(port.populate(TokenList.populate([(0, 1)], type: 0x0001_0000)).sense == invalidParameter(8))
        for type in [UInt32(0x0080_0000), 0x0080_0002, 0xFFFF_0001, 0] {
            #expect(port.populate(TokenList.populate([(0, 1)], type: type)).sense == invalidParameter(8))
        }
        for type in [UInt32(0x0080_0001), 0x0080_FFFF] {
            #expect(port.populate(TokenList.populate([(0, 1)], type: type)).status == .good)
            #expect(port.information(1).suffix(512).prefix(4) == [0, 0x80, 0, 1])
        }
        for range in [(16384, 1), (16383, 2), (Int.max, 1), (0, 16385)] {
            #expect(port.populate(TokenList.populate([range])).sense == outOfRange)
        }
        for ranges in [[(0, 4), (3, 1)], [(3, 1), (0, 4)], [(0, 4), (0, 4)], [(1, 1), (0, 4)]] {
            #expect(port.populate(TokenList.populate(ranges)).sense == invalidParameter(32))
        }
        let many = (0..<64).map { ($0 * 2, 1) }
        #expect(port.populate(TokenList.populate(many)).status == .good)
        #expect(
            port.populate(TokenList.populate(many + [(1000, 1)])).sense?.additionalSenseCode
                == .tooManySegmentDescriptors)
        #expect(port.execute(CopyCDB.populateToken(1, 8193)).sense == lengthError)
        // A list identifier that is in use is another's.
        #expect(port.execute(CopyCDB.receive(7, 0xFFFF_FFFF)).sense == invalidField(2))
    }

    @Test("Lists of WRITE USING TOKEN that are wrong, and cut at each byte, change nothing")
    func writeLists() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let token = port.token([(0, 8)])
        let list = TokenList.write(token, [(100, 2), (200, 2)])
        let before = fixture.bytes(1, 0..<8 << 20)
        let lengthError = SenseData(.illegalRequest, .parameterListLengthError)
        func outcome(_ offset: Int, _ bytes: [UInt8]) -> SenseData? {
            var changed = list
            changed.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            return port.writeUsing(changed).sense
        }
        for length in 1..<552 {
            let result = port.execute(
                CopyCDB.writeUsingToken(2, length), unit: 1, dataOut: Array(list.prefix(length)))
            #expect(result.sense == lengthError)
        }
        #expect(port.execute(CopyCDB.writeUsingToken(2, 0), unit: 1).status == .good)
        #expect(outcome(0, [0x02, 0x25]) == invalidParameter(0))
        #expect(outcome(0, [0x02, 0x35]) == invalidParameter(0))
        #expect(outcome(534, [0, 0]) == invalidParameter(534))
        #expect(outcome(534, [0, 15]) == invalidParameter(534))
        #expect(outcome(534, [0xFF, 0xFF]) == invalidParameter(0))
        #expect(outcome(536, [0xFF]) == outOfRange)
        #expect(port.writeUsing(TokenList.write(token, [(100, 2), (101, 1)])).sense == invalidParameter(552))
        #expect(port.writeUsing(TokenList.write(TokenList.zero, [(16383, 2)])).sense == outOfRange)
        // The blocks that the token represents would change.
        #expect(port.writeUsing(TokenList.write(token, [(8, 1), (7, 1)]), unit: 0).sense == invalidParameter(552))
        #expect(fixture.bytes(1, 0..<8 << 20) == before)
        #expect(port.writeUsing(TokenList.write(token, [(8, 8)]), unit: 0).status == .good)
        #expect(fixture.bytes(0, 8 * 512..<16 * 512) == fixture.bytes(0, 0..<8 * 512))
        // Bytes that change nothing else are answered.
        for offset in list.indices {
            var changed = list
            changed[offset] ^= 0xFF
            let result = port.writeUsing(changed)
            #expect(result.status == .good || result.status == .checkCondition)
        }
        #expect(fixture.leasedBytes == 0)
    }

    @Test("A write protected disk, a conflict and a read error end WRITE USING TOKEN as they end a WRITE")
    func conditions() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let token = port.token([(2100, 1)])
        let list = TokenList.write(token, [(0, 1)])
        #expect(other.execute([OperationCode.reserve6, 0, 0, 0, 0, 0], unit: 1).status == .good)
        #expect(port.writeUsing(list).status == .reservationConflict)
        #expect(other.execute([OperationCode.release6, 0, 0, 0, 0, 0], unit: 1).status == .good)
        let select: [UInt8] = [0, 0, 0, 0, 0x0A, 0x0A, 0x20, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0]
        #expect(
            other.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(select.count), 0], unit: 1, dataOut: select)
                .status == .good)
        port.port.clearUnitAttentions(logicalUnit: 1)
        #expect(port.writeUsing(list).sense == SenseData(.dataProtect, .softwareWriteProtected))
        #expect(port.writeUsing(TokenList.write(token, [(0, 1)]), unit: 0).status == .good)
        let later = port.token([(2100, 1)])
        #expect(fixture.disks[0].store.truncate(to: 1 << 20) == 0)
        let failed = AbortedCopy(port.writeUsing(TokenList.write(later, [(3, 1)]), unit: 0))
        #expect(failed?.code == .thirdPartyDeviceFailure && failed?.destination == [])
    }
}
