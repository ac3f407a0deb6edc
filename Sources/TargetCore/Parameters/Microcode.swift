internal import Bytes
internal import Platform
internal import SCSI

/// The microcode that initiators have downloaded to a unit whose profile accepts any (SPC-5 clause 5.5). Nothing of it
/// is carried out: it changes what the unit says it is, PRODUCT REVISION LEVEL, which is the first four bytes of the
/// microcode. Any thread.
final class Microcode: Sendable {
    /// The bytes of PRODUCT REVISION LEVEL.
    static let revisionLength = 4

    private struct Deferred {
        let number: UInt64
        let revision: [UInt8]
        let writer: Registrant
        /// The BUFFER OFFSET of the piece that comes next.
        var end: Int
    }

    private struct State {
        /// That of microcode which was activated and not saved.
        var unsaved: [UInt8]?
        var deferred: Deferred?
        /// How often microcode to be activated later was begun.
        var begun: UInt64 = 0
    }
    private let state = Lock(State())

    /// The revision of microcode that is active until the process ends; nil when it is the saved one.
    var unsavedRevision: [UInt8]? { state.withLock { $0.unsaved } }

    /// Activates microcode of that revision; with nil, the saved one is active.
    func activate(unsaved revision: [UInt8]?) { state.withLock { $0.unsaved = revision } }

    /// The first piece of microcode that is activated later, in place of what there was.
    func begin(_ revision: [UInt8], count: Int, of writer: Registrant) {
        state.withLock { state in
            state.begun += 1
            state.deferred = Deferred(number: state.begun, revision: revision, writer: writer, end: count)
        }
    }

    /// Another piece; false when it does not follow the one before, of the same nexus.
    func add(count: Int, at offset: Int, of writer: Registrant) -> Bool {
        state.withLock { state in
            guard state.deferred?.writer == writer, state.deferred?.end == offset else { return false }
            state.deferred?.end += count
            return true
        }
    }

    /// The microcode that waits to be activated: its revision, and a number that no other has; nil when there is none.
    var deferred: (revision: [UInt8], number: UInt64)? {
        state.withLock { state in state.deferred.map { ($0.revision, $0.number) } }
    }

    /// The microcode of that number waits no more; what came in its place does.
    func endDeferred(_ number: UInt64) {
        state.withLock { if $0.deferred?.number == number { $0.deferred = nil } }
    }
}

/// The modes of WRITE BUFFER that download microcode (SPC-5 clause 6.49.4 and following). Which bytes are the last of
/// microcode that comes in pieces only an activation of its own says, so the modes 06h and 07h are refused.
extension LogicalUnit {
    enum MicrocodeMode: UInt8 {
        /// Download and activate.
        case activate = 0x04
        /// Download, save and activate.
        case save = 0x05
        /// Download with offsets, save and defer activation.
        case `defer` = 0x0E
        /// Activate what was deferred.
        case activateDeferred = 0x0F
    }

    /// PRODUCT REVISION LEVEL of the active microcode; nil when it is that of the profile.
    var downloadedRevision: [UInt8]? {
        guard server.acceptsMicrocode else { return nil }
        if let revision = microcode.unsavedRevision { return revision }
        let saved = parameters[KeptParameter(.microcode)]
        return saved.isEmpty ? nil : saved
    }

    /// The mode of a WRITE BUFFER, when it is one of microcode and the unit accepts any.
    func microcodeMode(_ task: SCSITask) -> MicrocodeMode? {
        server.acceptsMicrocode ? MicrocodeMode(rawValue: task.commandDescriptorBlock[1]) : nil
    }

    func beginMicrocode(_ task: SCSITask, _ mode: MicrocodeMode) -> CommandProgress {
        let block = task.commandDescriptorBlock
        switch mode {
        // BUFFER ID, BUFFER OFFSET and PARAMETER LIST LENGTH are ignored.
        case .activateDeferred: return .awaitDataOut(length: 0)
        case .activate, .save: break
        case .defer: guard block[2] == 0 else { return task.failInvalidField(byte: 2) }
        }
        return .awaitDataOut(length: Int(block.bytes.loadBE24(at: 6)))
    }

    func downloadMicrocode(_ task: SCSITask, _ nexus: ITLNexus, _ mode: MicrocodeMode) -> CommandProgress {
        if mode == .activateDeferred {
            guard let deferred = microcode.deferred else {
                return task.fail(.illegalRequest, .commandSequenceError)
            }
            return saveMicrocode(task, nexus, deferred.revision, deferred: deferred.number)
        }
        let (count, first) = task.parameterListStart(Microcode.revisionLength)
        guard count > 0 else { return task.good() }
        let offset = mode == .defer ? Int(task.commandDescriptorBlock.bytes.loadBE24(at: 3)) : 0
        guard offset == 0 else {
            return microcode.add(count: count, at: offset, of: nexus.registrant)
                ? task.good() : task.failInvalidField(byte: 3)
        }
        guard first.count == Microcode.revisionLength else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        if let byte = first.firstIndex(where: { !(0x20...0x7E).contains($0) }) {
            return task.failInvalidParameter(byte: byte)
        }
        switch mode {
        case .defer:
            microcode.begin(first, count: count, of: nexus.registrant)
            return task.good()
        case .save: return saveMicrocode(task, nexus, first)
        case .activate, .activateDeferred:
            microcode.activate(unsaved: first)
            attachedNexuses.establishUnitAttention(.microcodeHasBeenChanged, except: nexus)
            return task.good()
        }
    }

    /// Activates microcode of that revision when it is kept. Then what was deferred under that number waits no more; a
    /// command that fails leaves it for the next.
    private func saveMicrocode(
        _ task: SCSITask, _ nexus: ITLNexus, _ revision: [UInt8], deferred number: UInt64? = nil
    ) -> CommandProgress {
        keep(
            for: task, { [KeptParameter(.microcode): revision] },
            whenKept: { [microcode, attachedNexuses] _ in
                microcode.activate(unsaved: nil)
                if let number { microcode.endDeferred(number) }
                attachedNexuses.establishUnitAttention(.microcodeHasBeenChanged, except: nexus)
            }, then: { task, _ in task.good() })
    }
}
