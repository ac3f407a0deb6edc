import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import Testing

@testable import TapeDevice

@Suite("Cartridges come and go")
struct TapeMediumTests {
    private static let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private static let load: [UInt8] = [OperationCode.loadUnload, 0, 0, 0, 1, 0]
    private static let unload: [UInt8] = [OperationCode.loadUnload, 0, 0, 0, 0, 0]
    private static func prevent(_ value: UInt8) -> [UInt8] {
        [OperationCode.preventAllowMediumRemoval, 0, 0, 0, value, 0]
    }

    @Test("Without a medium")
    func noMedium() throws {
        let fixture = try TapeFixture(capacity: nil)
        fixture.port.clearUnitAttentions()
        for command: [UInt8] in [
            Self.testUnitReady, [OperationCode.rewind, 0, 0, 0, 0, 0], [OperationCode.read6, 0, 0, 0, 1, 0],
            [OperationCode.writeFilemarks6, 0, 0, 0, 1, 0],
            [OperationCode.readPosition, 0, 0, 0, 0, 0, 0, 0, 0, 0], Self.load, Self.unload,
            [OperationCode.reportDensitySupport, 1, 0, 0, 0, 0, 0, 0, 255, 0],
        ] {
            #expect(text(fixture.port.execute(command)) == "2/3A00", "\(command)")
        }
        for command: [UInt8] in [
            [OperationCode.readBlockLimits, 0, 0, 0, 0, 0], [OperationCode.inquiry, 0, 0, 0, 96, 0],
            [OperationCode.modeSense6, 0, 0x3F, 0, 255, 0],
            [OperationCode.reportDensitySupport, 0, 0, 0, 0, 0, 0, 0, 255, 0],
            [OperationCode.logSense, 0, 0x6E, 0, 0, 0, 0, 1, 0, 0],
        ] {
            #expect(text(fixture.port.execute(command)) == "good", "\(command)")
        }
        #expect(fixture.remove() == .empty)
    }

    @Test("A loaded cartridge is announced to every nexus once")
    func announced() throws {
        let fixture = try TapeFixture(capacity: nil)
        let second = fixture.secondPort()
        fixture.port.clearUnitAttentions()
        second.clearUnitAttentions()
        try fixture.store.create(barcode: "A00001L8", capacity: 1 << 20, densityCode: 0x5E)
        #expect(fixture.insert("A00001L8") == nil)
        #expect(fixture.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(second.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "good")
        #expect(text(second.execute(Self.testUnitReady)) == "good")
        second.logOut()
    }

    @Test("UNLOAD, then LOAD: every nexus learns of it")
    func unloadAndLoad() throws {
        let fixture = try TapeFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        #expect(text(fixture.write([1, 2, 3])) == "good")
        #expect(text(fixture.port.execute(Self.unload)) == "good")
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "2/3A00")
        #expect(text(fixture.port.execute(Self.unload)) == "good")
        #expect(text(fixture.port.execute(Self.load)) == "good")
        #expect(fixture.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(second.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "good")
        #expect(fixture.position == 0)
        #expect(fixture.read(3).dataIn == [1, 2, 3])
        second.logOut()
    }

    @Test("HOLD keeps the cartridge unthreaded; EOT is refused")
    func hold() throws {
        let fixture = try TapeFixture()
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x08, 0])) == "good")
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "2/0402")
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x09, 0])) == "good")
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "2/0402")
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x03, 0])) == "good")
        #expect(fixture.port.clearUnitAttentions() == [.mediumMayHaveChanged])
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "good")
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x04, 0])) == "5/2400")
    }

    @Test("PREVENT holds the cartridge against initiators and robot")
    func prevention() throws {
        let fixture = try TapeFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        #expect(text(fixture.port.execute(Self.prevent(1))) == "good")
        #expect(text(second.execute(Self.unload)) == "5/5302")
        #expect(text(fixture.port.execute(Self.unload)) == "5/5302")
        #expect(fixture.remove() == .prevented)
        #expect(text(fixture.port.execute(Self.prevent(3))) == "5/2400")
        #expect(text(fixture.port.execute(Self.prevent(0))) == "good")
        #expect(fixture.remove() == .removed(nil))
        // A nexus that is lost prevents nothing.
        #expect(fixture.insert(TapeFixture.barcode) == nil)
        second.clearUnitAttentions()
        #expect(text(second.execute(Self.prevent(1))) == "good")
        second.logOut()
        #expect(fixture.remove() == .removed(nil))
    }

    @Test("The robot waits for the command that runs; what ended with GOOD is on the cartridge")
    func robotWaits() throws {
        let fixture = try TapeFixture()
        let good = Lock(0)
        let block = [UInt8](repeating: 1, count: 1 << 20)
        for _ in 0..<8 {
            fixture.port.submit([OperationCode.write6, 0, 0x10, 0, 0, 0], dataOut: block) { result in
                if result.status == .good { good.withLock { $0 += 1 } }
            }
        }
        #expect(fixture.remove() == .removed(nil))
        #expect(fixture.insert(TapeFixture.barcode) == nil)
        fixture.port.clearUnitAttentions()
        #expect(text(fixture.space(3, 0)) == "good")
        #expect(fixture.position == UInt64(good.withLock { $0 }))
    }

    @Test("Cartridges that cannot be used say why")
    func unusable() throws {
        let fixture = try TapeFixture(capacity: nil)
        fixture.port.clearUnitAttentions()
        #expect(fixture.insert("MISSING1") == .missing(barcode: "MISSING1"))
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "4/5300")
        #expect(fixture.remove() == .removed(nil))
        try fixture.store.create(barcode: "A00001L6", capacity: 1 << 20, densityCode: 0x5A)
        #expect(fixture.insert("A00001L6") == nil)
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "3/3002")
        #expect(fixture.remove() == .removed(nil))
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "2/3A00")
    }

    @Test("Write protection by the tab and by SWP")
    func writeProtection() throws {
        let fixture = try TapeFixture()
        #expect(text(fixture.write([1])) == "good")
        fixture.setWriteProtected(true)
        #expect(text(fixture.write([1])) == "7/2701")
        #expect(text(fixture.filemarks(1)) == "7/2701")
        #expect(text(fixture.port.execute([OperationCode.erase6, 0, 0, 0, 0, 0])) == "7/2701")
        #expect(fixture.port.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn[2] == 0x90)
        fixture.setWriteProtected(false)
        var page = fixture.port.execute([OperationCode.modeSense6, 8, 0x10, 0, 255, 0]).dataIn
        page[0] = 0
        page[4 + 10] |= 0x04
        #expect(
            text(fixture.port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(page.count), 0], dataOut: page))
                == "good")
        #expect(text(fixture.write([1])) == "7/2702")
        #expect(fixture.port.manage(.logicalUnitReset) == .complete)
        fixture.port.clearUnitAttentions()
        #expect(text(fixture.write([1])) == "good")
    }

    @Test("WORM media grow at their end only")
    func worm() throws {
        let fixture = try TapeFixture(capacity: nil)
        try fixture.store.create(barcode: "W00001L8", capacity: 1 << 20, densityCode: 0x5E, isWORM: true)
        #expect(fixture.insert("W00001L8") == nil)
        fixture.port.clearUnitAttentions()
        // MEDIUM TYPE is that of WORM media of the format.
        #expect(fixture.port.execute([OperationCode.modeSense6, 0, 0, 0, 12, 0]).dataIn[1] == 0x8C)
        #expect(text(fixture.write([1])) == "good")
        #expect(text(fixture.filemarks(1)) == "good")
        #expect(text(fixture.rewind()) == "good")
        #expect(text(fixture.write([2])) == "7/300C")
        #expect(text(fixture.filemarks(1)) == "7/300C")
        #expect(text(fixture.locate(1)) == "good")
        #expect(text(fixture.write([2])) == "good")
    }

    @Test("A command that is aborted while it waits for the medium lets go of everything")
    func abort() throws {
        let fixture = try TapeFixture()
        let slot = fixture.port.submit(
            [OperationCode.write6, 0, 0x80, 0, 0, 0], dataOut: [UInt8](repeating: 1, count: 1 << 23)
        ) { _ in }
        _ = fixture.port.manage(.abortTask, slot: slot)
        #expect(text(fixture.port.execute(Self.testUnitReady)) == "good")
        #expect(text(fixture.rewind()) == "good")
        #expect(fixture.reactorLeases == 0)
    }

    @Test("Buffered mode 0 makes every WRITE durable")
    func unbuffered() throws {
        let fixture = try TapeFixture()
        #expect(text(fixture.setBlockLength(0, bufferedMode: 0)) == "good")
        #expect(text(fixture.write([1, 2])) == "good")
        #expect(fixture.isDurable)
        #expect(text(fixture.setBlockLength(0, bufferedMode: 1)) == "good")
        #expect(text(fixture.write([1, 2])) == "good")
        #expect(!fixture.isDurable)
        #expect(text(fixture.filemarks(0, immediate: false)) == "good")
        #expect(fixture.isDurable)
    }
}

extension TapeFixture {
    /// The bytes that leases of the reactor's pool hold.
    var reactorLeases: Int { onReactor { [reactor] in reactor.pool.leasedBytes } }

    /// Whether the loaded cartridge has everything on the device.
    var isDurable: Bool { onReactor { [drive] in drive.readyCartridge?.isDurable ?? false } }

    /// Moves the tab of the loaded cartridge.
    func setWriteProtected(_ isWriteProtected: Bool) {
        port.onReactor { [drive] in drive.readyCartridge?.isWriteProtected = isWriteProtected }
    }
}

@Suite("A robot under a writer")
struct MovedMediumTests {
    @Test(
        "A WRITE whose data comes after the robot has changed the cartridge writes on neither",
        arguments: [true, false])
    func movedUnderWrite(takesUnitAttention: Bool) throws {
        let fixture = try TapeFixture()
        let other = "T00002L8"
        try fixture.store.create(barcode: other, capacity: 64 << 20, densityCode: 0x5E)
        #expect(fixture.remove() == .removed(nil))
        fixture.insert(other)
        fixture.port.clearUnitAttentions()
        let kept = [UInt8](repeating: 7, count: 4096)
        #expect(fixture.write(kept).status == .good)
        #expect(fixture.filemarks(1, immediate: false).status == .good)
        #expect(fixture.remove() == .removed(nil))
        fixture.insert(TapeFixture.barcode)
        fixture.port.clearUnitAttentions()

        let port = fixture.port
        port.onReactor { port.withholdsDataOut = true }
        let outcome = Lock<CommandResult?>(nil)
        let slot = port.submit(
            [OperationCode.write6, 0, 0, 0x10, 0, 0], dataOut: [UInt8](repeating: 9, count: 4096)
        ) { result in outcome.withLock { $0 = result } }
        #expect(port.owesDataOut(slot))
        // The robot does not wait for an initiator that owes data.
        #expect(fixture.remove() == .removed(nil))
        fixture.insert(other)
        if takesUnitAttention {
            // REQUEST SENSE passes the queue and takes the unit attention.
            _ = port.execute([OperationCode.requestSense, 0, 0, 0, 252, 0])
        }
        port.sendDataOut(slot)
        #expect(outcome.withLock { $0?.sense } == SenseData(.unitAttention, .mediumMayHaveChanged))
        port.clearUnitAttentions()
        #expect(fixture.read(4096).dataIn == kept)
    }
}
