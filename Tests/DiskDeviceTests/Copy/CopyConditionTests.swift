import Bytes
import DeviceTestSupport
import Media
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

@Suite("What a copy may reach, and what ends it")
struct CopyConditionTests {
    private typealias Segment = CopyList.Segment
    private let owner = NexusOwner(initiatorName: "iqn.2026-11.test:a", user: "alice", address: "192.0.2.1")

    private func list(_ fixture: CopyFixture, count: Int = 1) -> CopyList {
        CopyList(fixture.disks, [Segment(count: count)])
    }

    // MARK: Reach

    @Test("A disk of another target is reached by who has a session with it: name, CHAP user and address are the same")
    func owners() throws {
        let fixture = try CopyFixture()
        let unreachable = AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48])
        let port = fixture.initiator(target: fixture.disks[0].target, owner: owner)
        #expect(AbortedCopy(port.copy(list(fixture))) == unreachable)
        let others = [
            NexusOwner(initiatorName: "iqn.2026-11.test:b", user: "alice", address: "192.0.2.1"),
            NexusOwner(initiatorName: "iqn.2026-11.test:a", user: "bob", address: "192.0.2.1"),
            NexusOwner(initiatorName: "iqn.2026-11.test:a", user: nil, address: "192.0.2.1"),
            NexusOwner(initiatorName: "iqn.2026-11.test:a", user: "alice", address: "192.0.2.2"), nil,
        ].map { fixture.initiator(target: fixture.disks[1].target, on: fixture.otherReactor, owner: $0) }
        #expect(AbortedCopy(port.copy(list(fixture))) == unreachable)
        let own = fixture.initiator(target: fixture.disks[1].target, on: fixture.otherReactor, owner: owner)
        #expect(port.copy(list(fixture)).status == .good)
        #expect(fixture.bytes(1, 0..<512) == fixture.bytes(0, 0..<512))
        own.port.logOut()
        #expect(AbortedCopy(port.copy(list(fixture))) == unreachable)
        // Who says nothing of himself is nobody's other session.
        let unknown = fixture.initiator(target: fixture.disks[0].target)
        #expect(AbortedCopy(unknown.copy(list(fixture))) == unreachable)
        withExtendedLifetime(others) {}
    }

    @Test("A unit of the initiator's own map is reached, even when it was never addressed; one of another map is not")
    func maps() throws {
        let fixture = try CopyFixture()
        let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.reactor)
        port.clearUnitAttentions(logicalUnit: 0)
        let initiator = CopyInitiator(fixture: fixture, port: port)
        #expect(initiator.copy(list(fixture)).status == .good)
        let map = LogicalUnitMap()
        fixture.target.map(fixture.disks[0].unit, at: 0, of: map)
        let restricted = InMemoryPort(
            "iqn.2026-11.test:b", target: fixture.target, logicalUnits: map, reactor: fixture.reactor)
        restricted.clearUnitAttentions(logicalUnit: 0)
        #expect(
            AbortedCopy(CopyInitiator(fixture: fixture, port: restricted).copy(list(fixture)))
                == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48]))
    }

    @Test("A disk that is gone is not found")
    func removed() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        fixture.manager.remove(fixture.disks[1].unit)
        #expect(
            AbortedCopy(port.copy(list(fixture))) == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48]))
        #expect(fixture.manager.add(fixture.disks[1].unit))
        #expect(port.copy(list(fixture)).status == .good)
        // The identifier is taken.
        let double = LogicalUnit(
            DiskDeviceServer(image: fixture.disks[0].image, identity: fixture.disks[1].server.identity))
        #expect(!fixture.manager.add(double))
    }

    // MARK: Conditions

    @Test("A reservation of another nexus is a CSCD command failure, with the status that it had")
    func reservations() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let conflict: [UInt8] = [SCSIStatus.reservationConflict.rawValue]
        let reserve: [UInt8] = [OperationCode.reserve6, 0, 0, 0, 0, 0]
        let release: [UInt8] = [OperationCode.release6, 0, 0, 0, 0, 0]
        #expect(other.execute(reserve, unit: 1).status == .good)
        #expect(
            AbortedCopy(port.copy(list(fixture)))
                == AbortedCopy(.thirdPartyDeviceFailure, pointer: [0, 48], destination: conflict))
        let back = CopyList(fixture.disks, [Segment(source: 1, destination: 0, count: 1)])
        #expect(
            AbortedCopy(port.copy(back))
                == AbortedCopy(.thirdPartyDeviceFailure, pointer: [0, 48], source: conflict))
        #expect(other.copy(back, unit: 1).status == .good)
        #expect(other.execute(release, unit: 1).status == .good)
        #expect(port.copy(list(fixture)).status == .good)
        // The unit that gets the command refuses it as a whole.
        #expect(other.execute(reserve, unit: 0).status == .good)
        #expect(port.copy(list(fixture)).status == .reservationConflict)
        #expect(port.execute(CopyCDB.receive(3)).status == .good)
    }

    @Test("A unit that is not ready, or write protected")
    func states() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let stop: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 0, 0]
        let start: [UInt8] = [OperationCode.startStopUnit, 0, 0, 0, 1, 0]
        let notReady =
            [SCSIStatus.checkCondition.rawValue]
            + SenseData(.notReady, .initializingCommandRequired).encoded()
        #expect(port.execute(stop, unit: 0).status == .good)
        #expect(
            AbortedCopy(port.copy(list(fixture)))
                == AbortedCopy(.thirdPartyDeviceFailure, pointer: [0, 16], source: notReady))
        // The copy manager of a unit that is stopped copies between others.
        let others = CopyList([fixture.disks[1]], [Segment(destination: 0, from: 1, to: 2, count: 1)])
        #expect(port.copy(others).status == .good)
        #expect(port.execute(start, unit: 0).status == .good)
        #expect(port.execute(stop, unit: 1).status == .good)
        #expect(
            AbortedCopy(port.copy(list(fixture)))
                == AbortedCopy(.thirdPartyDeviceFailure, pointer: [0, 48], destination: notReady))
        #expect(port.execute(start, unit: 1).status == .good)
        // SWP.
        let select: [UInt8] = [0, 0, 0, 0, 0x0A, 0x0A, 0x20, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0]
        #expect(
            port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(select.count), 0], unit: 1, dataOut: select)
                .status == .good)
        let protected =
            [SCSIStatus.checkCondition.rawValue] + SenseData(.dataProtect, .softwareWriteProtected).encoded()
        #expect(
            AbortedCopy(port.copy(list(fixture)))
                == AbortedCopy(.thirdPartyDeviceFailure, pointer: [0, 48], destination: protected))
        #expect(port.copy(CopyList(fixture.disks, [Segment(source: 1, destination: 0, count: 1)])).status == .good)
    }

    @Test("A host that cannot write: the sense data of the destination, and what is not written")
    func writeFailures() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        for (code, sense) in [
            (Errno.noSpace, SenseData(.dataProtect, .spaceAllocationFailed, information: 2048 + 7)),
            (Errno.inputOutput, SenseData(.mediumError, .writeError, information: 2048 + 7)),
        ] {
            fixture.disks[1].store.fail(at: 2, errorNumber: code, fromThenOn: true)
            let list = CopyList(fixture.disks, [Segment(count: 0), Segment(to: 7, count: 6000)])
            #expect(
                AbortedCopy(port.copy(list))
                    == AbortedCopy(
                        .thirdPartyDeviceFailure, segment: 1, pointer: [0, 48], residual: 6000 - 2048,
                        destination: [SCSIStatus.checkCondition.rawValue] + sense.encoded()))
            fixture.disks[1].store.stopFailing()
        }
        #expect(port.copy(list(fixture)).status == .good)
        #expect(fixture.leasedBytes == 0)
    }

    @Test("A source whose file was cut is a MEDIUM ERROR of the source")
    func readFailure() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        #expect(fixture.disks[0].store.truncate(to: 1 << 20) == 0)
        let list = CopyList(fixture.disks, [Segment(from: 2000, count: 100)])
        #expect(
            AbortedCopy(port.copy(list))
                == AbortedCopy(
                    .thirdPartyDeviceFailure, pointer: [0, 16],
                    source: [SCSIStatus.checkCondition.rawValue]
                        + SenseData(.mediumError, .unrecoveredReadError).encoded()))
    }

    @Test("What was copied and is lost afterwards is a deferred error; without a write cache it is durable with GOOD")
    func losses() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        #expect(port.copy(list(fixture, count: 8)).status == .good)
        fixture.disks[1].store.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(fixture.disks[1].image.synchronize() != nil)
        let ready: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
        #expect(port.execute(ready, unit: 1).sense?.isDeferred == true)
        #expect(port.execute(ready, unit: 0).status == .good)
        // The loss stays until it is acknowledged.
        #expect(AbortedCopy(port.copy(list(fixture)))?.code == .thirdPartyDeviceFailure)
        #expect(fixture.disks[1].server.acknowledgeLoss() == nil)
        let select: [UInt8] = [0, 0, 0, 0, 0x08, 0x12] + [UInt8](repeating: 0, count: 18)
        #expect(
            port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(select.count), 0], unit: 1, dataOut: select)
                .status == .good)
        #expect(port.copy(CopyList(fixture.disks, [Segment(from: 9, to: 11, count: 1)])).status == .good)
        #expect(Array(fixture.disks[1].store.durable[11 * 512..<12 * 512]) == fixture.bytes(0, 9 * 512..<10 * 512))
        fixture.disks[1].store.failSynchronizations(Errno.inputOutput)
        #expect(
            AbortedCopy(port.copy(list(fixture)))
                == AbortedCopy(
                    .thirdPartyDeviceFailure, pointer: [0, 48], residual: 0,
                    destination: [SCSIStatus.checkCondition.rawValue] + SenseData(.mediumError, .writeError).encoded()))
    }

    // MARK: In the middle

    /// Has the copy of `count` blocks take `steps` steps.
    private func begin(
        _ fixture: CopyFixture, _ port: CopyInitiator, count: Int = 8192, steps: Int
    ) -> (slot: Int, outcome: Outcome) {
        fixture.engine.hold()
        let bytes = list(fixture, count: count).bytes
        let copy = port.submit(CopyCDB.extendedCopy(bytes.count), dataOut: bytes)
        for _ in 0..<steps {
            fixture.settle()
            fixture.engine.step()
        }
        fixture.settle()
        return copy
    }

    @Test("Task management ends a copy between two steps", arguments: [0, 1, 2, 3, 5])
    func abort(steps: Int) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let before = fixture.bytes(1, 0..<8 << 20)
        let copy = begin(fixture, port, steps: steps)
        let functions: [TaskManagementFunction] = [.abortTask, .abortTaskSet, .clearTaskSet, .logicalUnitReset]
        let function = functions[steps % 4]
        #expect(
            port.port.manage(function, slot: function == .abortTask ? copy.slot : nil) {
                fixture.settle()
                fixture.engine.release()
            } == .complete)
        #expect(copy.outcome.wait().isAborted)
        // The step that was under way ends; nothing follows.
        let written = (steps + 1) / 2 * (1 << 20)
        #expect(fixture.bytes(1, 0..<written) == fixture.bytes(0, 0..<written))
        #expect(fixture.bytes(1, written..<8 << 20) == Array(before[written...]))
        #expect(fixture.leasedBytes == 0)
        port.port.clearUnitAttentions()
        let status = port.execute(CopyCDB.receive(5, 1))
        if function == .logicalUnitReset {
            #expect(status.sense == invalidField(2))
        } else {
            // TASK ABORTED, and the copy's own figures.
            #expect(status.dataIn[5] == 0x60 && status.dataIn[12] == 0x40)
            #expect(status.dataIn.be64(at: 16) == UInt64(steps / 2 * (1 << 20)))
        }
        #expect(port.copy(list(fixture)).status == .good)
    }

    @Test("COPY OPERATION ABORT ends a copy with COMMANDS CLEARED BY DEVICE SERVER")
    func copyOperationAbort() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b")
        let copy = begin(fixture, port, steps: 3)
        #expect(port.execute(CopyCDB.abort(2)).sense == invalidField(2))
        #expect(other.execute(CopyCDB.abort(1)).sense == invalidField(2))
        #expect(port.execute(CopyCDB.abort(1), unit: 1).sense == invalidField(2))
        #expect(port.execute(CopyCDB.abort(1)).status == .good)
        fixture.engine.release()
        let result = copy.outcome.wait()
        #expect(AbortedCopy(result) == AbortedCopy(.commandsClearedByDeviceServer, residual: 8192 - 4096))
        #expect(port.execute(CopyCDB.abort(1)).sense == invalidField(2))
        let status = port.execute(CopyCDB.receive(5, 1)).dataIn
        #expect(status[5] == 0x02 && status[12] == SCSIStatus.checkCondition.rawValue)
        #expect(Array(status[32..<32 + Int(status[14])]) == result.verbatimSense)
    }

    @Test("The unit of the destination goes in the middle: nothing more is written to it")
    func destinationGoes() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let before = fixture.bytes(1, 0..<8 << 20)
        let copy = begin(fixture, port, steps: 2)
        #expect(fixture.target.unmap(at: 1) != nil)
        fixture.settle()
        fixture.engine.release()
        #expect(
            AbortedCopy(copy.outcome.wait())
                == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48], residual: 8192 - 2048))
        #expect(fixture.bytes(1, 1 << 20..<8 << 20) == Array(before[1 << 20..<8 << 20]))
        port.port.clearUnitAttentions()
        // A unit that is not seen is not copied to again.
        #expect(AbortedCopy(port.copy(list(fixture))) == AbortedCopy(.copyTargetDeviceNotReachable, pointer: [0, 48]))
    }

    @Test("The nexus goes in the middle: its copy ends")
    func nexusGoes() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let before = fixture.bytes(1, 1 << 20..<8 << 20)
        let copy = begin(fixture, port, steps: 2)
        port.port.logOut()
        fixture.engine.release()
        #expect(copy.outcome.wait().isAborted)
        fixture.settle()
        #expect(fixture.bytes(1, 1 << 20..<8 << 20) == before)
        #expect(fixture.leasedBytes == 0)
    }

    @Test("A reservation that comes in the middle is obeyed")
    func reservationInBetween() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let copy = begin(fixture, port, steps: 2)
        #expect(other.execute([OperationCode.reserve6, 0, 0, 0, 0, 0], unit: 1).status == .good)
        fixture.engine.release()
        #expect(
            AbortedCopy(copy.outcome.wait())
                == AbortedCopy(
                    .thirdPartyDeviceFailure, pointer: [0, 48], residual: 8192 - 2048,
                    destination: [SCSIStatus.reservationConflict.rawValue]))
    }

    @Test("A copy waits at the gate while COMPARE AND WRITE has its source alone", arguments: [false, true])
    func gateOfSource(isAborted: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let lane = fixture.disks[0].image.lane
        let old = fixture.bytes(0, 0..<512)
        let new = [UInt8](repeating: 7, count: 512)
        fixture.engine.hang(lane)
        let compare = other.submit(CDB.compareAndWrite(lba: 0, count: 1), dataOut: old + new)
        fixture.settle()
        let bytes = list(fixture, count: 8).bytes
        let copy = port.submit(CopyCDB.extendedCopy(bytes.count), dataOut: bytes)
        fixture.settle()
        #expect(fixture.engine.hangingCount == 1 && !copy.outcome.hasArrived)
        if isAborted {
            #expect(
                port.port.manage(.abortTask, slot: copy.slot) {
                    fixture.settle()
                    fixture.engine.resume(lane)
                } == .complete)
            #expect(copy.outcome.wait().isAborted)
        } else {
            fixture.engine.resume(lane)
            #expect(copy.outcome.wait().status == .good)
            #expect(fixture.bytes(1, 0..<512) == new)
        }
        #expect(compare.outcome.wait().status == .good)
        #expect(port.copy(list(fixture)).status == .good)
        #expect(other.execute(CDB.compareAndWrite(lba: 9, count: 0)).status == .good)
        #expect(fixture.leasedBytes == 0)
    }

    @Test("A copy waits at the gate while COMPARE AND WRITE has the destination alone", arguments: [false, true])
    func gate(isAborted: Bool) throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let lane = fixture.disks[1].image.lane
        let old = fixture.bytes(1, 0..<512)
        let new = [UInt8](repeating: 7, count: 512)
        fixture.engine.hang(lane)
        // It reads, and is inside alone.
        let compare = other.submit(CDB.compareAndWrite(lba: 0, count: 1), unit: 1, dataOut: old + new)
        fixture.settle()
        let bytes = list(fixture, count: 8).bytes
        let copy = port.submit(CopyCDB.extendedCopy(bytes.count), dataOut: bytes)
        fixture.settle()
        // The copy has read, and waits.
        #expect(fixture.engine.performedCount == 1 && !copy.outcome.hasArrived)
        if isAborted {
            #expect(
                port.port.manage(.abortTask, slot: copy.slot) {
                    fixture.settle()
                    fixture.engine.resume(lane)
                } == .complete)
            #expect(copy.outcome.wait().isAborted)
        } else {
            fixture.engine.resume(lane)
            #expect(copy.outcome.wait().status == .good)
        }
        #expect(compare.outcome.wait().status == .good)
        #expect(fixture.bytes(1, 0..<512) == (isAborted ? new : fixture.bytes(0, 0..<512)))
        #expect(port.copy(list(fixture)).status == .good)
        #expect(other.execute(CDB.compareAndWrite(lba: 9, count: 0), unit: 1).status == .good)
        #expect(fixture.leasedBytes == 0)
    }

    @Test("There are not more copies at a time than are reported")
    func limit() throws {
        let fixture = try CopyFixture()
        let port = fixture.initiator()
        fixture.engine.hold()
        var list = list(fixture)
        let copies = (0..<16).map { number in
            list.identifier = UInt32(number)
            return port.submit(CopyCDB.extendedCopy(list.bytes.count), dataOut: list.bytes).outcome
        }
        list.identifier = 99
        #expect(port.copy(list).status == .busy)
        #expect(port.execute(CopyCDB.receive(5, 99)).sense == invalidField(2))
        // Each logical unit has its own copy manager.
        let other = port.submit(CopyCDB.extendedCopy(list.bytes.count), unit: 1, dataOut: list.bytes).outcome
        fixture.settle()
        fixture.engine.release()
        for copy in copies + [other] { #expect(copy.wait().status == .good) }
        #expect(port.copy(list).status == .good)
    }
}
