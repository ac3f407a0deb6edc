import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@Suite("A logical unit that lives on another reactor than the session")
struct RelayTests {
    private let fixture = RelayFixture()
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let reserve: [UInt8] = [OperationCode.reserve6, 0, 0, 0, 0, 0]
    private let reportLUNs: [UInt8] = [OperationCode.reportLUNs, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]

    private func wait(_ port: InMemoryPort, _ name: UInt8, _ results: Results = Results()) -> Int {
        port.submit([ExampleDevice.wait, 0, 0, 0, name, 0], logicalUnit: 1, expecting: 0) { results.add($0) }
    }

    private func take(_ port: InMemoryPort, _ data: [UInt8], _ results: Results = Results()) -> Int {
        port.submit([ExampleDevice.take, 0, 0, 0, UInt8(data.count), 0], logicalUnit: 1, dataOut: data) {
            results.add($0)
        }
    }

    @Test("Commands, their data in both directions and their sense data are those of a session at home")
    func commands() throws {
        let far = fixture.initiator("a", on: fixture.away)
        let near = fixture.initiator("b", on: fixture.home)
        for command: [UInt8] in [
            [OperationCode.inquiry, 0, 0, 0, 96, 0], [OperationCode.inquiry, 1, 0x83, 0, 255, 0],
            [OperationCode.modeSense6, 0, 0x3F, 0, 255, 0], [OperationCode.logSense, 0, 0x2E, 0, 0, 0, 0, 0, 255, 0],
            reportLUNs, [0xEE, 0, 0, 0, 0, 0],
            [OperationCode.inquiry, 0, 0x83, 0, 255, 0], testUnitReady,
        ] {
            let one = far.execute(command, logicalUnit: 1)
            let other = near.execute(command, logicalUnit: 1)
            #expect(one.status == other.status)
            #expect(one.sense == other.sense)
            #expect(one.dataIn == other.dataIn)
            #expect(one.dataInLength == other.dataInLength)
        }
        let results = Results()
        _ = take(far, [1, 2, 3], results)
        fixture.settle()
        #expect(results.statuses == [.good])
        #expect(fixture.taken == [[1, 2, 3]])
        #expect(far.execute(testUnitReady, logicalUnit: 0).sense?.key == .unitAttention, "unit 0 is used directly")
        #expect(far.execute(testUnitReady, logicalUnit: 3).sense?.additionalSenseCode == .logicalUnitNotSupported)
    }

    @Test("The unit performs one command at a time over sessions of both reactors, each in its order")
    func turns() throws {
        let far = fixture.initiator("a", on: fixture.away)
        let near = fixture.initiator("b", on: fixture.home)
        _ = wait(far, 1)
        _ = wait(far, 2)
        #expect(fixture.begun == [1])
        _ = wait(near, 3)
        #expect(fixture.begun == [1])
        fixture.letGo(1)
        #expect(fixture.begun == [1, 3])
        fixture.letGo(3)
        #expect(fixture.begun == [1, 3, 2])
        fixture.letGo(2)
        #expect(far.execute(testUnitReady, logicalUnit: 2).sense?.additionalSenseCode == .powerOnOrReset)
    }

    @Test("A session that owes data holds nobody back, and is aborted like any other")
    func owedData() throws {
        let far = fixture.initiator("a", on: fixture.away)
        let near = fixture.initiator("b", on: fixture.home)
        far.onReactor { far.withholdsDataOut = true }
        let results = Results()
        let slot = take(far, [1, 2], results)
        fixture.settle()
        #expect(far.owesDataOut(slot))
        #expect(near.execute(testUnitReady, logicalUnit: 1).status == .good)
        far.sendDataOut(slot)
        fixture.settle()
        #expect(fixture.taken == [[1, 2]])
        let owing = take(far, [3], results)
        fixture.settle()
        #expect(far.manage(.abortTask, logicalUnit: 1, slot: owing) == .complete)
        #expect(results.abortedCount == 1)
        #expect(far.execute(testUnitReady, logicalUnit: 1).status == .good)
        #expect(fixture.taken == [[1, 2]])
    }

    @Test(
        "Tasks that are aborted together start none of each other at the unit's end either",
        arguments: [true, false])
    func abortedTogether(isLoss: Bool) {
        let far = fixture.initiator("a", on: fixture.away)
        let results = Results()
        far.onReactor { far.withholdsDataOut = true }
        // The first owes its data; the second waits for it, and would run at once.
        let owing = take(far, [1, 2, 3], results)
        _ = wait(far, 9, results)
        fixture.settle()
        #expect(far.owesDataOut(owing))
        if isLoss {
            far.onReactor { far.nexus.lose() }
        } else {
            #expect(far.manage(.abortTaskSet, logicalUnit: 1) == .complete)
        }
        fixture.settle()
        #expect(results.abortedCount == 2)
        #expect(fixture.begun.isEmpty)
        #expect(fixture.taken.isEmpty)
    }

    @Test("ABORT TASK ends a task that waits, and waits for one that is with the medium")
    func aborts() throws {
        let far = fixture.initiator("a", on: fixture.away)
        let results = Results()
        let running = wait(far, 1, results)
        let waiting = wait(far, 2, results)
        #expect(fixture.begun == [1])
        #expect(far.manage(.queryTask, logicalUnit: 1, slot: running) == .succeeded)
        #expect(far.manage(.abortTask, logicalUnit: 1, slot: waiting) == .complete)
        #expect(results.abortedCount == 1)
        let response = far.manage(.abortTaskSet, logicalUnit: 1) {
            fixture.settle()
            #expect(results.abortedCount == 1)
            fixture.letGo(1)
        }
        #expect(response == .complete)
        #expect(results.abortedCount == 2)
        #expect(results.statuses.isEmpty)
        #expect(far.manage(.abortTask, logicalUnit: 1, slot: running) == .taskDoesNotExist)
    }

    @Test(
        "What one session resets or clears, the sessions of both reactors learn",
        arguments: [TaskManagementFunction.clearTaskSet, .logicalUnitReset, .targetWarmReset], [false, true])
    func clears(function: TaskManagementFunction, asksFromAway: Bool) throws {
        let far = fixture.initiator("a", on: fixture.away)
        let near = fixture.initiator("b", on: fixture.home)
        let (asking, other) = asksFromAway ? (far, near) : (near, far)
        let results = Results()
        _ = wait(other, 1, results)
        _ = wait(other, 2, results)
        #expect(fixture.begun == [1])
        let response = asking.manage(function, logicalUnit: 1) {
            fixture.settle()
            fixture.letGo(1)
        }
        #expect(response == .complete)
        fixture.settle()
        #expect(results.abortedCount == 2)
        let isReset = function != .clearTaskSet
        let attention: AdditionalSenseCode = isReset ? .busDeviceResetOccurred : .commandsClearedByAnotherInitiator
        #expect(other.clearUnitAttentions(logicalUnit: 1) == [attention])
        #expect(asking.clearUnitAttentions(logicalUnit: 1) == (isReset ? [attention] : []))
        #expect(fixture.resets == (isReset ? 1 : 0))
    }

    @Test("A reservation holds against sessions of the other reactor, and ends with its nexus")
    func reservations() throws {
        let far = fixture.initiator("a", on: fixture.away)
        let near = fixture.initiator("b", on: fixture.home)
        #expect(far.execute(reserve, logicalUnit: 1).status == .good)
        #expect(near.execute(testUnitReady, logicalUnit: 1).status == .reservationConflict)
        #expect(far.manage(.iTNexusReset) == .complete)
        #expect(far.clearUnitAttentions(logicalUnit: 1) == [.iTNexusLossOccurred])
        #expect(near.execute(reserve, logicalUnit: 1).status == .good)
        #expect(far.execute(testUnitReady, logicalUnit: 1).status == .reservationConflict)
        near.logOut()
        #expect(far.execute(testUnitReady, logicalUnit: 1).status == .good)
        #expect(far.execute(reserve, logicalUnit: 1).status == .good)
        let results = Results()
        _ = wait(far, 1, results)
        fixture.settle()
        far.logOut()
        fixture.settle()
        fixture.letGo(1)
        let later = fixture.initiator("c", on: fixture.home)
        #expect(results.abortedCount == 1)
        #expect(later.execute(testUnitReady, logicalUnit: 1).status == .good)
        #expect(fixture.units[1].attachedNexuses.all.count == 1)
    }

    @Test("A unit that is unmapped ends its tasks, and REPORT LUNS of any unit tells of the change")
    func unmapping() throws {
        let far = fixture.initiator("a", on: fixture.away)
        far.clearUnitAttentions(logicalUnit: 0)
        far.clearUnitAttentions(logicalUnit: 2)
        let results = Results()
        _ = wait(far, 1, results)
        _ = wait(far, 2, results)
        #expect(fixture.begun == [1])
        let isFree = DispatchSemaphore(value: 0)
        fixture.target.unmap(at: 1) { isFree.signal() }
        fixture.settle()
        #expect(isFree.wait(timeout: .now()) == .timedOut, "a task is with the medium")
        fixture.letGo(1)
        isFree.wait()
        let gone = SenseData(.illegalRequest, .logicalUnitNotSupported)
        #expect(results.senses == [gone, gone])
        #expect(far.execute(testUnitReady, logicalUnit: 1).sense == gone)
        let report = far.execute(reportLUNs, logicalUnit: 2)
        #expect(report.dataIn.count == 24)
        fixture.settle()
        for number in [0, 2] {
            #expect(far.execute(testUnitReady, logicalUnit: number).status == .good, "told by REPORT LUNS")
        }
    }

    @Test("Random commands, aborts and logouts of sessions on both reactors: every command ends once", arguments: 1...8)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var ports = (0..<4).map { fixture.initiator("\($0)", on: $0 % 2 == 0 ? fixture.away : fixture.home) }
        let results = Results()
        var sent = 0
        for step in 0..<300 {
            let index = Int.random(in: 0..<ports.count, using: &random)
            let port = ports[index]
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<4:
                guard sent - results.count < 24 else { continue }
                _ = wait(port, UInt8(step % 250), results)
                sent += 1
            case 4, 5:
                guard sent - results.count < 24 else { continue }
                _ = take(port, random.bytes(Int.random(in: 1...200, using: &random)), results)
                sent += 1
            case 6..<10: if let name = fixture.heldName { fixture.atHome { $0.letGo(name) } }
            case 10:
                let slot = Int.random(in: 0..<8, using: &random)
                _ = port.manage(.abortTask, logicalUnit: 1, slot: slot) {
                    while let name = fixture.heldName {
                        fixture.atHome { $0.letGo(name) }
                        fixture.settle()
                    }
                }
            default:
                port.logOut()
                ports[index] = fixture.initiator(
                    "\(step)", on: index % 2 == 0 ? fixture.away : fixture.home, seesAttentions: false)
            }
        }
        repeat {
            fixture.settle()
            guard let name = fixture.heldName else { break }
            fixture.letGo(name)
        } while true
        #expect(results.count == sent)
        for port in ports { port.logOut() }
        fixture.settle()
        #expect(fixture.units[1].attachedNexuses.all.isEmpty)
        #expect(fixture.leasedBytes == 0)
    }
}

extension Results {
    /// How many commands have ended.
    fileprivate var count: Int { statuses.count + abortedCount }
}
