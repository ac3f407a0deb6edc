internal import Platform
internal import SCSI

/// Other microcode is active in a unit: what an operator wants to know of it.
public struct MicrocodeChange: Hashable, Sendable {
    /// PRODUCT REVISION LEVEL until then, without blanks at its end.
    public let old: String
    /// PRODUCT REVISION LEVEL from then on.
    public let new: String
    /// The name of the initiator port that has activated it; nil when the unit's beginning has.
    public let initiator: String?
}

/// The microcode that initiators have downloaded to a unit whose profile accepts any (SPC-5 clause 5.5). Nothing of it
/// is carried out: it changes what the unit says it is, PRODUCT REVISION LEVEL, which is the first four bytes of the
/// microcode. Any thread.
final class Microcode: Sendable {
    /// The bytes of PRODUCT REVISION LEVEL.
    static let revisionLength = 4

    /// Microcode that is saved and waits to be activated.
    struct Deferred: Equatable {
        let revision: [UInt8]
        /// Whether the unit's next beginning activates it, not only an initiator.
        let isForPowerOn: Bool
        /// A number that no other has.
        fileprivate(set) var number: UInt64 = 0

        init(revision: [UInt8], isForPowerOn: Bool) {
            self.revision = revision
            self.isForPowerOn = isForPowerOn
        }

        /// What `encoded` says; nil when it says nothing.
        init?(_ encoded: [UInt8]) {
            guard encoded.count == Self.encodedLength else { return nil }
            self.init(revision: Array(encoded.dropLast()), isForPowerOn: encoded[Self.encodedLength - 1] != 0)
        }

        static let encodedLength = revisionLength + 1
        /// The form in which it is kept.
        var encoded: [UInt8] { revision + [isForPowerOn ? 1 : 0] }
    }

    /// Microcode that comes in pieces.
    private struct Download {
        let mode: LogicalUnit.MicrocodeMode
        let writer: Registrant
        /// The BUFFER OFFSET of the piece that comes next.
        var end: Int
    }

    private struct State {
        /// That of microcode which was activated and not saved.
        var unsaved: [UInt8]?
        var download: Download?
        var deferred: Deferred?
        /// Whether a command is activating what is deferred.
        var isActivating = false
        /// How much was deferred so far.
        var count: UInt64 = 0
        /// The revision that was told of last.
        var told: String?
    }
    private let state = Lock(State())

    /// The revision of microcode that is active until the process ends; nil when it is the saved one.
    var unsavedRevision: [UInt8]? { state.withLock { $0.unsaved } }

    /// Activates microcode of that revision; with nil, the saved one is active.
    func activate(unsaved revision: [UInt8]?) { state.withLock { $0.unsaved = revision } }

    /// Microcode that was activated as unsaved is saved now.
    func noteSaved(_ revision: [UInt8]) {
        state.withLock { if $0.unsaved == revision { $0.unsaved = nil } }
    }

    /// Notes that of this revision is told; what was told of before, if anything was.
    func tell(_ revision: String) -> String? {
        state.withLock { state in
            defer { state.told = revision }
            return state.told
        }
    }

    // MARK: Pieces

    /// The first piece of microcode has come, in place of what came in pieces before.
    func begin(_ mode: LogicalUnit.MicrocodeMode, count: Int, of writer: Registrant) {
        state.withLock { $0.download = Download(mode: mode, writer: writer, end: count) }
    }

    /// Another piece; false when it does not follow the one before, in the same mode and of the same nexus.
    func add(_ mode: LogicalUnit.MicrocodeMode, count: Int, at offset: Int, of writer: Registrant) -> Bool {
        state.withLock { state in
            guard let download = state.download, download.mode == mode, download.writer == writer,
                download.end == offset
            else { return false }
            state.download?.end += count
            return true
        }
    }

    // MARK: What is activated later

    /// That microcode waits to be activated, in place of what did.
    func `defer`(_ microcode: Deferred) {
        state.withLock { state in
            state.count += 1
            state.deferred = microcode
            state.deferred?.number = state.count
            state.isActivating = false
        }
    }

    /// The microcode that waits, for one who activates it and says by `endActivation` what has become of that; nil when
    /// there is none, or another one is activating it.
    func beginActivation() -> Deferred? {
        state.withLock { state in
            guard !state.isActivating, let deferred = state.deferred else { return nil }
            state.isActivating = true
            return deferred
        }
    }

    /// It was activated and waits no more, or goes on waiting. What came in its place meanwhile waits on, too.
    func endActivation(of microcode: Deferred, isActive: Bool) {
        state.withLock { state in
            guard state.deferred?.number == microcode.number else { return }
            state.isActivating = false
            guard isActive else { return }
            state.deferred = nil
            // No further pieces of it.
            if state.download?.mode.defersActivation == true { state.download = nil }
        }
    }
}
