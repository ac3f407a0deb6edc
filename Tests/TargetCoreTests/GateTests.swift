import Bytes
import DeviceTestSupport
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

@Suite("Conditions of a nexus, and what sees commands first")
struct GateTests {
    private let fixture = UnitFixture()
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    @Test("A nexus that comes later meets the reservation too; PREVENT ALLOW with 0 is no conflict, with 1 it is")
    func reservation() throws {
        let holder = fixture.initiator()
        #expect(holder.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        let late = InMemoryPort("iqn.2026-11.test:b", target: fixture.target, reactor: fixture.otherReactor)
        late.clearUnitAttentions()
        #expect(late.execute(testUnitReady).status == .reservationConflict)
        let prevent = OperationCode.preventAllowMediumRemoval
        #expect(late.execute([prevent, 0, 0, 0, 0, 0]).status == .good)
        #expect(late.execute([prevent, 0, 0, 0, 1, 0]).status == .reservationConflict)
        #expect(!fixture.device.attachedNexuses.isMediumRemovalPrevented)
        #expect(holder.execute([OperationCode.release6, 0, 0, 0, 0, 0]).status == .good)
        #expect(late.execute(testUnitReady).status == .good)
    }

    @Test("I_T NEXUS RESET ends the reservation and the prevention of that nexus")
    func nexusReset() throws {
        let first = fixture.initiator()
        let second = fixture.initiator("iqn.2026-11.test:b")
        #expect(first.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(first.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0]).status == .good)
        #expect(first.manage(.iTNexusReset) == .complete)
        #expect(second.execute(testUnitReady).status == .good)
        #expect(!fixture.device.attachedNexuses.isMediumRemovalPrevented)
        #expect(first.clearUnitAttentions() == [.iTNexusLossOccurred])
    }

    @Test("A logical unit reset is reported once to each nexus, also to one that takes its unit attention meanwhile")
    func resetOnce() throws {
        let first = fixture.initiator()
        let second = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let codes = Lock<[AdditionalSenseCode]>([])
        for _ in 0..<100 {
            let isDone = Atomic<Bool>(false)
            first.onReactor {
                first.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                    isDone.store(true, ordering: .releasing)
                }
            }
            while !isDone.load(ordering: .acquiring) {
                if let code = second.execute(testUnitReady).sense?.additionalSenseCode {
                    codes.withLock { $0.append(code) }
                }
            }
            let rest = second.clearUnitAttentions()
            codes.withLock { $0 += rest }
            #expect(codes.withLock { $0 } == [.busDeviceResetOccurred])
            codes.withLock { $0 = [] }
            #expect(first.clearUnitAttentions() == [.busDeviceResetOccurred])
        }
    }

    @Test("CLEAR TASK SET clears the task set of the nexus (TST 001b), that of all nexuses on a serial unit (TST 000b)")
    func clearTaskSet() throws {
        for isSerial in [false, true] {
            let fixture = UnitFixture(isSerial: isSerial)
            let first = fixture.initiator()
            let second = fixture.initiator("iqn.2026-11.test:b")
            let results = Results()
            second.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { results.add($0) }
            let isCleared = Atomic<Bool>(false)
            first.onReactor {
                first.nexus.perform(.clearTaskSet, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                    isCleared.store(true, ordering: .releasing)
                }
            }
            #expect(isCleared.load(ordering: .acquiring) != isSerial, "a task with the medium is waited for")
            second.onReactor { [device = fixture.device] in device.letGo(1) }
            #expect(results.abortedCount == (isSerial ? 1 : 0))
            #expect(second.clearUnitAttentions() == (isSerial ? [.commandsClearedByAnotherInitiator] : []))
        }
    }

    @Test("REQUEST SENSE clears what has gone out with its additional sense code, and nothing before")
    func clearedWhenSent() throws {
        let port = fixture.initiator()
        let loss = SenseData(.mediumError, .writeError)
        port.onReactor { port.nexus.unitNexus(LogicalUnitNumber(0))?.hasBufferedWrites = true }
        fixture.device.attachedNexuses.establishUnitAttention(.mediumMayHaveChanged)
        fixture.device.attachedNexuses.establishDeferredError(loss)
        func requestSense(_ length: UInt8, isDescriptorFormat: Bool = false) -> [UInt8] {
            port.execute([OperationCode.requestSense, isDescriptorFormat ? 1 : 0, 0, 0, length, 0]).dataIn
        }
        for length in [0, 13] as [UInt8] { #expect(requestSense(length).count == Int(length)) }
        #expect(requestSense(3, isDescriptorFormat: true).count == 3)
        #expect(SenseData(parsing: requestSense(18).rawSpan)?.additionalSenseCode == .mediumMayHaveChanged)
        #expect(requestSense(4).count == 4)
        #expect(SenseData(parsing: requestSense(18).rawSpan) == loss.deferred)
        #expect(SenseData(parsing: requestSense(18).rawSpan)?.key == .noSense)
    }

    @Test("A command that is not supported reports the pending deferred error first")
    func deferredErrorFirst() throws {
        let port = fixture.initiator()
        let loss = SenseData(.mediumError, .writeError)
        port.onReactor { port.nexus.unitNexus(LogicalUnitNumber(0))?.hasBufferedWrites = true }
        fixture.device.attachedNexuses.establishDeferredError(loss)
        #expect(port.execute([0xFF, 0, 0, 0, 0, 0]).sense == loss.deferred)
        #expect(port.execute([0xFF, 0, 0, 0, 0, 0]).sense?.additionalSenseCode == .invalidCommandOperationCode)
    }

    @Test("The ACA attribute without an auto contingent allegiance is an INVALID MESSAGE ERROR")
    func autoContingentAllegiance() throws {
        let port = fixture.initiator()
        let result = port.execute(testUnitReady, attribute: .autoContingentAllegiance)
        #expect(result.sense == SenseData(.illegalRequest, .invalidMessageError))
    }

    @Test("ABORT TASK of a blocked ORDERED command lets those behind it start beside the running ones")
    func abortOrdered() throws {
        let port = fixture.initiator()
        port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { _ in }
        let ordered = port.submit([ExampleDevice.wait, 0, 0, 0, 2, 0], attribute: .ordered) { _ in }
        port.submit([ExampleDevice.wait, 0, 0, 0, 3, 0]) { _ in }
        #expect(fixture.device.begun == [1])
        #expect(port.manage(.abortTask, slot: ordered) == .complete)
        #expect(fixture.device.begun == [1, 3])
        port.onReactor { [device = fixture.device] in
            device.letGo(1)
            device.letGo(3)
        }
    }

    @Test("An interposer sees each command, may take its place, hold it, and change its outcome")
    func interposer() throws {
        let port = fixture.initiator()
        let interposer = ExampleInterposer()
        fixture.device.attachedNexuses.intercept(with: interposer)
        #expect(port.execute(testUnitReady).sense == SenseData(.hardwareError, .internalTargetFailure))
        interposer.mode.withLock { $0 = .hold }
        let results = Results()
        port.submit([ExampleDevice.take, 0, 0, 0, 2, 0], dataOut: [4, 5]) { results.add($0) }
        #expect(results.statuses.isEmpty && fixture.device.taken.isEmpty)
        port.onReactor { interposer.letGo() }
        #expect(results.statuses == [.good] && fixture.device.taken == [[4, 5]])
        interposer.mode.withLock { $0 = .change }
        #expect(port.execute(testUnitReady).status == .busy)
        // A nexus that comes later is seen as well.
        let late = InMemoryPort("iqn.2026-11.test:b", target: fixture.target, reactor: fixture.reactor)
        #expect(late.execute(testUnitReady).status == .busy)
        fixture.device.attachedNexuses.intercept(with: nil)
        #expect(port.execute(testUnitReady).status == .good)
    }

    @Test("A wildcard row performs what the table does not list; sense data of another device passes as it came")
    func wildcard() throws {
        let device = ExampleDevice(hasWildcard: true)
        let target = Target(name: "iqn.2026-11.dev.carousel:bridge", alias: "", homeReactor: nil)
        target.map(LogicalUnit(device), at: 0)
        let port = InMemoryPort("iqn.2026-11.test:a", target: target, reactor: fixture.reactor)
        port.clearUnitAttentions()
        #expect(port.execute([0xD5, 0xFF, 0xFF, 0, 0, 0xFF], dataOut: [1, 2, 3]).status == .good)
        #expect(device.taken == [[1, 2, 3]])
        #expect(port.execute([0xD6, 0, 0, 0, 0, 0]).verbatimSense == ExampleDevice.foreignSense)
        device.attachedNexuses.establishUnitAttention(.mediumMayHaveChanged)
        #expect(port.execute([0xD5, 0, 0, 0, 0, 0]).sense?.key == .unitAttention)
        let supported = port.execute([OperationCode.maintenanceIn, 0x0C, 0x01, 0xD5, 0, 0, 0, 0, 0, 64, 0, 0]).dataIn
        #expect(supported.prefix(2) == [0, 0x01], "a report lists what is listed")
    }

    @Test("LOG SENSE tells the device server which parameters went out whole, after it has succeeded")
    func reportedParameters() throws {
        let port = fixture.initiator()
        func logSense(pointer: UInt8 = 0, length: UInt8) -> CommandResult {
            port.execute([OperationCode.logSense, 0, 0x2E, 0, 0, 0, pointer, 0, length, 0])
        }
        #expect(logSense(length: 0).status == .good)
        #expect(logSense(length: 8).status == .good)
        #expect(logSense(pointer: 100, length: 255).status == .checkCondition)
        #expect(fixture.device.reportedParameters.isEmpty)
        #expect(logSense(length: 15).status == .good)
        #expect(logSense(pointer: 2, length: 255).status == .good)
        #expect(fixture.device.reportedParameters == [1...2, 2...3])
        #expect(
            port.execute([OperationCode.logSense, 0, 0, 0xFF, 0, 0, 0, 0, 255, 0]).dataIn.suffix(6) == [
                0, 0xFF, 0x2E, 0, 0x2E, 0xFF,
            ])
    }
}

/// Ends, holds or changes every command.
private final class ExampleInterposer: TaskInterposer {
    enum Mode { case fail, hold, change }
    let mode = Lock(Mode.fail)
    private let held = Lock<[HeldTask]>([])

    private struct HeldTask: @unchecked Sendable {
        let task: SCSITask
    }

    func taskWillBegin(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress? {
        switch mode.withLock({ $0 }) {
        case .fail: return task.fail(.hardwareError, .internalTargetFailure)
        case .hold:
            held.withLock { $0.append(HeldTask(task: task)) }
            return .pending
        case .change: return nil
        }
    }

    func taskWillEnd(_ task: SCSITask, _ nexus: ITLNexus) {
        if mode.withLock({ $0 == .change }) { _ = task.end(.busy) }
    }

    func letGo() {
        let tasks = held.withLock { held in
            defer { held = [] }
            return held
        }
        for entry in tasks { entry.task.performIntercepted() }
    }
}
