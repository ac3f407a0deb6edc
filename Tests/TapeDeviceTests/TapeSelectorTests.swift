import Bytes
import DeviceTestSupport
import Media
import SCSI
import TargetCore
import Testing

@testable import TapeDevice

/// What a field selects is what comes, and what is told is told to each nexus.
@Suite("Selectors and reports")
struct TapeSelectorTests {
    private func readAttribute(_ fixture: TapeFixture, first: UInt16) -> CommandResult {
        var block: [UInt8] = [OperationCode.readAttribute, 0, 0, 0, 0, 0, 0, 0]
        block.appendBE16(first)
        block.appendBE32(0x8000)
        return fixture.port.execute(block + [0, 0])
    }

    @Test("READ ATTRIBUTE of an attribute that there is not is refused at the identifier", arguments: [0x0806, 0x0220])
    func firstAttribute(identifier: UInt16) throws {
        let fixture = try TapeFixture()
        let result = readAttribute(fixture, first: identifier)
        #expect(text(result) == "5/2400")
        #expect(result.sense?.fieldPointer == FieldPointer(isInCommand: true, byte: 8))
        #expect(result.dataIn == [])
    }

    private func alerts(
        _ port: InMemoryPort, pointer: UInt16 = 0, allocationLength: UInt16 = 1024, expecting: Int = 1 << 16
    ) -> CommandResult {
        var block: [UInt8] = [OperationCode.logSense, 0, 0x6E, 0, 0]
        block.appendBE16(pointer)
        block.appendBE16(allocationLength)
        return port.execute(block + [0], expecting: expecting)
    }

    /// The flags that are set in a whole page.
    private func flags(_ port: InMemoryPort) -> [Int] {
        let page = alerts(port).dataIn
        return (1...64).filter { page[4 + ($0 - 1) * 5 + 4] != 0 }
    }

    @Test("Each nexus is told of a TapeAlert flag once, also one that logs in later")
    func alertsByNexus() throws {
        let fixture = try TapeFixture()
        let second = fixture.secondPort()
        second.clearUnitAttentions()
        fixture.drive.alerts.raise(.readFailure)
        #expect(flags(fixture.port) == [5])
        #expect(flags(fixture.port) == [])
        #expect(flags(second) == [5])
        #expect(flags(second) == [])
        let third = InMemoryPort("iqn.1994-05.com.example:c", target: fixture.target, reactor: fixture.reactor)
        third.clearUnitAttentions()
        #expect(flags(third) == [5], "it is still active")
        fixture.drive.alerts.raise(.readFailure)
        #expect(flags(fixture.port) == [5], "it was activated again")
        // The medium leaves, and its flags with it.
        #expect(fixture.remove() == .removed(nil))
        #expect(flags(second) == [])
        second.logOut()
        third.logOut()
    }

    @Test("A flag that was not sent stays: refused, cut off, or before the parameter pointer")
    func alertsNotSent() throws {
        let fixture = try TapeFixture()
        fixture.drive.alerts.raise(.readFailure)
        #expect(text(alerts(fixture.port, pointer: 100)) == "5/2400")
        // Nothing, the header alone, flags 1 to 4 and most of flag 5; what the initiator does not take.
        for length in [0, 4, 28] as [UInt16] {
            #expect(alerts(fixture.port, allocationLength: length).dataIn.count == Int(length))
        }
        #expect(alerts(fixture.port, expecting: 28).dataIn.count == 28)
        #expect(alerts(fixture.port, pointer: 6).dataIn.count == 4 + 59 * 5)
        #expect(flags(fixture.port) == [5])
        fixture.drive.alerts.raise(.readFailure)
        let page = alerts(fixture.port, pointer: 5, allocationLength: 9).dataIn
        #expect(page[4...] == [0, 5, 3, 1, 1])
        #expect(flags(fixture.port) == [])
    }

    @Test("MAM attribute 0002h has TapeAlert flag 1 in its most significant bit, whoever knows of the flag")
    func alertAttribute() throws {
        let fixture = try TapeFixture()
        fixture.drive.alerts.raise(.media)
        fixture.drive.alerts.raise(.writeFailure)
        _ = flags(fixture.port)
        let attribute = readAttribute(fixture, first: 0x0002).dataIn
        #expect(attribute[9..<17] == [0b0001_0100, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("REQUEST SENSE says why the drive is not ready")
    func polledSense() throws {
        let fixture = try TapeFixture()
        func requestSense() -> [UInt8] {
            let data = fixture.port.execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn
            return [data[2] & 0x0F, data[12], data[13]]
        }
        #expect(requestSense() == [0, 0, 0])
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0, 0])) == "good")
        #expect(requestSense() == [2, 0x3A, 0])
        #expect(text(fixture.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x09, 0])) == "good")
        #expect(requestSense() == [2, 0x04, 0x02])
        #expect(fixture.remove() == .removed(nil))
        #expect(requestSense() == [2, 0x3A, 0])
    }
}
