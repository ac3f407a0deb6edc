import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("FORMAT UNIT")
struct FormatTests {
    /// FORMAT UNIT with that byte 1.
    private func format(_ flags: UInt8) -> [UInt8] { [OperationCode.formatUnit, flags, 0, 0, 0, 0] }

    private let lengthError = SenseData(.illegalRequest, .parameterListLengthError)

    @Test("Without a list, and with an empty short or long one, all blocks read as zeros")
    func defaults() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        let lists: [(UInt8, [UInt8])] = [
            (0x00, []), (0x10, [0, 0, 0, 0]), (0x18, [0, 0, 0, 0]), (0x30, [0, 0, 0, 0, 0, 0, 0, 0]),
            (0x10, [0, 0x80, 0, 0]), (0x10, [0, 0xF0, 0, 0]), (0x10, [0, 0x88, 0, 0, 0, 0, 0, 0]),
        ]
        for (flags, list) in lists {
            port.write(0, [UInt8](repeating: 7, count: 512))
            #expect(port.execute(format(flags), dataOut: list).status == .good)
            #expect(port.read(0, 1) == [UInt8](repeating: 0, count: 512))
        }
    }

    @Test("An initialization pattern is repeated in every block; SI changes nothing")
    func patterns() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        #expect(port.execute(format(0x10), dataOut: [0, 0x88, 0, 0, 0x20, 1, 0, 2, 0xAB, 0xCD]).status == .good)
        #expect(port.read(63, 1) == (0..<512).map { $0 % 2 == 0 ? 0xAB : 0xCD })
        #expect(
            port.execute(format(0x30), dataOut: [0, 0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x5A]).status == .good)
        #expect(port.read(0, 1) == [UInt8](repeating: 0x5A, count: 512))
        // Zeros take no storage.
        #expect(port.execute(format(0x10), dataOut: [0, 0x88, 0, 0, 0, 1, 0, 1, 0]).status == .good)
        let status = port.execute(CDB.sixteen(OperationCode.serviceActionIn16, lba: 0, count: 24, flags: 0x12)).dataIn
        #expect(status[20] == 1)
    }

    @Test(
        "What cannot be done is refused by its place",
        arguments: [
            (0x40, [], invalidField(1, bit: 6)),
            (0x08, [], invalidField(1, bit: 3)),
            (0x20, [], invalidField(1, bit: 5)),
            (0x05, [], invalidField(1, bit: 2)),
            (0x10, [0x01, 0, 0, 0], invalidParameter(0, bit: 2)),
            (0x10, [0x80, 0, 0, 0], invalidParameter(0, bit: 7)),
            (0x10, [0, 0x01, 0, 0], invalidParameter(1, bit: 0)),
            (0x10, [0, 0x04, 0, 0], invalidParameter(1, bit: 2)),
            (0x10, [0, 0x40, 0, 0], invalidParameter(1, bit: 6)),
            (0x10, [0, 0x08, 0, 0], invalidParameter(1, bit: 3)),
            (0x10, [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0], invalidParameter(2)),
            (0x30, [0, 0, 1, 0, 0, 0, 0, 0], invalidParameter(2)),
            (0x30, [0, 0, 0, 0x10, 0, 0, 0, 0], invalidParameter(3, bit: 7)),
            (0x30, [0, 0, 0, 0x01, 0, 0, 0, 0], invalidParameter(3, bit: 3)),
            (0x30, [0, 0, 0, 0, 0, 0, 0, 4], invalidParameter(4)),
            (0x10, [0, 0x88, 0, 0, 0x40, 1, 0, 1, 1], invalidParameter(4, bit: 6)),
            (0x10, [0, 0x88, 0, 0, 0, 2, 0, 1, 1], invalidParameter(5)),
            (0x10, [0, 0x88, 0, 0, 0, 0, 0, 1, 1], invalidParameter(6)),
            (0x10, [0, 0x88, 0, 0, 0, 1, 0, 0, 1], invalidParameter(6)),
            (0x10, [0, 0x88, 0, 0, 0, 1, 2, 1, 1], invalidParameter(6)),
        ] as [(UInt8, [UInt8], SenseData)])
    func refusals(flags: UInt8, list: [UInt8], sense: SenseData) throws {
        let port = try DiskFixture(blocks: 64).initiator()
        port.write(0, [UInt8](repeating: 7, count: 512))
        #expect(port.sense(format(flags), dataOut: list) == sense)
        #expect(port.read(0, 1) == [UInt8](repeating: 7, count: 512))
    }

    @Test("A list that is cut at any byte is refused and changes nothing")
    func cutLists() throws {
        let port = try DiskFixture(blocks: 64).initiator()
        port.write(0, [UInt8](repeating: 7, count: 512))
        let short: [UInt8] = [0, 0x88, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]
        for length in 0..<short.count {
            #expect(port.sense(format(0x10), dataOut: Array(short.prefix(length))) == lengthError)
        }
        let long: [UInt8] = [0, 0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]
        for length in 0..<long.count {
            #expect(port.sense(format(0x30), dataOut: Array(long.prefix(length))) == lengthError)
        }
        #expect(port.read(0, 1) == [UInt8](repeating: 7, count: 512))
    }

    @Test("With IMMED it goes on in the background, and says so")
    func immediate() throws {
        let engine = SimulatedEngine()
        let fixture = try DiskFixture(blocks: 64, engine: engine)
        let port = fixture.initiator()
        engine.hold()
        let outcome = port.submit(format(0x10), dataOut: [0, 0x02, 0, 0]).outcome
        fixture.settle()
        engine.step()
        #expect(outcome.wait().status == .good)
        let sense = port.sense([OperationCode.testUnitReady, 0, 0, 0, 0, 0])
        #expect(sense?.key == .notReady && sense?.additionalSenseCode == .formatInProgress && sense?.progress == 0)
        #expect(port.polled?.additionalSenseCode == .formatInProgress)
        engine.release()
        port.waitForOperation()
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
    }
}
