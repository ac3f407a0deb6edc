import ISCSI
import Initiator
import Platform
import SCSI
import Synchronization
import Testing

@testable import ISCSIPort

@Suite("Limits of what peers can hold")
struct LimitTests {
    @Test("At the limit of sessions a login is refused with Out of resources, and works when one has ended")
    func sessions() throws {
        var limits = PortLimits()
        limits.sessions = 2
        let stage = try Stage(limits: limits)
        let first = try stage.initiator()
        let second = try stage.initiator()
        #expect(throws: InitiatorError.loginRefused(.outOfResources, address: nil)) { _ = try stage.initiator() }
        #expect(stage.server.sessionCount(targetName: Stage.targetName) == 2)
        try first.logOut()
        let hasRoom = stage.eventually { stage.server.sessionCount(targetName: Stage.targetName) == 1 }
        #expect(hasRoom)
        let third = try stage.initiator()
        for initiator in [second, third] {
            let echo = try initiator.ping([1])
            #expect(echo == [1])
        }
    }

    @Test("One address cannot take the places of all others before the login: its own oldest makes room")
    func connectionsFromOneAddress() throws {
        var limits = PortLimits()
        limits.loginConnectionsPerAddress = 4
        let stage = try Stage(limits: limits)
        let silent = try (0..<4).map { _ in try stage.rawInitiator() }
        let areIn = stage.eventually { stage.server.connectionCount == 4 }
        #expect(areIn)
        let initiator = try stage.initiator()
        try silent[0].connection.waitUntilClosed()
        // A connection that has logged in counts no more: three are left, and one more has room.
        let another = try stage.rawInitiator()
        let areFive = stage.eventually { stage.server.connectionCount == 5 }
        #expect(areFive)
        let logins = stage.server.registry.withLock { $0.logins.count }
        #expect(logins == 4)
        let echo = try initiator.ping([2])
        #expect(echo == [2])
        withExtendedLifetime((silent, another)) {}
    }

    @Test("Counts of sessions follow their beginning and their end, and nothing is kept of what is gone")
    func counts() throws {
        let stage = try Stage()
        let initiators = try (0..<6).map { _ in try stage.initiator() }
        #expect(stage.server.sessionCounts() == [Stage.targetName: 6])
        #expect(stage.reactors.map { load(stage, $0) } == [3, 3])
        for initiator in initiators { try initiator.logOut() }
        let areGone = stage.eventually { stage.server.connectionCount == 0 }
        #expect(areGone)
        #expect(stage.server.sessionCounts().isEmpty)
        #expect(stage.reactors.map { load(stage, $0) } == [0, 0])
        let origins = stage.server.registry.withLock { $0.logins.originCount }
        #expect(origins == 0)
    }

    private func load(_ stage: Stage, _ reactor: Reactor) -> Int {
        stage.server.registry.withLock { $0.sessionCount(on: reactor) }
    }
}
