import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import Testing

@testable import TargetCore

@Suite("Reactors that stop")
struct StoppingTests {
    @Test("A reset of more nexuses than a turn has work for is given up when the reactor stops in the middle")
    func reset() throws {
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "stopping", poolLimit: 1 << 20, fileEngine: engine)
        let target = Target(name: "iqn.2026-11.dev.carousel:example", alias: "", homeReactor: nil)
        let device = ExampleDevice()
        target.map(LogicalUnit(device), at: 0)
        let ports = (0...TaskClearing.turnWork / TaskClearing.nexusWork).map {
            InMemoryPort("iqn.2026-11.test:\($0)", target: target, reactor: reactor, slotCount: 1)
        }
        for port in ports { port.clearUnitAttentions() }
        let answers = Lock(0)
        let isBegun = DispatchSemaphore(value: 0)
        let never = DispatchSemaphore(value: 0)
        reactor.postCompletion {
            isBegun.signal()
            // Until it takes no more.
            while reactor.postCompletion({}) { _ = never.wait(timeout: .now() + .milliseconds(1)) }
            ports[0].nexus.perform(.logicalUnitReset, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { _ in
                answers.withLock { $0 += 1 }
            }
        }
        isBegun.wait()
        reactor.stop()
        #expect(answers.withLock { $0 } == 0)
        #expect(device.resets == 0)
        engine.stop()
    }
}
