public import Media
internal import Platform
internal import SCSI
internal import TargetCore

/// What became of an operator's acknowledgement of a loss of data.
public enum LossAcknowledgement: Equatable, Sendable {
    /// What was not durable is gone for good, and the cartridge can be written again.
    case acknowledged
    /// The cartridge in the drive has no loss to acknowledge.
    case nothingLost
    /// There is no cartridge in the drive that can be used.
    case empty
    /// The host could not record it; nothing has changed.
    case failed(MediaFailure)
    /// The robot is at work, or the reactor does not take requests any more.
    case busy
}

/// When the host loses data that commands have ended with GOOD for.
///
/// A nexus with buffered writes is told: by a current error if a command of its own was to make them durable, else by a
/// deferred error, whatever the operation was in which the host failed: another nexus's command, a checkpoint in the
/// background, the robot's unload. Until the loss is acknowledged every command that writes, and every one whose GOOD
/// would mean that data are durable, ends with MEDIUM ERROR, on whatever nexus, so that an initiator that has logged in
/// again learns of it too.
extension TapeDeviceServer {
    /// Has losses on a cartridge reported.
    func watchForLoss(of cartridge: Cartridge) {
        let barcode = cartridge.identity.barcode
        // Called on the thread where it happens.
        cartridge.whenLost { [weak self] loss in
            guard let self else { return }
            alerts.raise(.writeFailure)
            attachedNexuses.establishDeferredError(SenseData(.mediumError, .writeError))
            lossHandler.withLock { $0 }?(barcode, loss)
        }
    }

    /// Sets what is called, once for each loss and on any thread, with the bar code, the cause and the time.
    public func whenDataLost(_ handler: (@Sendable (String, LossReport) -> Void)?) {
        lossHandler.withLock { $0 = handler }
    }

    /// Ends a command with what a cartridge refused or could not do. A loss is a current error here; the deferred error
    /// for the same loss is not reported too.
    func fail(_ task: SCSITask, _ nexus: ITLNexus, _ failure: WriteFailure) -> CommandProgress {
        if case .dataLost = failure {
            _ = nexus.takeDeferredError()
            nexus.hasBufferedWrites = false
        }
        return task.fail(sense(of: failure))
    }

    /// The sense data of what a cartridge could not do.
    func sense(of failure: WriteFailure, information: Int64? = nil) -> SenseData {
        switch failure {
        case .dataLost: return SenseData(.mediumError, .writeError, information: information)
        case .host:
            alerts.raise(.writeFailure)
            return SenseData(.mediumError, .writeError, information: information)
        case .writeProtected: return SenseData(.dataProtect, .hardwareWriteProtected, information: information)
        case .wormOverwrite: return SenseData(.dataProtect, .wormOverwriteAttempted, information: information)
        case .auxiliaryMemory: return SenseData(.mediumError, .auxiliaryMemoryWriteError)
        }
    }

    /// Notes that a command of the task's nexus may end with GOOD before its data are durable. Before anything is
    /// written: who loses data on another thread reads it.
    func noteBufferedWrite(_ nexus: ITLNexus) {
        nexus.hasBufferedWrites = true
        state.hasBufferedWrites = true
    }

    /// Everything is durable: no nexus is concerned by a later loss.
    func forgetBufferedWrites() {
        guard state.hasBufferedWrites else { return }
        state.hasBufferedWrites = false
        for nexus in attachedNexuses.all { nexus.hasBufferedWrites = false }
    }

    /// Acknowledges the loss on the cartridge that is in the drive. Any thread; `completion` runs on the drive's
    /// reactor.
    public func acknowledgeLoss(completion: @escaping @Sendable (LossAcknowledgement) -> Void) {
        let accepted = reactor.post {
            self.whenIdle { self.acknowledge(completion) }
        }
        if !accepted { completion(.busy) }
    }

    private func acknowledge(_ completion: @escaping @Sendable (LossAcknowledgement) -> Void) {
        if case .moving = state.medium { return completion(.busy) }
        guard let cartridge = heldCartridge else { return completion(.empty) }
        guard cartridge.loss != nil else { return completion(.nothingLost) }
        let medium = state.medium
        state.medium = .moving
        mechanism.acknowledgeLoss(of: cartridge) { failure in
            self.state.medium = medium
            self.state.hasWriteFailed = false
            completion(failure.map { .failed($0) } ?? .acknowledged)
        }
    }
}
