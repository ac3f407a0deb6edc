import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("Timestamp, identifying information and priorities")
struct UnitParameterTests {
    // MARK: Timestamp

    private func timestamp(_ port: InMemoryPort) -> (origin: UInt8, milliseconds: UInt64) {
        let data = port.maintenanceIn(0x0F).dataIn
        return (data[2], data[4..<10].reduce(0) { $0 << 8 | UInt64($1) })
    }

    private func setTimestamp(_ milliseconds: UInt64) -> [UInt8] {
        var list: [UInt8] = [0, 0, 0, 0]
        list.appendBE16(UInt16(milliseconds >> 32))
        list.appendBE32(UInt32(truncatingIfNeeded: milliseconds))
        return list + [0, 0]
    }

    @Test("The timestamp is the host's until it is set, goes on from there, and the others learn of that")
    func timestamps() {
        let fixture = UnitFixture()
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        let data = port.maintenanceIn(0x0F).dataIn
        #expect(data.count == 12 && Array(data[0..<4]) == [0, 10, 3, 0])
        let before = UInt64(CalendarTime.current().seconds) * 1000
        #expect((before...before + 60_000).contains(timestamp(port).milliseconds))
        #expect(port.maintenanceIn(0x0F, length: 4).dataIn == Array(data.prefix(4)))
        #expect(port.maintenanceOut(0x0F, setTimestamp(0x0123_4567_89AB)).status == .good)
        #expect(other.clearUnitAttentions() == [.timestampChanged] && timestamp(other).origin == 2)
        let (origin, milliseconds) = timestamp(port)
        #expect(origin == 2 && milliseconds >= 0x0123_4567_89AB && milliseconds < 0x0123_4567_89AB + 60_000)
        // A reset leaves it alone (SPC-5 clause 5.2).
        #expect(port.manage(.logicalUnitReset) == .complete)
        port.clearUnitAttentions()
        #expect(timestamp(port).origin == 2)
    }

    @Test("SET TIMESTAMP tells the others by TIMESTAMP CHANGED, and refuses lists of other lengths")
    func setTimestamps() {
        let fixture = UnitFixture()
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(port.maintenanceOut(0x0F, []).status == .good && timestamp(port).origin == 3)
        for length in 1..<12 {
            let sense = port.maintenanceOut(0x0F, Array(setTimestamp(7).prefix(length))).sense
            #expect(sense == SenseData(.illegalRequest, .parameterListLengthError))
        }
        #expect(
            port.maintenanceOut(0x0F, setTimestamp(7) + [0]).sense?.additionalSenseCode == .parameterListLengthError)
        let lie = port.maintenanceOut(0x0F, Array(setTimestamp(7).prefix(5)), length: 12)
        #expect(lie.sense?.key == .illegalRequest && timestamp(port).origin == 3)
        #expect(other.clearUnitAttentions() == [])
        #expect(port.maintenanceOut(0x0F, setTimestamp(0xFFFF_FFFF_FFFF)).status == .good)
        #expect(port.clearUnitAttentions() == [] && other.clearUnitAttentions() == [.timestampChanged])
    }

    // MARK: What was kept

    @Test("What was kept and is longer or more than commands could have set is left out")
    func tooLong() {
        func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 1, count: count) }
        var kept: [KeptParameter: [UInt8]] = [
            KeptParameter(.identifyingInformation, 0): bytes(70_000),
            KeptParameter(.identifyingInformation, 2): bytes(256),
            KeptParameter(.identifyingInformation, 1): bytes(1), KeptParameter(.selfTests): bytes(321),
            KeptParameter(.applicationLog, 0): bytes(253),
        ]
        for code in UInt16(1)...300 { kept[KeptParameter(.applicationLog, code)] = bytes(252) }
        let fixture = UnitFixture()
        fixture.device.commonLogPages = [.applicationClient, .selfTestResults]
        fixture.unit.keepParameters(with: ParameterStore(kept))
        let port = fixture.initiator()
        #expect(port.maintenanceIn(0x05).dataIn == [0, 0, 0, 0])
        #expect(port.maintenanceIn(0x05, tenth: 4).dataIn.count == 260)
        let log = logParameters(port.logSense(0x0F).dataIn)
        #expect(log.keys.sorted() == Array(0...63) && log[63]?.value == bytes(252))
        #expect(log[0]?.value == [UInt8](repeating: 0, count: 252))
        #expect(logParameters(port.logSense(0x10).dataIn)[1]?.value == [UInt8](repeating: 0, count: 16))
    }

    // MARK: Identifying information

    @Test("Identifying information is kept by its type, and reported; the others learn of a change")
    func identifyingInformation() {
        let store = ParameterStore()
        let fixture = UnitFixture()
        fixture.unit.keepParameters(with: store)
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(port.maintenanceIn(0x05).dataIn == [0, 0, 0, 0])
        // IDENTIFYING INFORMATION TYPE 7Fh: the supported ones and their lengths.
        #expect(port.maintenanceIn(0x05, tenth: 0xFE).dataIn == [0, 0, 0, 8, 0, 0, 2, 0, 4, 0, 1, 0])
        #expect(port.maintenanceOut(0x06, [1, 2, 3]).status == .good)
        #expect(port.maintenanceOut(0x06, Array("disk\0".utf8), tenth: 4).status == .good)
        #expect(port.maintenanceIn(0x05).dataIn == [0, 0, 0, 3, 1, 2, 3])
        #expect(other.clearUnitAttentions() == [.deviceIdentifierChanged])
        #expect(other.maintenanceIn(0x05, tenth: 4).dataIn == [0, 0, 0, 5] + Array("disk\0".utf8))
        #expect(port.maintenanceIn(0x05, length: 5).dataIn == [0, 0, 0, 3, 1])
        #expect(port.manage(.logicalUnitReset) == .complete)
        let again = UnitFixture()
        again.unit.keepParameters(with: ParameterStore(store.kept))
        #expect(again.initiator().maintenanceIn(0x05).dataIn == [0, 0, 0, 3, 1, 2, 3])
        // Without a parameter list it is removed.
        port.clearUnitAttentions()
        #expect(port.maintenanceOut(0x06, []).status == .good && port.maintenanceIn(0x05).dataIn == [0, 0, 0, 0])
        #expect(store.kept.keys.map(\.number) == [2])
    }

    @Test("Too much, text without its end, and unknown types are refused where they are wrong")
    func wrongInformation() {
        let port = UnitFixture().initiator()
        #expect(port.maintenanceOut(0x06, [UInt8](repeating: 7, count: 512)).status == .good)
        #expect(port.maintenanceOut(0x06, [UInt8](repeating: 7, count: 513)).sense == .invalidField(byte: 6))
        #expect(port.maintenanceOut(0x06, [], length: Int(UInt32.max)).sense == .invalidField(byte: 6))
        #expect(port.maintenanceOut(0x06, [UInt8](repeating: 0, count: 257), tenth: 4).sense == .invalidField(byte: 6))
        #expect(port.maintenanceOut(0x06, Array("disk".utf8), tenth: 4).sense == .invalidParameter(byte: 3))
        #expect(port.maintenanceOut(0x06, [0], tenth: 2).sense == .invalidField(byte: 10, bit: 7))
        #expect(port.maintenanceIn(0x05, tenth: 6).sense == .invalidField(byte: 10, bit: 7))
        #expect(port.maintenanceIn(0x05, tenth: 1).sense == .invalidField(byte: 10, bit: 0))
        #expect(port.maintenanceIn(0x05).dataIn.count == 4 + 512)
    }

    // MARK: Priorities

    @Test("Priorities of their own are for so many nexuses, others get INSUFFICIENT RESOURCES, and lose nothing")
    func priorityLimit() {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        func set(_ priority: UInt8, scope: UInt8 = 0x40) -> CommandResult {
            port.maintenanceOut(0x0E, [priority] + [UInt8](repeating: 0, count: 7), second: scope)
        }
        for number in 0..<NexusPriorities.limit {
            let other = Registrant(
                TransportID(bytes: InMemoryPort.transportID(of: "iqn.2026-11.test:\(number)")), target: "t",
                targetPort: 1)
            #expect(fixture.unit.priorities.set(2, of: other) == true)
        }
        #expect(set(3).sense == SenseData(.illegalRequest, .insufficientResources))
        // To have none of its own needs no room, and SET PRIORITY for all makes some.
        #expect(set(0).status == .good)
        #expect(set(1, scope: 0x80).status == .good)
        #expect(set(3).status == .good)
        #expect(port.maintenanceIn(0x0E).dataIn[4] == 3)
    }

    private func descriptor(_ priority: UInt8, _ initiator: String) -> [UInt8] {
        let transportID = InMemoryPort.transportID(of: initiator)
        var bytes: [UInt8] = [priority, 0, 0, 1, 0, 0]
        bytes.appendBE16(UInt16(transportID.count))
        return bytes + transportID
    }

    private func report(_ descriptors: [UInt8]...) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(descriptors.map(\.count).reduce(0, +)))
        return bytes + descriptors.flatMap { $0 }
    }

    @Test("SET PRIORITY for a named nexus, its own, and all; REPORT PRIORITY says what is set")
    func priorities() {
        let fixture = UnitFixture()
        let (a, b) = ("iqn.2026-11.test:a", "iqn.2026-11.test:b")
        let (port, other) = (fixture.initiator(a), fixture.initiator(b))
        #expect(port.maintenanceIn(0x0E).dataIn == report(descriptor(0, a)))
        #expect(port.maintenanceIn(0x0E, second: 0x40).dataIn == report())
        #expect(port.maintenanceOut(0x0E, descriptor(5, b)).status == .good)
        #expect(other.clearUnitAttentions() == [.priorityChanged])
        #expect(other.maintenanceIn(0x0E).dataIn == report(descriptor(5, b)))
        #expect(port.maintenanceIn(0x0E, second: 0x40).dataIn == report(descriptor(5, b)))
        #expect(port.maintenanceOut(0x0E, [9, 0, 0, 0, 0, 0, 0, 0], second: 0x40).status == .good)
        #expect(port.maintenanceIn(0x0E).dataIn == report(descriptor(9, a)) && other.clearUnitAttentions() == [])
        #expect(port.maintenanceOut(0x0E, [3, 0, 0, 0, 0, 0, 0, 0], second: 0x80).status == .good)
        #expect(other.clearUnitAttentions() == [.priorityChanged])
        #expect(port.maintenanceIn(0x0E, second: 0x40).dataIn.count == 4 + 2 * descriptor(3, a).count)
        #expect(port.manage(.logicalUnitReset) == .complete)
        port.clearUnitAttentions()
        #expect(port.maintenanceIn(0x0E, second: 0x40).dataIn == report())
    }

    @Test("A parameter list of SET PRIORITY that is cut or lies is refused, and changes nothing")
    func wrongPriorities() {
        let fixture = UnitFixture()
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        let list = descriptor(5, "iqn.2026-11.test:b")
        #expect(port.maintenanceOut(0x0E, []).status == .good)
        for length in 1..<list.count {
            let sense = port.maintenanceOut(0x0E, Array(list.prefix(length))).sense
            #expect(sense == SenseData(.illegalRequest, .parameterListLengthError), "\(length) bytes")
        }
        #expect(port.maintenanceOut(0x0E, [0x15] + list.dropFirst()).sense == .invalidParameter(byte: 0, bit: 7))
        #expect(port.maintenanceOut(0x0E, descriptor(5, "iqn.2026-11.test:c")).sense == .invalidParameter(byte: 8))
        #expect(port.maintenanceOut(0x0E, [5, 0, 0, 1, 0, 0, 0, 0]).sense == .invalidParameter(byte: 6))
        #expect(port.maintenanceOut(0x0E, list, second: 0xC0).sense == .invalidField(byte: 2, bit: 7))
        #expect(port.maintenanceOut(0x0E, [], length: 1 << 24).sense?.additionalSenseCode == .parameterListLengthError)
        #expect(port.maintenanceIn(0x0E, second: 0x80).sense == .invalidField(byte: 2, bit: 7))
        #expect(other.clearUnitAttentions() == [] && port.maintenanceIn(0x0E, second: 0x40).dataIn == report())
    }

    @Test("REPORT ALIASES and CHANGE ALIASES are refused by their service action")
    func aliases() {
        let port = UnitFixture().initiator()
        #expect(port.maintenanceIn(0x0B).sense == .invalidField(byte: 1, bit: 4))
        #expect(port.maintenanceOut(0x0B, [0, 0, 0, 0]).sense == .invalidField(byte: 1, bit: 4))
    }
}
