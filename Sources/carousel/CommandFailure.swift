import Console
import Management
import Resources

/// What the exit codes mean; the numbers above 63 are those of sysexits.h.
enum ExitStatus: Int32 {
    /// Refused as things stand, and nothing changed unless the sentence says so.
    case refused = 1
    /// What 'diff' is given cannot be applied; 1 means that there are differences.
    case notComparable = 2
    /// The command line makes no sense, a name, number or size in it included.
    case usage = 64
    /// The catalog or a medium is damaged, or of a newer version.
    case dataError = 65
    /// No daemon answers.
    case unavailable = 69
    /// A defect of Carousel.
    case software = 70
    /// The system refused.
    case systemError = 71
    /// The daemon ended, but a medium could not be written out; or standard output could not be written.
    case notWrittenOut = 74
    /// The state folder or the port is in use.
    case temporaryFailure = 75
    /// Ctrl-C has ended the command; what it had asked for goes on.
    case interrupted = 130
}

/// Why a command failed: the sentence for the user and the exit code.
struct CommandFailure: Error {
    let status: ExitStatus
    let message: String

    init(_ status: ExitStatus, _ message: String) {
        self.status = status
        self.message = message
    }

    /// A request that the daemon refused or did not answer.
    init(_ error: ControlClientError) {
        switch error {
        case .unreachable(let message): self.init(.unavailable, message)
        case .refused(let error): self.init(Self.status(of: error.code), error.message)
        case .invalid(let error): self.init(.usage, error.message)
        case .notUnderstood(let message): self.init(.software, message)
        }
    }

    /// A failure of the daemon to start.
    init(starting error: ManagementError) {
        let isInUse = error.code == .conflict || error.code == .inUse
        self.init(isInUse ? .temporaryFailure : Self.status(of: error.code), error.message)
    }

    private static func status(of code: ManagementError.Code) -> ExitStatus {
        switch code {
        case .invalid: .usage
        case .notFound, .conflict, .outdated, .inUse, .unauthenticated, .forbidden: .refused
        case .damaged: .dataError
        case .system: .systemError
        case .internal: .software
        }
    }
}

/// Runs `body` on words of the command line: what it refuses is a mistake of usage.
func parsing<Value>(_ body: () throws(ManagementError) -> Value) throws(CommandFailure) -> Value {
    do { return try body() } catch { throw CommandFailure(.usage, error.message) }
}
