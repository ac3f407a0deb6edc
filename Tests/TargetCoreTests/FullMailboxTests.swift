import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TargetCore
import Testing

/// What ends something that was accepted reaches a reactor however many messages wait there.
@Suite("Reactors whose mailboxes are full")
final class FullMailboxTests {
    private let engine: FileEngine
    private let reactors: [Reactor]
    private let device = ExampleDevice()
    private let target = Target(name: "iqn.2026-11.dev.carousel:example", alias: "", homeReactor: nil)

    init() throws {
        let engine = try FileEngine(threads: 1)
        self.engine = engine
        reactors = try ["mine", "other"].map { try Reactor.start(name: $0, poolLimit: 1 << 24, fileEngine: engine) }
        target.map(LogicalUnit(device), at: 0)
    }

    deinit {
        for reactor in reactors { reactor.stop() }
        engine.stop()
    }

    private func initiator(_ name: String, on reactor: Reactor) -> InMemoryPort {
        let port = InMemoryPort("iqn.2026-11.test:\(name)", target: target, reactor: reactor)
        port.clearUnitAttentions()
        return port
    }

    /// Keeps a reactor busy, with a full mailbox, until what is given back is called.
    private func fill(_ reactor: Reactor) -> () -> Void {
        let begun = DispatchSemaphore(value: 0)
        let released = DispatchSemaphore(value: 0)
        reactor.post {
            begun.signal()
            released.wait()
        }
        begun.wait()
        while reactor.post({}) {}
        return { released.signal() }
    }

    @Test("A reset reaches the nexuses of a reactor with a full mailbox, and its end comes back to one")
    func reset() throws {
        let mine = initiator("a", on: reactors[0])
        let other = initiator("b", on: reactors[1])
        let results = Results()
        other.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { results.add($0) }
        let releaseOther = fill(reactors[1])
        let answers = Lock<[Bool]>([])
        mine.onReactor { [reactor = reactors[0]] in
            mine.nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answers.withLock { $0.append(reactor.isCurrent) }
            }
        }
        let releaseMine = fill(reactors[0])
        releaseOther()
        other.onReactor { [device] in device.letGo(1) }
        other.onReactor {}
        releaseMine()
        mine.onReactor {}
        #expect(results.abortedCount == 1)
        #expect(other.clearUnitAttentions() == [.busDeviceResetOccurred])
        mine.onReactor {}
        #expect(answers.withLock { $0 } == [true], "it is answered on the reactor that asks")
    }

    @Test("A unit that is taken out is taken from the nexuses of a reactor with a full mailbox")
    func unmap() throws {
        let other = initiator("b", on: reactors[1])
        let results = Results()
        other.submit([ExampleDevice.wait, 0, 0, 0, 1, 0], expecting: 0) { results.add($0) }
        let release = fill(reactors[1])
        let isDone = Lock(false)
        target.unmap(at: 0) { isDone.withLock { $0 = true } }
        #expect(!isDone.withLock { $0 })
        release()
        other.onReactor {}
        #expect(!isDone.withLock { $0 })
        other.onReactor { [device] in device.letGo(1) }
        let gone = SenseData(.illegalRequest, .logicalUnitNotSupported)
        #expect(results.senses == [gone])
        #expect(isDone.withLock { $0 })
        #expect(other.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).sense == gone)
    }
}
