import ISCSI
import ISCSIPort
import Logging
import Platform
import Resources

/// Counts refused logins, or requests, and tells the log of them, of so many only that a flood of them cannot fill the
/// disk.
final class RefusalLog: Sendable {
    /// The most characters of a name that an initiator has sent.
    static let nameLimit = 255

    /// What the log says.
    struct Words: Sendable {
        let one: Logger.Message
        let more: Logger.Message

        static let logins = Words(one: "login refused", more: "more logins were refused")
        static let requests = Words(one: "request refused", more: "more requests were refused")
    }

    private let counter = Lock(0)
    private let logger: Logger
    private let words: Words
    private let pace: NoticePace

    /// A log that writes to `logger`. `later` calls a function after a time.
    init(
        _ logger: Logger, _ words: Words = .logins, clock: @escaping @Sendable () -> MonotonicTime = { .current() },
        later: @escaping @Sendable (Duration, @escaping @Sendable () -> Void) -> Void = NoticePace.sleep
    ) {
        self.logger = logger
        self.words = words
        pace = NoticePace(clock: clock, later: later) { suppressed in
            logger.notice(words.more, metadata: ["suppressed": "\(suppressed)"])
        }
    }

    /// How many were refused.
    var count: Int { counter.withLock { $0 } }

    /// A login was refused. On any thread.
    @Sendable func note(_ login: RefusedLogin) { note { Self.metadata(login) } }

    /// Something was refused, of which `metadata` tells. On any thread.
    func note(_ metadata: () -> Logger.Metadata) {
        counter.withLock { $0 += 1 }
        if pace.admits() { logger.notice(words.one, metadata: metadata()) }
    }

    private static func metadata(_ login: RefusedLogin) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "reason": "\(login.status)", "peer": "\(login.peerAddress)", "local": "\(login.localAddress)",
        ]
        metadata["initiator"] = login.claims.initiatorName.map(printable)
        metadata["target"] = login.claims.targetName.map(printable)
        metadata["user"] = login.claims.chapName.map(printable)
        return metadata
    }

    private static func printable(_ name: String) -> Logger.MetadataValue {
        "\(PrintableText.escaped(String(String.UnicodeScalarView(name.unicodeScalars.prefix(nameLimit)))))"
    }
}
