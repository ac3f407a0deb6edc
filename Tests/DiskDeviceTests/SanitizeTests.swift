import Bytes
import DeviceTestSupport
import Foundation
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

/// SANITIZE and FORMAT UNIT as an initiator writes them.
enum OperationCDB {
    static func sanitize(_ action: UInt8, length: Int = 0, immediate: Bool = false, ause: Bool = false) -> [UInt8] {
        [
            OperationCode.sanitize, action | (immediate ? 0x80 : 0) | (ause ? 0x20 : 0), 0, 0, 0, 0, 0,
            UInt8(length >> 8), UInt8(length & 0xFF), 0,
        ]
    }

    static func blockErase(immediate: Bool = false, ause: Bool = false) -> [UInt8] {
        sanitize(0x02, immediate: immediate, ause: ause)
    }

    static let exitFailureMode = sanitize(0x1F)

    static func overwriteList(_ pattern: [UInt8], count: UInt8 = 1, flags: UInt8 = 0) -> [UInt8] {
        [flags | count, 0, UInt8(pattern.count >> 8), UInt8(pattern.count & 0xFF)] + pattern
    }
}

extension DiskInitiator {
    /// What REQUEST SENSE says.
    var polled: SenseData? { SenseData(parsing: execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn.rawSpan) }

    /// Waits until no operation goes on, as an initiator does that polls; at most a minute.
    func waitForOperation(_ sourceLocation: SourceLocation = #_sourceLocation) {
        for _ in 0..<60_000 {
            guard polled?.key == .notReady else { return }
            sleepMilliseconds(1)
        }
        Issue.record("the operation does not end", sourceLocation: sourceLocation)
    }

    /// SANITIZE, OVERWRITE with that parameter list.
    func overwrite(_ list: [UInt8], immediate: Bool = false, ause: Bool = false) -> CommandResult {
        execute(
            OperationCDB.sanitize(0x01, length: list.count, immediate: immediate, ause: ause), dataOut: list)
    }
}

let sanitizing = SenseData(.notReady, .sanitizeInProgress)
let sanitizeFailed = SenseData(.mediumError, .sanitizeCommandFailed)

@Suite("SANITIZE")
struct SanitizeTests {
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    @Test("BLOCK ERASE frees everything, which then reads as zeros, and the page says so")
    func blockErase() throws {
        let fixture = try DiskFixture(blocks: 4096)
        let port = fixture.initiator()
        port.write(0, [UInt8](repeating: 7, count: 8192))
        port.write(4000, [UInt8](repeating: 7, count: 8192))
        #expect(port.execute(OperationCDB.blockErase()).status == .good)
        #expect(port.read(0, 16) == [UInt8](repeating: 0, count: 8192))
        #expect(port.read(4000, 16) == [UInt8](repeating: 0, count: 8192))
        let status = port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 256, flags: 0x12)).dataIn
        // One descriptor, of all blocks, deallocated.
        #expect(status.count == 24 && status.rawSpan.loadBE32(at: 16) == 4096 && status[20] == 1)
        #expect(fixture.image.keptOperation == .none)
        let page = port.execute([OperationCode.inquiry, 1, 0xB1, 0, 64, 0]).dataIn
        // WABEREQ, WACEREQ.
        #expect(page.count == 64 && page[7] >> 4 == 0b0100)
    }

    @Test("OVERWRITE repeats its pattern in every block", arguments: [1, 2, 4, 5, 256, 511, 512])
    func overwrite(length: Int) throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let pattern = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) }
        #expect(port.overwrite(OperationCDB.overwriteList(pattern)).status == .good)
        let block = (0..<512).map { pattern[$0 % length] }
        #expect(port.read(0, 1) == block)
        #expect(port.read(63, 1) == block)
    }

    @Test("With INVERT the passes alternate and the last one writes the pattern", arguments: [1, 2, 3, 31] as [UInt8])
    func inversion(count: UInt8) throws {
        var operation = MediumOperation(.overwrite)
        operation.inverts = true
        operation.passes = count
        operation.pattern = [0x0F, 0x33]
        for pass in 0..<count {
            operation.passesDone = pass
            let isInverted = (count - 1 - pass) % 2 == 1
            #expect(
                operation.content(blockSize: 512, count: 512).prefix(2) == (isInverted ? [0xF0, 0xCC] : [0x0F, 0x33]))
        }
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(
            port.overwrite(OperationCDB.overwriteList([0x0F, 0x33], count: count, flags: 0x80)).status == .good)
        #expect(port.read(5, 1).prefix(2) == [0x0F, 0x33])
    }

    @Test("Parameter lists: lengths, counts, patterns, reserved fields")
    func parameters() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        port.write(0, [UInt8](repeating: 9, count: 512))
        let list = OperationCDB.overwriteList([UInt8](repeating: 1, count: 512))
        for length in 0..<5 {
            #expect(
                port.sense(OperationCDB.sanitize(1, length: length), dataOut: Array(list.prefix(length)))
                    == invalidField(7))
        }
        #expect(port.sense(OperationCDB.sanitize(1, length: 517), dataOut: list + [0]) == invalidField(7))
        #expect(
            port.sense(OperationCDB.sanitize(2, length: 8), dataOut: list)?.additionalSenseCode == .invalidFieldInCDB)
        #expect(
            port.sense(OperationCDB.sanitize(0x1F, length: 8), dataOut: list)?.additionalSenseCode
                == .invalidFieldInCDB)
        let cases: [([UInt8], SenseData)] = [
            ([0x00, 0, 0, 1, 5], invalidParameter(0, bit: 4)),
            ([0x21, 0, 0, 1, 5], invalidParameter(0, bit: 6)),
            ([0x01, 1, 0, 1, 5], invalidParameter(1)),
            ([0x01, 0, 0, 0, 5], invalidParameter(2)),
            ([0x01, 0, 2, 1, 5], invalidParameter(2)),
            ([0x01, 0, 0, 2, 5], SenseData(.illegalRequest, .parameterListLengthError)),
        ]
        for (list, sense) in cases { #expect(port.overwrite(list).sense == sense) }
        // A list cut at any byte is of no use: nothing begins.
        for length in 5..<list.count {
            let result = port.execute(OperationCDB.sanitize(1, length: list.count), dataOut: Array(list.prefix(length)))
            #expect(result.sense?.key == .illegalRequest)
        }
        #expect(port.read(0, 1) == [UInt8](repeating: 9, count: 512))
        #expect(port.sense(OperationCDB.sanitize(3)) == invalidField(1, bit: 4))
        #expect(port.sense(OperationCDB.sanitize(0)) == invalidField(1, bit: 4))
        for byte in 1..<7 {
            var command = OperationCDB.blockErase()
            command[byte] |= 0x40
            #expect(port.sense(command) == invalidField(byte, bit: 6))
        }
        // Nothing has failed: there is nothing to exit.
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
    }

    @Test("While it goes on, commands are refused with the progress, whatever is aborted or reset")
    func inProgress() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 4096, engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        port.write(0, [UInt8](repeating: 7, count: 512))
        engine.hold()
        let list = OperationCDB.overwriteList([0xAA])
        let (slot, outcome) = port.submit(OperationCDB.sanitize(1, length: list.count), dataOut: list)
        fixture.settle()
        let refused: [[UInt8]] = [
            testUnitReady, CDB.ten(OperationCode.read10, lba: 0, count: 1),
            CDB.ten(OperationCode.write10, lba: 0, count: 1), [OperationCode.startStopUnit, 0, 0, 0, 1, 0],
            // LOEJ, which a fixed disk does not have.
            [OperationCode.startStopUnit, 1, 0, 0, 0x12, 0],
            CDB.ten(OperationCode.readCapacity10, lba: 0, count: 0), [OperationCode.modeSense6, 0, 0x3F, 0, 255, 0],
            [OperationCode.reserve6, 0, 0, 0, 0, 0], OperationCDB.blockErase(), OperationCDB.exitFailureMode,
            [OperationCode.formatUnit, 0, 0, 0, 0, 0], [OperationCode.persistentReserveIn, 0, 0, 0, 0, 0, 0, 0, 8, 0],
        ]
        for command in refused {
            let sense = other.sense(command, dataOut: [UInt8](repeating: 1, count: 512))
            #expect(sense?.key == .notReady && sense?.additionalSenseCode == .sanitizeInProgress, "\(command)")
            #expect(sense?.progress != nil)
        }
        #expect(other.polled?.additionalSenseCode == .sanitizeInProgress)
        #expect(other.execute([OperationCode.inquiry, 0, 0, 0, 36, 0]).status == .good)
        #expect(other.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]).status == .good)
        #expect(other.execute([OperationCode.logSense, 0, 0, 0, 0, 0, 0, 0, 255, 0]).status == .good)
        // The note is kept, and the operation begins.
        engine.step()
        fixture.settle()
        #expect(!outcome.hasArrived)
        _ = port.port.manage(.abortTask, slot: slot)
        #expect(outcome.wait().isAborted)
        _ = other.port.manage(.logicalUnitReset)
        port.port.clearUnitAttentions()
        other.port.clearUnitAttentions()
        #expect(port.sense(testUnitReady)?.additionalSenseCode == .sanitizeInProgress)
        engine.release()
        other.waitForOperation()
        #expect(other.execute(testUnitReady).status == .good)
        #expect(other.read(4095, 1) == [UInt8](repeating: 0xAA, count: 512))
    }

    @Test("An abort while the operation is being kept does not end it")
    func abortedWhileKept() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 64, engine: engine)
        let port = fixture.initiator()
        port.write(0, [UInt8](repeating: 7, count: 512))
        engine.hold()
        let (slot, outcome) = port.submit(OperationCDB.blockErase())
        fixture.settle()
        _ = port.port.manage(.abortTask, slot: slot) { engine.release() }
        #expect(outcome.wait().isAborted)
        port.waitForOperation()
        #expect(port.read(0, 1) == [UInt8](repeating: 0, count: 512))
        // The gate is open.
        #expect(port.write(0, [UInt8](repeating: 1, count: 512)).status == .good)
    }

    @Test("IMMED answers when the parameters are checked and the operation is kept")
    func immediate() throws {
        let fixture = try DiskFixture(blocks: 4096)
        let port = fixture.initiator()
        port.write(0, [UInt8](repeating: 7, count: 512))
        #expect(port.execute(OperationCDB.blockErase(immediate: true)).status == .good)
        port.waitForOperation()
        #expect(port.read(0, 1) == [UInt8](repeating: 0, count: 512))
    }

    @Test("A write that had passed the checks is not performed in the middle of the operation")
    func lateWrite() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 64, engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        other.port.onReactor { other.port.withholdsDataOut = true }
        let (slot, outcome) = other.submit(
            CDB.ten(OperationCode.write10, lba: 0, count: 1), dataOut: [UInt8](repeating: 5, count: 512))
        fixture.settle()
        engine.hold()
        let erasure = port.submit(OperationCDB.blockErase(immediate: true)).outcome
        fixture.settle()
        // Before the operation is kept it has not begun.
        #expect(!erasure.hasArrived)
        engine.step()
        #expect(erasure.wait().status == .good)
        other.port.sendDataOut(slot)
        fixture.settle()
        engine.release()
        #expect(outcome.wait().sense?.additionalSenseCode == .sanitizeInProgress)
        port.waitForOperation()
        #expect(port.read(0, 1) == [UInt8](repeating: 0, count: 512))
    }

    @Test("Write protection and reservations of others keep it from beginning")
    func refused() throws {
        let fixture = try DiskFixture(blocks: 64, isReadOnly: true)
        let protected = SenseData(.dataProtect, .writeProtected)
        #expect(fixture.initiator().sense(OperationCDB.blockErase()) == protected)
        #expect(fixture.initiator().sense([OperationCode.formatUnit, 0, 0, 0, 0, 0]) == protected)
        let writable = try DiskFixture(blocks: 64)
        let port = writable.initiator()
        let other = writable.initiator("iqn.2026-11.test:b", on: writable.otherReactor)
        #expect(other.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(port.execute(OperationCDB.blockErase()).status == .reservationConflict)
        #expect(port.overwrite(OperationCDB.overwriteList([1])).status == .reservationConflict)
        #expect(other.execute([OperationCode.startStopUnit, 0, 0, 0, 0, 0]).status == .good)
        #expect(other.sense(OperationCDB.blockErase()) == SenseData(.notReady, .initializingCommandRequired))
    }

    @Test("An operation that cannot be kept does not begin")
    func unkept() throws {
        let store = SimulatedStore([UInt8](repeating: 3, count: 64 * 512))
        store.keepsNotes = false
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let port = fixture.initiator()
        #expect(port.sense(OperationCDB.blockErase())?.key == .mediumError)
        #expect(port.execute(testUnitReady).status == .good)
        #expect(port.read(0, 1) == [UInt8](repeating: 3, count: 512))
    }

    @Test("A pattern is kept in its shortest form")
    func shortestPattern() {
        #expect(DiskDeviceServer.shortest([5, 5, 5, 5], 512) == [5])
        #expect(DiskDeviceServer.shortest([1, 2, 1, 2], 512) == [1, 2])
        // In a block of 512 bytes these begin anew after three.
        #expect(DiskDeviceServer.shortest([1, 2, 1], 512) == [1, 2, 1])
        #expect(DiskDeviceServer.shortest([1, 2, 1], 3) == [1, 2])
        #expect(DiskDeviceServer.shortest([1, 2, 3], 512) == [1, 2, 3])
        var random = SeededRandom(seed: 4)
        for _ in 0..<200 {
            let pattern = (0..<Int.random(in: 1...16, using: &random)).map { _ in
                UInt8.random(in: 0...1, using: &random)
            }
            let short = DiskDeviceServer.shortest(pattern, 16)
            #expect((0..<16).map { short[$0 % short.count] } == (0..<16).map { pattern[$0 % pattern.count] })
        }
    }
}
