import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

@Suite("The turns of nexuses on a serial unit")
struct TurnTests {
    private let fixture = UnitFixture(isSerial: true)
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]

    private func take(_ data: [UInt8], _ port: InMemoryPort, _ results: Results) -> Int {
        port.submit([ExampleDevice.take, 0, 0, 0, UInt8(data.count), 0], dataOut: data) { results.add($0) }
    }

    private func withholding(_ name: String = "iqn.2026-11.test:a") -> InMemoryPort {
        let port = fixture.initiator(name)
        port.onReactor { port.withholdsDataOut = true }
        return port
    }

    @Test("An initiator that owes data holds its own later commands back, and nobody else's")
    func owedData() throws {
        let first = withholding()
        let second = fixture.initiator("iqn.2026-11.test:b")
        let results = Results()
        let slot = take([1, 2], first, results)
        _ = take([3], first, results)
        #expect(first.owesDataOut(slot))
        for _ in 0..<3 { #expect(second.execute(testUnitReady).status == .good) }
        #expect(second.execute([ExampleDevice.take, 0, 0, 0, 1, 0], dataOut: [9]).status == .good)
        #expect(fixture.device.taken == [[9]])
        first.onReactor { first.withholdsDataOut = false }
        first.sendDataOut(slot)
        #expect(fixture.device.taken == [[9], [1, 2], [3]], "the commands of one nexus keep their order")
        #expect(results.statuses == [.good, .good])
    }

    @Test("Data that was fetched for another medium does not reach the new one, whatever the nexus has been told")
    func changedMedium() throws {
        let first = withholding()
        let results = Results()
        let slot = take([1, 2], first, results)
        fixture.device.mediumGeneration += 1
        first.sendDataOut(slot)
        #expect(results.senses == [SenseData(.unitAttention, .mediumMayHaveChanged)])
        #expect(fixture.device.taken.isEmpty)
        let protected = take([1], first, results)
        fixture.device.isProtected = true
        first.sendDataOut(protected)
        #expect(results.senses.last == SenseData(.dataProtect, .writeProtected))
        #expect(fixture.device.taken.isEmpty)
    }

    @Test("A command whose turn lets it be performed after all gives the turn up until its data is there")
    func lateData() throws {
        let first = withholding()
        let second = fixture.initiator("iqn.2026-11.test:b")
        let results = Results()
        fixture.device.refusesData = true
        second.submit([ExampleDevice.wait, 0, 0, 0, 7, 0]) { results.add($0) }
        let slot = take([5], first, results)
        #expect(!first.owesDataOut(slot))
        fixture.device.refusesData = false
        second.onReactor { [device = fixture.device] in device.letGo(7) }
        #expect(first.owesDataOut(slot))
        #expect(second.execute(testUnitReady).status == .good)
        first.sendDataOut(slot)
        #expect(fixture.device.taken == [[5]])
    }

    @Test("A command with data is aborted while its data is owed, and while it waits for its turn")
    func aborts() throws {
        let first = withholding()
        let second = fixture.initiator("iqn.2026-11.test:b")
        let results = Results()
        let owing = take([1], first, results)
        #expect(first.manage(.abortTask, slot: owing) == .complete)
        #expect(results.abortedCount == 1)
        second.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { results.add($0) }
        let waiting = take([2], first, results)
        first.sendDataOut(waiting)
        #expect(first.manage(.abortTask, slot: waiting) == .complete)
        #expect(results.abortedCount == 2)
        second.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(fixture.device.taken.isEmpty)
        #expect(first.execute(testUnitReady).status == .good)
    }

    /// 25,600 commands: with one stack frame for each they overflow the thread's 8 MiB.
    @Test("However many commands are blocked, their ends do not pile up on the stack")
    func depth() throws {
        let holder = fixture.initiator()
        let results = Results()
        holder.submit([ExampleDevice.wait, 0, 0, 0, 1, 0]) { results.add($0) }
        let ports = (0..<100).map {
            InMemoryPort(
                "iqn.2026-11.test:\($0)", target: fixture.target, reactor: fixture.reactor, slotCount: 256)
        }
        for port in ports {
            port.onReactor {
                for _ in 0..<256 { port.submitOnReactor(testUnitReady) { results.add($0) } }
            }
        }
        #expect(results.statuses.isEmpty)
        holder.onReactor { [device = fixture.device] in device.letGo(1) }
        #expect(results.statuses.count == 25_601)
        #expect(results.statuses.filter { $0 == .checkCondition }.count == 100, "each nexus has its power on")
    }

    @Test("One nexus at a time has the turn, each in order of arrival")
    func fairness() throws {
        let ports = ["a", "b", "c"].map { fixture.initiator("iqn.2026-11.test:\($0)") }
        for name in UInt8(0)..<9 {
            ports[Int(name) / 3].submit([ExampleDevice.wait, 0, 0, 0, name, 0]) { _ in }
        }
        for name in [0, 3, 6, 1, 4, 7, 2, 5, 8] as [UInt8] {
            #expect(fixture.device.begun.last == name)
            ports[0].onReactor { [device = fixture.device] in device.letGo(name) }
        }
    }
}

/// Outcomes in the order of their arrival, on any thread.
final class Results: Sendable {
    private let list = Lock<[CommandResult]>([])

    func add(_ result: CommandResult) { list.withLock { $0.append(result) } }
    var statuses: [SCSIStatus] { list.withLock { $0.filter { !$0.isAborted }.map(\.status) } }
    var senses: [SenseData] { list.withLock { $0.compactMap(\.sense) } }
    var abortedCount: Int { list.withLock { $0.filter(\.isAborted).count } }
}
