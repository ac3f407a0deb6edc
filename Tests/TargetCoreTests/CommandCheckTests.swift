import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@Suite("Checks before a command's own")
struct CommandCheckTests {
    @Test("A new nexus learns of the power on once, and INQUIRY and REPORT LUNS do not take it away")
    func unitAttentionOnce() throws {
        let fixture = UnitFixture()
        let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor)
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good)
        #expect(port.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]).status == .good)
        #expect(port.clearUnitAttentions() == [.powerOnOrReset])
        let other = InMemoryPort("iqn.2026-11.test:b", target: fixture.target, reactor: fixture.otherReactor)
        #expect(other.clearUnitAttentions() == [.powerOnOrReset])
        #expect(port.clearUnitAttentions() == [])
    }

    @Test("REQUEST SENSE takes the unit attention with GOOD")
    func requestSense() throws {
        let fixture = UnitFixture()
        let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor)
        let result = port.execute([OperationCode.requestSense, 0, 0, 0, 252, 0])
        #expect(result.status == .good)
        #expect(SenseData(parsing: result.dataIn.rawSpan)?.additionalSenseCode == .powerOnOrReset)
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
    }

    @Test("A deferred error reaches the nexuses with buffered writes, once, instead of a command being performed")
    func deferredError() throws {
        let fixture = UnitFixture()
        let writer = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        let loss = SenseData(.mediumError, .writeError)
        for nexus in fixture.device.attachedNexuses.all where nexus.iTNexus.initiatorPort.name == "iqn.2026-11.test:a" {
            nexus.hasBufferedWrites = true
        }
        fixture.device.attachedNexuses.establishDeferredError(loss)
        #expect(writer.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good)
        #expect(writer.execute([ExampleDevice.take, 0, 0, 0, 2, 0], dataOut: [1, 2]).sense == loss.deferred)
        #expect(fixture.device.taken.isEmpty)
        #expect(writer.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(other.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
        #expect(loss.deferred.encoded().first == 0x71)
        #expect(loss.deferred.encoded(isDescriptorFormat: true).first == 0x73)
        fixture.device.attachedNexuses.establishDeferredError(loss)
        let polled = writer.execute([OperationCode.requestSense, 0, 0, 0, 252, 0])
        #expect(SenseData(parsing: polled.dataIn.rawSpan) == loss.deferred)
    }

    @Test("Unit attentions are bounded, and then one says it all")
    func unitAttentionLimit() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        for qualifier in 0..<20 {
            fixture.device.attachedNexuses.establishUnitAttention(AdditionalSenseCode(0x2A, UInt8(qualifier)))
        }
        let codes = port.clearUnitAttentions()
        #expect(codes.count <= ITLNexus.maximumUnitAttentions)
        #expect(codes.first == .powerOnOrReset)
    }

    @Test(
        "An unknown operation code, and a bit that must be zero, are named exactly",
        arguments: [
            ([0xFF, 0, 0, 0, 0, 0], AdditionalSenseCode.invalidCommandOperationCode, 0, nil as UInt8?),
            ([OperationCode.testUnitReady, 0, 0, 1, 0, 0], .invalidFieldInCDB, 3, 0),
            ([OperationCode.testUnitReady, 0x80, 0, 0, 0, 0], .invalidFieldInCDB, 1, 7),
            ([OperationCode.testUnitReady, 0, 0, 0, 0, 0x02], .invalidFieldInCDB, 5, 1),
            ([OperationCode.maintenanceIn, 0x1F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], .invalidFieldInCDB, 1, 4),
        ])
    func fields(command: [UInt8], code: AdditionalSenseCode, byte: Int, bit: UInt8?) throws {
        let port = UnitFixture().initiator()
        let sense = try #require(port.execute(command).sense)
        #expect(sense.key == .illegalRequest)
        #expect(sense.additionalSenseCode == code)
        #expect(sense.fieldPointer == FieldPointer(isInCommand: true, byte: UInt16(byte), bit: bit))
    }

    @Test("A reservation keeps others out, and ends with its nexus")
    func reservation() throws {
        let fixture = UnitFixture()
        let first = fixture.initiator("iqn.2026-11.test:a")
        let second = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(first.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(first.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(second.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .reservationConflict)
        #expect(second.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .reservationConflict)
        #expect(second.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good)
        #expect(second.execute([OperationCode.release6, 0, 0, 0, 0, 0]).status == .good)
        #expect(second.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .reservationConflict)
        first.logOut()
        #expect(second.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
    }

    @Test("A unit that is not ready, or protected, refuses what needs it")
    func conditions() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        fixture.device.isReady = false
        #expect(
            port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).sense == SenseData(.notReady, .mediumNotPresent))
        #expect(port.execute([OperationCode.modeSense6, 0, 0x3F, 0, 255, 0]).status == .good)
        fixture.device.isReady = true
        fixture.device.isProtected = true
        let result = port.execute([ExampleDevice.take, 0, 0, 0, 2, 0], dataOut: [1, 2])
        #expect(result.sense == SenseData(.dataProtect, .writeProtected))
        #expect(fixture.device.taken.isEmpty)
    }

    @Test("Data-Out arrives whole; less than the command needs changes nothing; more is not taken")
    func dataOut() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        #expect(port.execute([ExampleDevice.take, 0, 0, 0, 3, 0], dataOut: [1, 2, 3]).status == .good)
        #expect(port.execute([ExampleDevice.take, 0, 0, 0, 2, 0], dataOut: [1, 2, 3]).status == .good)
        #expect(port.execute([ExampleDevice.take, 0, 0, 0, 0, 0]).status == .good)
        let short = port.execute([ExampleDevice.take, 0, 0, 0, 3, 0], dataOut: [1])
        #expect(short.sense?.additionalSenseCode == .invalidFieldInCommandInformationUnit)
        #expect(fixture.device.taken == [[1, 2, 3], [1, 2], []])
    }

    @Test("A number without a unit answers INQUIRY with qualifier 011b and refuses the rest")
    func absentUnit() throws {
        let port = UnitFixture().initiator()
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0], logicalUnit: 5).dataIn.first == 0x7F)
        #expect(
            port.execute([OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0], logicalUnit: 5).status == .good)
        let sense = port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0], logicalUnit: 5).sense
        #expect(sense == SenseData(.illegalRequest, .logicalUnitNotSupported))
        #expect(port.manage(.logicalUnitReset, logicalUnit: 5) == .incorrectLogicalUnitNumber)
    }
}
