import Bytes
import DeviceTestSupport
import SCSI
import Testing

@testable import TargetCore

@Suite("REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS")
struct TargetPortGroupTests {
    private let fixture = UnitFixture()

    @Test("INQUIRY says TPGS 11b where there are the commands, and only there; the port's designators are its own")
    func support() {
        #expect(fixture.initiator("a", port: 1).execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn[5] == 0x30)
        let bridge = Target(name: "iqn.2026-11.dev.carousel:bridge", alias: "", homeReactor: nil)
        bridge.map(LogicalUnit(ExampleDevice(hasWildcard: true)), at: 0)
        let port = InMemoryPort("iqn.2026-11.test:a", target: bridge, reactor: fixture.reactor)
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).dataIn[5] == 0)
        let page = fixture.initiator("b", port: 2).execute([OperationCode.inquiry, 1, 0x83, 1, 0, 0]).dataIn
        for designator: [UInt8] in [[0x51, 0x94, 0, 4, 0, 0, 0, 2], [0x51, 0x95, 0, 4, 0, 0, 0, 2]] {
            #expect(page.indices.contains { page[$0...].starts(with: designator) })
        }
    }

    @Test("the parameter data have a descriptor of each group that has ports, with both headers")
    func report() {
        let kept = [
            AccessStateRecord(group: 0x102, state: .standby, isPreferred: true, cause: .implicit),
            AccessStateRecord(group: 1, state: .activeNonOptimized, transitionTime: 30, cause: .explicit),
            // Without ports.
            AccessStateRecord(group: 7, state: .unavailable, transitionTime: 200),
        ]
        fixture.unit.attachedNexuses.keepAccessStates(with: AccessKeeper(kept))
        let port = fixture.initiator("a", port: 1, of: [1, 0x102])
        let descriptors: [UInt8] = [
            0x01, 0xCF, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1,  //
            0x82, 0xCF, 1, 2, 0, 2, 0, 1, 0, 0, 1, 2,
        ]
        #expect(port.reportTargetPortGroups().dataIn == [0, 0, 0, 24] + descriptors)
        let extended = port.reportTargetPortGroups(format: 1).dataIn
        // FORMAT TYPE 001b, and the longest time of the groups that are there.
        #expect(extended == [0, 0, 0, 28, 0x10, 30, 0, 0] + descriptors)
        for length in 0...40 {
            let cut = port.reportTargetPortGroups(format: 1, allocationLength: UInt32(length))
            #expect(cut.status == .good && cut.dataIn == Array(extended.prefix(length)))
        }
        for format in UInt8(2)...7 {
            #expect(port.reportTargetPortGroups(format: format).sense == .invalidField(byte: 1, bit: 7))
        }
        let reserved = [OperationCode.maintenanceIn, 0x0A, 0, 0, 1, 0, 0, 0, 0, 255, 0, 0]
        #expect(port.execute(reserved).sense == .invalidField(byte: 4, bit: 0))
        // The port that is used has not gone, although its portal may have.
        let old = fixture.initiator("b", port: 7, of: [1])
        #expect(old.accessStates() == [1: 1, 7: 3])
    }

    @Test("of states that could not be read all groups are unavailable, and no change is kept")
    func unreadable() {
        let keeper = AccessKeeper(isReadable: false)
        fixture.unit.attachedNexuses.keepAccessStates(with: keeper)
        let port = fixture.initiator("a", port: 1)
        #expect(port.accessStates() == [1: 3, 2: 3])
        #expect(port.setTargetPortGroups([(0, 1)]).sense?.key == .hardwareError)
        #expect(port.accessStates() == [1: 3, 2: 3] && keeper.records.count == 1)
        #expect(fixture.setAccessState(1, .activeOptimized) == .unkept)
    }

    @Test("the initiator's changes have STATUS CODE 01h, leave preference and time as they are, and are in force")
    func set() {
        let port = fixture.initiator("a", port: 1)
        fixture.setAccessState(2, .activeOptimized, isPreferred: true)
        port.clearUnitAttentions()
        #expect(port.reportTargetPortGroups().dataIn.suffix(12).prefix(6) == [0x80, 0xCF, 0, 2, 0, 0])
        #expect(port.setTargetPortGroups([(1, 1), (0xF2, 2)]).status == .good, "reserved bits say nothing")
        let data = port.reportTargetPortGroups().dataIn
        #expect(
            Array(data[4...]) == [1, 0xCF, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0x82, 0xCF, 0, 2, 0, 1, 0, 1, 0, 0, 0, 2])
        #expect(port.setTargetPortGroups([(0xE, 2)]).status == .good)
        #expect(port.accessStates() == [1: 1, 2: 0xE])
        #expect(port.setTargetPortGroups([(3, 2)]).status == .good)
        #expect(port.accessStates() == [1: 1, 2: 3])
    }

    @Test("what cannot be is refused with the field, and changes nothing")
    func refusals() {
        let port = fixture.initiator("a", port: 1)
        var cases: [([(UInt8, UInt16)], SenseData)] = [
            ([(0, 3)], .invalidParameter(byte: 6)), ([(1, 1), (0xE, 3)], .invalidParameter(byte: 10)),
            ([(1, 0)], .invalidParameter(byte: 6)), ([(1, 1), (2, 1)], .invalidParameter(byte: 10)),
            ([(1, 1), (1, 1)], .invalidParameter(byte: 10)), ([(1, 2), (0xE, 2)], .invalidParameter(byte: 10)),
            ([(0xE, 1), (0xE, 2)], .invalidParameter(byte: 4, bit: 3)),
        ]
        for state in [UInt8(4), 0xF] + Array(5...0xD) {
            cases.append(([(1, 2), (state, 1)], .invalidParameter(byte: 8, bit: 3)))
        }
        for (states, sense) in cases {
            #expect(port.setTargetPortGroups(states).sense == sense, "\(states)")
            #expect(port.accessStates() == [1: 0, 2: 0])
        }
        // One after another they cannot all go offline either.
        #expect(port.setTargetPortGroups([(0xE, 2)]).status == .good)
        #expect(port.setTargetPortGroups([(0xE, 1)]).sense == .invalidParameter(byte: 4, bit: 3))
    }

    @Test("a parameter list of another length than whole descriptors, or too long, is refused; an empty one is none")
    func lengths() {
        let port = fixture.initiator("a", port: 1)
        let list = InMemoryPort.setTargetPortGroupsList([(1, 1), (1, 2)])
        for length in 0...list.count + 1 {
            let result = port.execute(
                InMemoryPort.setTargetPortGroupsCommand(length: length), dataOut: Array(list.prefix(length)))
            if length % 4 != 0 {
                #expect(result.sense == .invalidField(byte: 6), "\(length)")
            } else {
                #expect(result.status == .good, "\(length)")
            }
            #expect(port.accessStates() == [1: length < 8 ? 0 : 1, 2: length < 12 ? 0 : 1])
        }
        // Less than the CDB says comes.
        for length in 1..<list.count {
            let result = port.execute(
                InMemoryPort.setTargetPortGroupsCommand(length: list.count), dataOut: Array(list.prefix(length)))
            #expect(result.sense == SenseData(.illegalRequest, .invalidFieldInCommandInformationUnit))
        }
        for length in [1 << 20, Int(UInt32.max) - 3, 4 * 258] {
            let command = InMemoryPort.setTargetPortGroupsCommand(length: length)
            #expect(port.execute(command, dataOut: list).sense == .invalidField(byte: 6))
        }
    }

    @Test("both are listed, with their bits")
    func listed() {
        let port = fixture.initiator("a", port: 1)
        for (code, usage) in [(OperationCode.maintenanceIn, UInt8(0xEA)), (OperationCode.maintenanceOut, 0x0A)] {
            let report = port.execute([OperationCode.maintenanceIn, 0x0C, 2, code, 0, 0x0A, 0, 0, 0, 64, 0, 0]).dataIn
            #expect(report == [0, 3, 0, 12, code, usage, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0x04])
        }
    }
}
