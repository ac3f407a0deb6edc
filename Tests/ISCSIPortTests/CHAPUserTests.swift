import Authentication
import ISCSI
import Initiator
import Platform
import SCSI
import TargetCore
import Testing

@testable import ISCSIPort

/// The logins that were refused.
private final class Refusals: Sendable {
    let all = Lock<[RefusedLogin]>([])
}

/// A session is its CHAP user's as well as its initiator port's.
@Suite("CHAP users and sessions")
struct CHAPUserTests {
    private static let users = ["u1", "u2"].map { CHAPCredential(name: $0, secret: Array("\($0)-swordfish-fish".utf8)) }
    private let access = ScriptedAccess()
    private let refused = Refusals()
    private let fixture: PortFixture

    init() throws {
        fixture = try PortFixture(
            access: access, loginRefused: { [refused] login in refused.all.withLock { $0.append(login) } })
        require(true)
    }

    private func require(_ isProofRequired: Bool) {
        access.change {
            $0.access = .granted(
                isProofRequired ? .chap(initiators: Self.users, target: nil, provider: .standard) : .none)
        }
    }

    private func settings(_ user: Int?, _ identifier: InitiatorSessionID) -> InitiatorSettings {
        var settings = InitiatorSettings(targetName: PortFixture.targetName)
        settings.initiatorSessionID = identifier
        settings.operational.preferred.maxConnections = 2
        settings.credential = user.map { Self.users[$0] }
        settings.authenticationProvider = .standard
        return settings
    }

    private func logIn(_ user: Int?, _ identifier: InitiatorSessionID) throws -> BlockingInitiator {
        let initiator = try BlockingInitiator.logIn(to: fixture.address, settings(user, identifier))
        _ = try initiator.waitUntilReady(LogicalUnitNumber(0))
        return initiator
    }

    private func expectAlive(_ initiator: BlockingInitiator) throws {
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("A nexus is its initiator's, its user's and its address's, whatever port of the initiator begins it")
    func owner() throws {
        let name = settings(0, .random()).initiatorName
        let sessions = [try logIn(0, .random()), try logIn(0, .random()), try logIn(1, .random())]
        let owners = fixture.target.nexuses.map(\.owner)
        for (user, count) in [("u1", 2), ("u2", 1)] {
            let owner = NexusOwner(initiatorName: name, user: user, address: "127.0.0.1")
            #expect(owners.count { $0 == owner } == count)
        }
        require(false)
        let unproven = try logIn(nil, .random())
        #expect(fixture.target.nexuses.contains { $0.owner?.user == nil })
        for session in sessions + [unproven] { try session.logOut() }
    }

    @Test("Another user does not reinstate it, and it goes on; its own user does")
    func reinstatement() throws {
        let identifier = InitiatorSessionID.random()
        let first = try logIn(0, identifier)
        #expect(fixture.server.sessions().map(\.authenticatedName) == ["u1"])
        #expect(throws: InitiatorError.loginRefused(.authorizationFailure, address: nil)) {
            _ = try logIn(1, identifier)
        }
        try expectAlive(first)
        #expect(refused.all.withLock { $0.map(\.claims.chapName) } == ["u2"])
        #expect(fixture.server.sessions().count == 1)
        let again = try logIn(0, identifier)
        try first.connection.waitUntilClosed()
        try expectAlive(again)
        // Elsewhere the other user has sessions of its own.
        let other = try logIn(1, .random())
        try expectAlive(other)
        #expect(fixture.server.sessions().map(\.authenticatedName) == ["u1", "u2"])
        // Nothing is left of what was refused.
        try again.logOut()
        try other.logOut()
        let isEmpty = fixture.eventually { fixture.server.connectionCount == 0 && fixture.pendingTimers == 0 }
        #expect(isEmpty)
        #expect(fixture.server.registry.withLock { $0.nexusCount } == 0)
    }

    @Test(
        "Who had to prove nothing does not end what somebody has proved; who proves something takes over the other way")
    func withoutProof() throws {
        let identifier = InitiatorSessionID.random()
        let first = try logIn(0, identifier)
        require(false)
        #expect(throws: InitiatorError.loginRefused(.authorizationFailure, address: nil)) {
            _ = try logIn(nil, identifier)
        }
        try expectAlive(first)
        let unproved = InitiatorSessionID.random()
        let second = try logIn(nil, unproved)
        require(true)
        let third = try logIn(1, unproved)
        try second.connection.waitUntilClosed()
        try expectAlive(third)
        try expectAlive(first)
    }

    @Test("Nor does another user join it, or replace a connection of it")
    func joining() throws {
        let identifier = InitiatorSessionID.random()
        let first = try logIn(0, identifier)
        let report = try #require(first.loginReport)
        for connectionID in [0, 1] as [UInt16] {
            let joining = settings(1, identifier).joining(report, connectionID: connectionID, cmdSN: first.nextCmdSN)
            #expect(throws: InitiatorError.loginRefused(.authorizationFailure, address: nil)) {
                _ = try BlockingInitiator.logIn(to: fixture.address, joining)
            }
            try expectAlive(first)
        }
        let own = settings(0, identifier).joining(report, connectionID: 1, cmdSN: first.nextCmdSN)
        let joined = try BlockingInitiator.logIn(to: fixture.address, own)
        #expect(fixture.server.sessions().map(\.connections.count) == [2])
        try expectAlive(joined)
    }

    @Test("Refused logins are told of with what the initiator said of itself; a redirection is none")
    func refusals() throws {
        var wrong = settings(0, .random())
        wrong.credential?.secret[0] ^= 1
        #expect(throws: InitiatorError.self) { _ = try BlockingInitiator.logIn(to: fixture.address, wrong) }
        access.change { $0.access = .refused(.authorizationFailure) }
        #expect(throws: InitiatorError.self) { _ = try logIn(0, .random()) }
        access.change { $0.access = .moved(address: "192.0.2.1:3260", permanently: false) }
        #expect(throws: InitiatorError.self) { _ = try logIn(0, .random()) }
        var unknown = InitiatorSettings(targetName: "iqn.2026-11.dev.carousel:nothing")
        unknown.initiatorName = "iqn.2026-11.test:x"
        #expect(throws: InitiatorError.self) { _ = try BlockingInitiator.logIn(to: fixture.address, unknown) }
        let all = refused.all.withLock { $0 }
        #expect(all.map(\.status) == [.authenticationFailure, .authorizationFailure, .targetNotFound])
        #expect(all.map(\.claims.chapName) == ["u1", nil, nil])
        #expect(all.map(\.claims.initiatorName?.last) == ["r", "r", "x"])
        #expect(all.last?.claims.targetName == "iqn.2026-11.dev.carousel:nothing")
        #expect(all.allSatisfy { $0.peerAddress.host == "127.0.0.1" && $0.localAddress == fixture.address })
    }
}
