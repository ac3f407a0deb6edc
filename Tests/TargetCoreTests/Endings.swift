import DeviceTestSupport
import Platform

/// How commands have ended, by their name.
final class Endings: Sendable {
    private let endings = Lock<[UInt8: CommandResult]>([:])

    subscript(name: UInt8) -> CommandResult? { endings.withLock { $0[name] } }

    func add(_ name: UInt8, _ result: CommandResult) { endings.withLock { $0[name] = result } }
}
