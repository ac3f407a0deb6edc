import ISCSI
import ISCSIPort
import Logging
import ManagementTestSupport
import Platform
import Testing

@testable import Management

/// Keeps what is logged.
private final class Lines: Sendable {
    let all = Lock<[String]>([])

    var logger: Logger { .collecting(.notice) { line in self.all.withLock { $0.append(line) } } }
}

@Suite("The log of refused logins")
struct RefusalLogTests {
    private let lines = Lines()

    private func refusal(_ claims: LoginClaims) throws -> RefusedLogin {
        RefusedLogin(
            status: .authenticationFailure, claims: claims, peerAddress: try #require(SocketAddress("192.0.2.1:5000")),
            localAddress: try #require(SocketAddress("127.0.0.1:3260")))
    }

    @Test("it says who, from where, to what and why, and nothing that commands a terminal")
    func words() throws {
        let log = RefusalLog(lines.logger)
        log.note(
            try refusal(
                LoginClaims(
                    initiatorName: "iqn.2026-11.test:\u{9B}x", targetName: "iqn.2026-11.test:t",
                    chapName: "u\n\u{1B}[2J")))
        log.note(try refusal(LoginClaims(chapName: String(repeating: "x", count: 10_000))))
        let all = lines.all.withLock { $0 }
        #expect(
            all.first
                == #"login refused initiator=iqn.2026-11.test:\u{9B}x local=127.0.0.1:3260 peer=192.0.2.1:5000 "#
                + #"reason=authentication failure target=iqn.2026-11.test:t user=u\u{A}\u{1B}[2J"#)
        #expect(all.count == 2 && all[1].utf8.count < 400)
        #expect(log.count == 2)
    }

    @Test("a flood is counted, and makes few lines")
    func flood() throws {
        let start = MonotonicTime.current()
        let seconds = Lock(0)
        let waiting = Lock<[@Sendable () -> Void]>([])
        let log = RefusalLog(
            lines.logger, clock: { start + .seconds(seconds.withLock { $0 }) },
            later: { _, body in waiting.withLock { $0.append(body) } })
        for minute in 1...3 {
            for _ in 0..<1000 { log.note(try refusal(LoginClaims())) }
            #expect(waiting.withLock { $0.count } == 1)
            #expect(lines.all.withLock { $0.count } == minute * (NoticePace.lineLimit + 1) - 1)
            seconds.withLock { $0 += 60 }
            for body in waiting.withLock({ bodies in
                defer { bodies = [] }
                return bodies
            }) { body() }
            #expect(lines.all.withLock { $0.last } == "more logins were refused suppressed=990")
        }
        #expect(log.count == 3000)
    }
}
