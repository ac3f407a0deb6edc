import ISCSI
import Platform
import Testing

@testable import ISCSIPort

@Suite("Response fences without a session")
struct ResponseFencesTests {
    private final class Peer: FencedConnection {
        var nextStatSN = SequenceNumber(10)
        var acknowledgedStatSN = SequenceNumber(10)
        var isInSession = true

        func send() { nextStatSN = nextStatSN.advanced(by: 1) }
        func acknowledge() { acknowledgedStatSN = nextStatSN }
    }

    /// Fences for two peers, and what was done, as a session does it.
    private final class Bench {
        let first = Peer()
        let second = Peer()
        var fences = ResponseFences<Peer, Int>()
        var log: [String] = []
        var deadline = MonotonicTime(nanoseconds: 100)

        func fence(_ name: String) {
            fences.append(on: first) { [unowned self] in
                log.append(name)
                first.send()
            }
            advance()
        }

        func giveUp(at now: MonotonicTime) -> Bool {
            let hasGivenUp = fences.giveUp(at: now)
            if hasGivenUp { advance() }
            return hasGivenUp
        }

        func advance() {
            while let step = fences.next([first, second], until: deadline) {
                switch step {
                case .ask(let peers): log += peers.map { $0 === first ? "ask first" : "ask second" }
                case .respond(let respond): respond()
                case .release(let outcomes): log += outcomes.map { "outcome \($0)" }
                }
            }
        }
    }

    @Test("The response waits for all before it, and all after it for its own acknowledgement")
    func order() {
        let bench = Bench()
        bench.second.send()
        bench.fence("response")
        bench.fences.hold(1)
        #expect(bench.log == ["ask second"] && bench.fences.isRaised && bench.fences.deadline == bench.deadline)
        bench.second.acknowledge()
        bench.advance()
        #expect(bench.log == ["ask second", "response", "ask first"])
        bench.fences.hold(2)
        bench.first.acknowledge()
        bench.advance()
        #expect(bench.log.suffix(2) == ["outcome 1", "outcome 2"])
        #expect(!bench.fences.isRaised && bench.fences.count == 0 && bench.fences.deadline == nil)
    }

    @Test("Fences follow one another, and outcomes wait for the last of them")
    func several() {
        let bench = Bench()
        bench.fence("a")
        bench.fence("b")
        bench.fences.hold(1)
        #expect(bench.log == ["a", "ask first"] && bench.fences.count == 2)
        bench.first.acknowledge()
        bench.advance()
        #expect(bench.log == ["a", "ask first", "b", "ask first"])
        bench.first.acknowledge()
        bench.advance()
        #expect(bench.log.last == "outcome 1" && !bench.fences.isRaised)
    }

    @Test("What is not acknowledged in time is given up, before the response and after it")
    func deadlines() {
        let bench = Bench()
        bench.second.send()
        bench.fence("response")
        let isEarly = bench.giveUp(at: MonotonicTime(nanoseconds: 99))
        #expect(!isEarly && bench.log == ["ask second"])
        let isBefore = bench.giveUp(at: bench.deadline)
        #expect(isBefore && bench.log == ["ask second", "response"] && bench.fences.count == 0)
        bench.fence("next")
        bench.first.acknowledge()
        bench.second.acknowledge()
        bench.advance()
        #expect(bench.log.suffix(2) == ["next", "ask first"] && bench.fences.isRaised)
        let isAfter = bench.giveUp(at: bench.deadline)
        #expect(isAfter && bench.fences.count == 0 && !bench.fences.isRaised)
        let isOver = bench.giveUp(at: .distantFuture)
        #expect(!isOver)
    }

    @Test("A connection that is gone is waited for no more; its own response goes with it")
    func goneConnections() {
        let bench = Bench()
        bench.second.send()
        bench.fence("lost")
        bench.second.isInSession = false
        bench.first.isInSession = false
        bench.advance()
        #expect(bench.log == ["ask second"] && bench.fences.count == 0)
    }

    @Test("The first outcome after tasks were cleared by others begins a fence itself")
    func outcomes() {
        var fences = ResponseFences<Peer, Int>()
        #expect(!fences.isRaised)
        var taken = [fences.takeFenceOfOutcome()]
        fences.fenceNextOutcome()
        #expect(fences.isRaised)
        for _ in 0..<2 { taken.append(fences.takeFenceOfOutcome()) }
        #expect(taken == [false, true, false])
    }
}
