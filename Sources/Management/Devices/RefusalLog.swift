import ISCSI
import ISCSIPort
import Logging
import Platform
import Resources

/// Counts refused logins, or requests, and tells the log of them, of so many only that a flood of them cannot fill the
/// disk.
final class RefusalLog: Sendable {
    /// The most lines in `interval`, beside one that says how many are left out.
    static let lineLimit = 10
    /// How long a count of lines lasts.
    static let interval = Duration.seconds(60)
    /// The most characters of a name that an initiator has sent.
    static let nameLimit = 255

    /// What the log says.
    struct Words: Sendable {
        let one: Logger.Message
        let more: Logger.Message

        static let logins = Words(one: "login refused", more: "more logins were refused")
        static let requests = Words(one: "request refused", more: "more requests were refused")
    }

    private struct Notes {
        var count = 0
        /// When the present interval began; nil when nothing was refused yet.
        var start: MonotonicTime?
        var lines = 0
        var suppressed = 0
        /// Whether `tellSuppressed` will be called.
        var isTellingLater = false
    }

    private let notes = Lock(Notes())
    private let logger: Logger
    private let words: Words
    private let clock: @Sendable () -> MonotonicTime
    private let later: @Sendable (Duration, @escaping @Sendable () -> Void) -> Void

    /// A log that writes to `logger`. `later` calls a function after a time.
    init(
        _ logger: Logger, _ words: Words = .logins, clock: @escaping @Sendable () -> MonotonicTime = { .current() },
        later: @escaping @Sendable (Duration, @escaping @Sendable () -> Void) -> Void = { delay, body in
            Task {
                try? await Task.sleep(for: delay)
                body()
            }
        }
    ) {
        self.logger = logger
        self.words = words
        self.clock = clock
        self.later = later
    }

    /// How many were refused.
    var count: Int { notes.withLock { $0.count } }

    /// A login was refused. On any thread.
    @Sendable func note(_ login: RefusedLogin) { note { Self.metadata(login) } }

    /// Something was refused, of which `metadata` tells. On any thread.
    func note(_ metadata: () -> Logger.Metadata) {
        let now = clock()
        let (isTold, isFirst) = notes.withLock { notes -> (Bool, Bool) in
            notes.count += 1
            if notes.start.map({ now - $0 >= Self.interval }) ?? true { (notes.start, notes.lines) = (now, 0) }
            guard notes.lines < Self.lineLimit else {
                notes.suppressed += 1
                defer { notes.isTellingLater = true }
                return (false, !notes.isTellingLater)
            }
            notes.lines += 1
            return (true, false)
        }
        if isTold { logger.notice(words.one, metadata: metadata()) }
        if isFirst { later(Self.interval) { [weak self] in self?.tellSuppressed() } }
    }

    private func tellSuppressed() {
        let suppressed = notes.withLock { notes in
            defer { (notes.suppressed, notes.isTellingLater) = (0, false) }
            return notes.suppressed
        }
        logger.notice(words.more, metadata: ["suppressed": "\(suppressed)"])
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
