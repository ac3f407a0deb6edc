import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import TargetCore

/// A target whose unit 0 lives on every reactor, and units 1 and 2 on the second one.
final class RelayFixture: @unchecked Sendable {
    let home = TestReactors.second
    let away = TestReactors.first
    let devices: [ExampleDevice]
    let units: [LogicalUnit]
    let target = Target(name: "iqn.2026-11.dev.carousel:relay", alias: "", homeReactor: nil)

    init() {
        devices = [
            ExampleDevice(), ExampleDevice(homeReactor: home),
            ExampleDevice(homeReactor: home),
        ]
        units = devices.map { LogicalUnit($0) }
        for (number, unit) in units.enumerated() { target.map(unit, at: number) }
    }

    /// An initiator; it has seen the unit attentions of unit 1 unless a command that runs there holds them back.
    func initiator(_ name: String, on reactor: Reactor, seesAttentions: Bool = true) -> InMemoryPort {
        let port = InMemoryPort("iqn.2026-11.test:\(name)", target: target, reactor: reactor)
        if seesAttentions { port.clearUnitAttentions(logicalUnit: 1) }
        return port
    }

    /// Runs `body` where unit 1 lives.
    func atHome<Value: Sendable>(_ body: @escaping @Sendable (ExampleDevice) -> Value) -> Value {
        let result = Lock<Value?>(nil)
        let done = DispatchSemaphore(value: 0)
        let device = devices[1]
        home.postCompletion {
            let value = body(device)
            result.withLock { $0 = value }
            done.signal()
        }
        done.wait()
        return result.withLock { $0! }
    }

    /// Waits until both reactors have done what they can, what they have told each other included.
    func settle() {
        for _ in 0..<4 {
            for reactor in [away, home] {
                let done = DispatchSemaphore(value: 0)
                reactor.postCompletion { done.signal() }
                done.wait()
            }
        }
    }

    /// The names of the commands that unit 1 has begun.
    var begun: [UInt8] {
        settle()
        return atHome { $0.begun }
    }

    /// What TAKE has brought to unit 1.
    var taken: [[UInt8]] { atHome { $0.taken } }

    /// How often unit 1 was reset.
    var resets: Int { atHome { $0.resets } }

    /// The bytes of the pool at the units' home that leases hold.
    var leasedBytes: Int {
        let home = home
        return atHome { _ in home.pool.leasedBytes }
    }

    /// The name of a command that waits on unit 1.
    var heldName: UInt8? { atHome { $0.held.keys.min() } }

    func letGo(_ name: UInt8) {
        atHome { $0.letGo(name) }
        settle()
    }
}
