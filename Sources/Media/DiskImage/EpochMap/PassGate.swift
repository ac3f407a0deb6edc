internal import Platform
internal import Synchronization

/// Lets threads in and out without a lock, until somebody closes it and waits until all are out.
///
/// For threads that may wait, never for reactors. A thread that is inside does not enter again: it would wait for who
/// closes, who waits for it.
final class PassGate: Sendable {
    private let inside = Grace()
    private let closings = Atomic<Int>(0)

    /// Enters, when nobody has it closed.
    func enter() -> Grace.Pass {
        var patience = Patience()
        while true {
            while closings.load(ordering: .sequentiallyConsistent) > 0 { patience.pause() }
            let pass = inside.enter()
            // Who closes from now on waits for this thread.
            if closings.load(ordering: .sequentiallyConsistent) == 0 { return pass }
            inside.leave(pass)
        }
    }

    func leave(_ pass: Grace.Pass) { inside.leave(pass) }

    /// What `body` gives, inside.
    func pass<Value>(_ body: () -> Value) -> Value {
        let pass = enter()
        defer { leave(pass) }
        return body()
    }

    /// From its return to `open` nobody is inside. Several may have it closed at a time.
    func close() {
        closings.add(1, ordering: .sequentiallyConsistent)
        inside.wait()
    }

    func open() { closings.subtract(1, ordering: .sequentiallyConsistent) }
}
