internal import Bytes
internal import SCSI

/// The modes of WRITE BUFFER that download microcode (SPC-5 clause 6.49.4 and following).
///
/// No command says which piece is the last of microcode that comes in pieces, and only the first four bytes have an
/// effect. So the modes 06h and 07h activate it with the first piece, and the others must follow it.
extension LogicalUnit {
    enum MicrocodeMode: UInt8 {
        /// Download and activate.
        case activate = 0x04
        /// Download, save and activate.
        case save = 0x05
        /// Download with offsets and activate.
        case activatePieces = 0x06
        /// Download with offsets, save and activate.
        case savePieces = 0x07
        /// Download with offsets, select activation events, save and defer activation.
        case deferUntilEvents = 0x0D
        /// Download with offsets, save and defer activation.
        case `defer` = 0x0E
        /// Activate what was deferred.
        case activateDeferred = 0x0F

        var hasOffsets: Bool {
            switch self {
            case .activatePieces, .savePieces, .deferUntilEvents, .defer: true
            case .activate, .save, .activateDeferred: false
            }
        }

        var defersActivation: Bool { self == .defer || self == .deferUntilEvents }
    }

    /// MODE, in byte 1 of the command.
    private static let modeMask: UInt8 = 0x1F
    /// PO_ACT of mode 0Dh: power on activates the microcode, that is, the next beginning of the unit. There are no hard
    /// resets and no events of the vendor's that could (HRA_SUP and VSA_SUP of the Extended INQUIRY Data page).
    private static let powerOnActivates: UInt8 = 0x80

    private static let saved = KeptParameter(.microcode)
    private static let deferred = KeptParameter(.microcode, 1)

    // MARK: The revision

    /// PRODUCT REVISION LEVEL of the active microcode; nil when it is that of the profile.
    var downloadedRevision: [UInt8]? {
        guard server.acceptsMicrocode else { return nil }
        if let revision = microcode.unsavedRevision { return revision }
        let saved = parameters[Self.saved]
        return saved.isEmpty ? nil : saved
    }

    /// PRODUCT REVISION LEVEL, as INQUIRY tells it, without blanks at its end.
    public var revision: String { Self.text(downloadedRevision ?? ownRevision) }

    /// That of the profile.
    private var ownRevision: [UInt8] { Array(identity.revision.utf8.prefix(Microcode.revisionLength)) }

    private static func text(_ revision: [UInt8]) -> String {
        String(decoding: revision.prefix((revision.lastIndex { $0 != 0x20 } ?? -1) + 1), as: UTF8.self)
    }

    /// Has `change` make other microcode active, and tells the other nexuses and who wants to know.
    private func activating(_ nexus: ITLNexus?, _ change: () -> Void) {
        change()
        if let nexus { attachedNexuses.establishUnitAttention(.microcodeHasBeenChanged, except: nexus) }
        let new = revision
        let old = microcode.tell(new) ?? Self.text(ownRevision)
        guard new != old else { return }
        whenMicrocodeChanged?(MicrocodeChange(old: old, new: new, initiator: nexus?.iTNexus.initiatorPort.name))
    }

    /// Activates what was to be activated by power on, and has the rest wait on. Before the unit is offered.
    func restoreMicrocode() {
        guard server.acceptsMicrocode else { return }
        _ = microcode.tell(revision)
        guard let deferred = Microcode.Deferred(parameters[Self.deferred]) else { return }
        guard deferred.isForPowerOn else { return microcode.defer(deferred) }
        let revision = deferred.revision
        activating(nil) { microcode.activate(unsaved: revision) }
        // Where this cannot be kept, the next beginning does it again.
        parameters.change({ [Self.saved: revision, Self.deferred: []] }) { [microcode] outcome, proceed in
            if case .kept = outcome { microcode.noteSaved(revision) }
            proceed()
        }
    }

    // MARK: WRITE BUFFER

    /// The mode of a WRITE BUFFER, when it is one of microcode and the unit accepts any.
    func microcodeMode(_ task: SCSITask) -> MicrocodeMode? {
        guard server.acceptsMicrocode else { return nil }
        return MicrocodeMode(rawValue: task.commandDescriptorBlock[1] & Self.modeMask)
    }

    func beginMicrocode(_ task: SCSITask, _ mode: MicrocodeMode) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let specific = block[1] & ~Self.modeMask & ~(mode == .deferUntilEvents ? Self.powerOnActivates : 0)
        guard specific == 0 else { return task.failInvalidField(byte: 1, bit: 7 - specific.leadingZeroBitCount) }
        // BUFFER ID, BUFFER OFFSET and PARAMETER LIST LENGTH are ignored.
        if mode == .activateDeferred { return .awaitDataOut(length: 0) }
        guard !mode.hasOffsets || block[2] == 0 else { return task.failInvalidField(byte: 2) }
        return .awaitDataOut(length: Int(block.bytes.loadBE24(at: 6)))
    }

    func downloadMicrocode(_ task: SCSITask, _ nexus: ITLNexus, _ mode: MicrocodeMode) -> CommandProgress {
        if mode == .activateDeferred { return activateDeferred(task, nexus) }
        let (count, first) = task.parameterListStart(Microcode.revisionLength)
        guard count > 0 else { return task.good() }
        let offset = mode.hasOffsets ? Int(task.commandDescriptorBlock.bytes.loadBE24(at: 3)) : 0
        guard offset == 0 else {
            return microcode.add(mode, count: count, at: offset, of: nexus.registrant)
                ? task.good() : task.failInvalidField(byte: 3)
        }
        guard first.count == Microcode.revisionLength else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        if let byte = first.firstIndex(where: { !(0x20...0x7E).contains($0) }) {
            return task.failInvalidParameter(byte: byte)
        }
        switch mode {
        case .activate, .activatePieces, .activateDeferred:
            if mode.hasOffsets { microcode.begin(mode, count: count, of: nexus.registrant) }
            activating(nexus) { microcode.activate(unsaved: first) }
            return task.good()
        case .save, .savePieces:
            return keep(
                for: task, { [Self.saved: first] },
                whenKept: { [self] _ in
                    if mode.hasOffsets { microcode.begin(mode, count: count, of: nexus.registrant) }
                    activating(nexus) { microcode.activate(unsaved: nil) }
                }, then: { task, _ in task.good() })
        case .defer, .deferUntilEvents:
            // Mode 0Eh: power on, or mode 0Fh.
            let deferred = Microcode.Deferred(
                revision: first,
                isForPowerOn: mode == .defer || task.commandDescriptorBlock[1] & Self.powerOnActivates != 0)
            return keep(
                for: task, { [Self.deferred: deferred.encoded] },
                whenKept: { [microcode] _ in
                    microcode.defer(deferred)
                    microcode.begin(mode, count: count, of: nexus.registrant)
                }, then: { task, _ in task.good() })
        }
    }

    /// Activates what is deferred when it is kept as active. A command that fails leaves it for the next; while one is
    /// at it, there is nothing to activate for another.
    private func activateDeferred(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let deferred = microcode.beginActivation() else {
            return task.fail(.illegalRequest, .commandSequenceError)
        }
        return keep(
            // What comes in its place is kept after this.
            for: task, { [Self.saved: deferred.revision, Self.deferred: []] },
            whenKept: { [self] _ in
                activating(nexus) { microcode.activate(unsaved: nil) }
                microcode.endActivation(of: deferred, isActive: true)
            },
            whenRefused: { [microcode] in microcode.endActivation(of: deferred, isActive: false) },
            then: { task, _ in task.good() })
    }
}
