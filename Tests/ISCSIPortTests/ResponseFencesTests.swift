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
    private final class FenceFixture {
        let first = Peer()
        let second = Peer()
        let fences = ResponseFences<Peer, Int>()
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
        let fixture = FenceFixture()
        fixture.second.send()
        fixture.fence("response")
        fixture.fences.hold(1)
        #expect(fixture.log == ["ask second"] && fixture.fences.isRaised && fixture.fences.deadline == fixture.deadline)
        fixture.second.acknowledge()
        fixture.advance()
        #expect(fixture.log == ["ask second", "response", "ask first"])
        fixture.fences.hold(2)
        fixture.first.acknowledge()
        fixture.advance()
        #expect(fixture.log.suffix(2) == ["outcome 1", "outcome 2"])
        #expect(!fixture.fences.isRaised && fixture.fences.count == 0 && fixture.fences.deadline == nil)
    }

    @Test("Fences follow one another, and outcomes wait for the last of them")
    func several() {
        let fixture = FenceFixture()
        fixture.fence("a")
        fixture.fence("b")
        fixture.fences.hold(1)
        #expect(fixture.log == ["a", "ask first"] && fixture.fences.count == 2)
        fixture.first.acknowledge()
        fixture.advance()
        #expect(fixture.log == ["a", "ask first", "b", "ask first"])
        fixture.first.acknowledge()
        fixture.advance()
        #expect(fixture.log.last == "outcome 1" && !fixture.fences.isRaised)
    }

    @Test("What is not acknowledged in time is given up, before the response and after it")
    func deadlines() {
        let fixture = FenceFixture()
        fixture.second.send()
        fixture.fence("response")
        let isEarly = fixture.giveUp(at: MonotonicTime(nanoseconds: 99))
        #expect(!isEarly && fixture.log == ["ask second"])
        let isBefore = fixture.giveUp(at: fixture.deadline)
        #expect(isBefore && fixture.log == ["ask second", "response"] && fixture.fences.count == 0)
        fixture.fence("next")
        fixture.first.acknowledge()
        fixture.second.acknowledge()
        fixture.advance()
        #expect(fixture.log.suffix(2) == ["next", "ask first"] && fixture.fences.isRaised)
        let isAfter = fixture.giveUp(at: fixture.deadline)
        #expect(isAfter && fixture.fences.count == 0 && !fixture.fences.isRaised)
        let isOver = fixture.giveUp(at: .distantFuture)
        #expect(!isOver)
    }

    @Test("A connection that is gone is waited for no more; its own response goes with it")
    func goneConnections() {
        let fixture = FenceFixture()
        fixture.second.send()
        fixture.fence("lost")
        fixture.second.isInSession = false
        fixture.first.isInSession = false
        fixture.advance()
        #expect(fixture.log == ["ask second"] && fixture.fences.count == 0)
    }

    @Test("The first outcome after tasks were cleared by others begins a fence itself")
    func outcomes() {
        let fences = ResponseFences<Peer, Int>()
        #expect(!fences.isRaised)
        var taken = [fences.takeFenceOfOutcome()]
        fences.fenceNextOutcome()
        #expect(fences.isRaised)
        for _ in 0..<2 { taken.append(fences.takeFenceOfOutcome()) }
        #expect(taken == [false, true, false])
    }
}
