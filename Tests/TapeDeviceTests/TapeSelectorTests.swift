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
    private func readAttribute(_ bench: TapeBench, first: UInt16) -> CommandResult {
        var block: [UInt8] = [OperationCode.readAttribute, 0, 0, 0, 0, 0, 0, 0]
        block.appendBE16(first)
        block.appendBE32(0x8000)
        return bench.port.execute(block + [0, 0])
    }

    @Test("READ ATTRIBUTE of an attribute that there is not is refused at the identifier", arguments: [0x0806, 0x0220])
    func firstAttribute(identifier: UInt16) throws {
        let bench = try TapeBench()
        let result = readAttribute(bench, first: identifier)
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
        let bench = try TapeBench()
        let second = bench.secondPort()
        second.clearUnitAttentions()
        bench.drive.alerts.raise(.readFailure)
        #expect(flags(bench.port) == [5])
        #expect(flags(bench.port) == [])
        #expect(flags(second) == [5])
        #expect(flags(second) == [])
        let third = InMemoryPort("iqn.1994-05.com.example:c", target: bench.target, reactor: bench.reactor)
        third.clearUnitAttentions()
        #expect(flags(third) == [5], "it is still active")
        bench.drive.alerts.raise(.readFailure)
        #expect(flags(bench.port) == [5], "it was activated again")
        // The medium leaves, and its flags with it.
        #expect(bench.remove() == .removed(nil))
        #expect(flags(second) == [])
        second.logOut()
        third.logOut()
    }

    @Test("A flag that was not sent stays: refused, cut off, or before the parameter pointer")
    func alertsNotSent() throws {
        let bench = try TapeBench()
        bench.drive.alerts.raise(.readFailure)
        #expect(text(alerts(bench.port, pointer: 100)) == "5/2400")
        // Nothing, the header alone, flags 1 to 4 and most of flag 5; what the initiator does not take.
        for length in [0, 4, 28] as [UInt16] {
            #expect(alerts(bench.port, allocationLength: length).dataIn.count == Int(length))
        }
        #expect(alerts(bench.port, expecting: 28).dataIn.count == 28)
        #expect(alerts(bench.port, pointer: 6).dataIn.count == 4 + 59 * 5)
        #expect(flags(bench.port) == [5])
        bench.drive.alerts.raise(.readFailure)
        let page = alerts(bench.port, pointer: 5, allocationLength: 9).dataIn
        #expect(page[4...] == [0, 5, 3, 1, 1])
        #expect(flags(bench.port) == [])
    }

    @Test("MAM attribute 0002h has TapeAlert flag 1 in its most significant bit, whoever knows of the flag")
    func alertAttribute() throws {
        let bench = try TapeBench()
        bench.drive.alerts.raise(.media)
        bench.drive.alerts.raise(.writeFailure)
        _ = flags(bench.port)
        let attribute = readAttribute(bench, first: 0x0002).dataIn
        #expect(attribute[9..<17] == [0b0001_0100, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("REQUEST SENSE says why the drive is not ready")
    func polledSense() throws {
        let bench = try TapeBench()
        func requestSense() -> [UInt8] {
            let data = bench.port.execute([OperationCode.requestSense, 0, 0, 0, 18, 0]).dataIn
            return [data[2] & 0x0F, data[12], data[13]]
        }
        #expect(requestSense() == [0, 0, 0])
        #expect(text(bench.port.execute([OperationCode.loadUnload, 0, 0, 0, 0, 0])) == "good")
        #expect(requestSense() == [2, 0x3A, 0])
        #expect(text(bench.port.execute([OperationCode.loadUnload, 0, 0, 0, 0x09, 0])) == "good")
        #expect(requestSense() == [2, 0x04, 0x02])
        #expect(bench.remove() == .removed(nil))
        #expect(requestSense() == [2, 0x3A, 0])
    }
}
