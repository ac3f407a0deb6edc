import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TestSupport
import Testing

@testable import TargetCore

@Suite("What a relay does when something is missing or comes too late")
struct RelayLimitTests {
    private let fixture = RelayFixture()
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let internalFailure = SenseData(.hardwareError, .internalTargetFailure)

    private func take(_ port: InMemoryPort, _ data: [UInt8], _ results: Results) -> Int {
        port.submit([ExampleDevice.take, 0, 0, 0, UInt8(data.count), 0], logicalUnit: 1, dataOut: data) {
            results.add($0)
        }
    }

    private func withholding() -> InMemoryPort {
        let port = fixture.initiator("a", on: fixture.away)
        port.onReactor { port.withholdsDataOut = true }
        return port
    }

    /// Does nothing on a reactor until what is given back is called.
    private func block(_ reactor: Reactor) -> () -> Void {
        let released = DispatchSemaphore(value: 0)
        reactor.postCompletion { released.wait() }
        return { released.signal() }
    }

    /// Waits until the units' home has done what it was told before; on any other thread.
    private func waitForHome() {
        let done = DispatchSemaphore(value: 0)
        fixture.home.postCompletion { done.signal() }
        done.wait()
    }

    @Test("Data-Out that is said to be there and is not ends the command, which was not begun")
    func missingData() throws {
        let port = withholding()
        let results = Results()
        let slot = take(port, [1, 2], results)
        fixture.settle()
        #expect(port.owesDataOut(slot))
        port.sendNoDataOut(slot)
        fixture.settle()
        #expect(results.senses == [internalFailure])
        #expect(fixture.taken.isEmpty)
        port.onReactor { port.withholdsDataOut = false }
        _ = take(port, [3], results)
        fixture.settle()
        #expect(results.statuses == [.checkCondition, .good])
        #expect(fixture.taken == [[3]])
    }

    @Test("Data-Out that comes when the unit has been reset, of which the session does not know yet, is discarded")
    func lateData() throws {
        let port = withholding()
        let other = fixture.initiator("b", on: fixture.home)
        let results = Results()
        let slot = take(port, [1, 2], results)
        fixture.settle()
        #expect(port.owesDataOut(slot))
        port.onReactor {
            // The session's reactor learns of it after this.
            let answered = DispatchSemaphore(value: 0)
            fixture.home.postCompletion {
                other.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(1), reference: nil) { _ in
                    answered.signal()
                }
            }
            answered.wait()
            port.sendDataOutOnReactor(slot)
        }
        fixture.settle()
        #expect(results.abortedCount == 1 && results.statuses.isEmpty)
        #expect(fixture.taken.isEmpty)
        #expect(fixture.leasedBytes == 0)
        #expect(port.clearUnitAttentions(logicalUnit: 1) == [.busDeviceResetOccurred])
        let next = take(port, [3], results)
        fixture.settle()
        port.sendDataOut(next)
        fixture.settle()
        #expect(results.statuses == [.good])
        #expect(fixture.taken == [[3]])
    }

    @Test("A number that a unit of a third reactor has by then is none at the units' end: no relay leads on")
    func relayBehindRelay() throws {
        let port = InMemoryPort("iqn.2026-11.test:a", target: fixture.target, reactor: fixture.away)
        // Where the session runs: a way on would lead back.
        for home in [fixture.away, nil] as [Reactor?] {
            let device = ExampleDevice(homeReactor: home)
            let unit = LogicalUnit(device)
            let release = block(fixture.home)
            let results = Results()
            port.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], logicalUnit: 1, expecting: 0) { results.add($0) }
            let former = try #require(fixture.target.unmap(at: 1))
            fixture.target.map(unit, at: 1)
            release()
            fixture.settle()
            #expect(results.senses == [SenseData(.illegalRequest, .logicalUnitNotSupported)])
            #expect(device.begun.isEmpty)
            #expect(unit.attachedNexuses.all.isEmpty)
            #expect(port.execute(testUnitReady, logicalUnit: 1).sense?.key == .unitAttention, "it is used directly")
            #expect(unit.attachedNexuses.all.map(\.iTNexus.reactor.name) == [fixture.away.name])
            fixture.target.unmap(at: 1)
            fixture.target.map(former, at: 1)
            fixture.settle()
        }
    }

    @Test("A function whose answer comes when the nexus of the session is lost is not completed")
    func answerAfterLoss() throws {
        let port = fixture.initiator("a", on: fixture.away)
        let answers = Lock(0)
        port.onReactor {
            port.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(1), reference: nil) { _ in
                answers.withLock { $0 += 1 }
            }
            waitForHome()
            port.nexus.lose()
        }
        fixture.settle()
        #expect(fixture.resets == 1)
        #expect(answers.withLock { $0 } == 0)
    }
}

@Suite("A relay between reactors without memory")
final class RelayMemoryTests {
    private let engine: FileEngine
    private let reactors: [Reactor]
    private let target = Target(name: "iqn.2026-11.dev.carousel:relay", alias: "", homeReactor: nil)
    private let port: InMemoryPort
    private let read: [UInt8] = [OperationCode.read10, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    private let write: [UInt8] = [OperationCode.write10, 0, 0, 0, 0, 0, 0, 0, 1, 0]

    private var near: Reactor { reactors[0] }
    private var far: Reactor { reactors[1] }

    init() throws {
        let engine = try FileEngine(threads: 1)
        self.engine = engine
        reactors = try ["near", "far"].map { try Reactor.start(name: $0, poolLimit: 1 << 20, fileEngine: engine) }
        target.map(LogicalUnit(MemoryDevice(blockCount: 8, filledWith: 7, homeReactor: reactors[1])), at: 0)
        port = InMemoryPort("iqn.2026-11.test:a", target: target, reactor: reactors[0])
        port.clearUnitAttentions()
    }

    deinit {
        for reactor in reactors { reactor.stop() }
        engine.stop()
    }

    /// What takes all memory of a pool; it is dropped on its reactor.
    private final class Hoard: @unchecked Sendable {
        var leases: [BufferLeaseBox] = []
    }

    /// Runs `body` while the pool of a reactor has no memory.
    private func exhausting<Value>(_ reactor: Reactor, _ body: () throws -> Value) rethrows -> Value {
        let hoard = Hoard()
        run(on: reactor) {
            while let lease = reactor.pool.lease(capacity: 1) { hoard.leases.append(BufferLeaseBox(lease)) }
        }
        defer { run(on: reactor) { hoard.leases = [] } }
        return try body()
    }

    private func run(on reactor: Reactor, _ body: @escaping @Sendable () -> Void) {
        let done = DispatchSemaphore(value: 0)
        reactor.postCompletion {
            body()
            done.signal()
        }
        done.wait()
    }

    @Test("A READ whose data find no room at the session's end has been done, and no status says that it was not")
    func readWithoutRoomHere() throws {
        let result = exhausting(near) { port.execute(read) }
        #expect(result.status == .checkCondition)
        #expect(result.sense == SenseData(.hardwareError, .internalTargetFailure))
        #expect(result.dataIn.isEmpty)
        #expect(port.execute(read).dataIn == [UInt8](repeating: 7, count: 512))
    }

    @Test("A READ that finds no room at the unit's end has not been done: TASK SET FULL")
    func readWithoutRoomThere() throws {
        #expect(exhausting(far) { port.execute(read) }.status == .taskSetFull)
        #expect(port.execute(read).dataIn == [UInt8](repeating: 7, count: 512))
    }

    @Test("A WRITE whose data find no room at the unit's end has not been done: TASK SET FULL")
    func writeWithoutRoomThere() throws {
        let data = [UInt8](repeating: 9, count: 512)
        #expect(exhausting(far) { port.execute(write, dataOut: data) }.status == .taskSetFull)
        #expect(port.execute(read).dataIn == [UInt8](repeating: 7, count: 512))
        #expect(port.execute(write, dataOut: data).status == .good)
        #expect(port.execute(read).dataIn == data)
        for reactor in reactors {
            run(on: reactor) {}
            run(on: reactor) { #expect(reactor.pool.leasedBytes == 0) }
        }
    }
}
