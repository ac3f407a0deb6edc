import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice
@testable import Media

/// Commands whose requests are in the lane while the disk becomes one without protection information.
@Suite("FORMAT UNIT to no protection information while commands are in the lane")
struct FormatProtectionLaneTests {
    private let engine = SimulatedEngine()
    private let formerProtection = SenseData(.unitAttention, .inquiryDataHasChanged)

    /// What commands end with that are in the lane of a disk with type 1, full of the same bytes, when it has none any
    /// more.
    private func results(_ commands: [[UInt8]], dataOut: [UInt8] = []) throws -> [CommandResult] {
        let fixture = try DiskFixture(blocks: 64, engine: engine, protection: .type1, changesProtection: true)
        let port = fixture.initiator()
        #expect(port.write(0, [UInt8](repeating: 7, count: 64 * 512)).status == .good)
        engine.hold()
        let outcomes = commands.map { port.submit($0, dataOut: dataOut).outcome }
        fixture.settle()
        #expect(fixture.image.changeProtection(to: nil) == nil)
        engine.run { fixture.settle() }
        engine.release()
        return outcomes.map { $0.wait() }
    }

    @Test("what moves user data alone is done without any")
    func plain() throws {
        let results = try results([
            CDB.sixteen(OperationCode.verify16, lba: 0, count: 64), CDB.ten(OperationCode.read10, lba: 5, count: 1),
            CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x08),
            CDB.ten(OperationCode.prefetch10, lba: 5, count: 1),
        ])
        #expect(results.map(\.status) == [.good, .good, .good, .conditionMet])
        #expect(results[1].dataIn == [UInt8](repeating: 7, count: 512) && results[2].dataIn == results[1].dataIn)
    }

    @Test("what moves it with user data ends with INQUIRY DATA HAS CHANGED, and never with blocks of another length")
    func interleaved() throws {
        let read = try results([CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x20)])
        #expect(read.map(\.sense) == [formerProtection] && read[0].dataIn.isEmpty)
        // What is in memory comes no faster than the change.
        let durable = try results([CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x28)])
        #expect(durable.map(\.sense) == [formerProtection] && durable[0].dataIn.isEmpty)
        let verify = try results(
            [CDB.ten(OperationCode.verify10, lba: 5, count: 1, flags: 0x62)],
            dataOut: [UInt8](repeating: 7, count: 520))
        #expect(verify.map(\.sense) == [formerProtection])
    }

    @Test("a READ with FUA that has waited for a whole format operation ends so too")
    func afterwards() throws {
        for type in [nil, ProtectionType.type3] {
            let fixture = try DiskFixture(blocks: 64, engine: engine, protection: .type1, changesProtection: true)
            let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
            engine.hang(fixture.image.lane)
            let read = port.submit(CDB.ten(OperationCode.read10, lba: 5, count: 1, flags: 0x28)).outcome
            fixture.settle()
            #expect(engine.hangingCount == 1)
            #expect(fixture.image.changeProtection(to: type) == nil)
            fixture.unit.adoptProtection(except: nil)
            engine.resume(fixture.image.lane)
            #expect(read.wait().sense == formerProtection)
            #expect(other.port.clearUnitAttentions().contains(.inquiryDataHasChanged))
        }
    }
}
