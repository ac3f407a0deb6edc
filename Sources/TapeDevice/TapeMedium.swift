public import Media
internal import Platform
internal import Profiles
internal import SCSI
internal import TargetCore

/// What became of a removal of the cartridge from a drive.
public enum MediumRemoval: Equatable, Sendable {
    /// The cartridge is closed; the failure, if any, is what that could not make durable.
    case removed(WriteFailure?)
    /// An initiator prevents the removal; nothing has changed.
    case prevented
    /// There is no cartridge in the drive.
    case empty
    /// The robot is at work already, or the reactor does not take requests any more.
    case busy
}

/// LOAD UNLOAD (SSC-5 clause 7.2), and the robot's hand.
extension TapeDeviceServer {
    func loadUnload(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let byte = task.commandDescriptorBlock[4]
        let isLoad = byte & 0x01 != 0
        // EOT: the medium has no place to stop at but its beginning. RETEN has nothing to do.
        if byte & 0x04 != 0 { return task.failInvalidField(byte: 4, bit: 2) }
        return isLoad ? load(task, isHeld: byte & 0x08 != 0) : unload(task, nexus, isHeld: byte & 0x08 != 0)
    }

    private func load(_ task: SCSITask, isHeld: Bool) -> CommandProgress {
        switch state.medium {
        case .none: return task.fail(.notReady, .mediumNotPresent)
        case .moving: return task.fail(.notReady, .becomingReady)
        case .unusable(let sense): return task.fail(sense)
        case .ready(let cartridge):
            state.isReadingFenced = false
            cartridge.rewind()
            return task.good()
        case .held(let cartridge), .ejected(let cartridge):
            if isHeld {
                state.medium = .held(cartridge)
            } else {
                makeReady(cartridge)
            }
            return task.good()
        }
    }

    private func unload(_ task: SCSITask, _ nexus: ITLNexus, isHeld: Bool) -> CommandProgress {
        switch state.medium {
        case .none: return task.fail(.notReady, .mediumNotPresent)
        case .moving: return task.fail(.notReady, .becomingReady)
        case .unusable, .ejected: return task.good()
        case .held(let cartridge):
            if !isHeld {
                guard !attachedNexuses.isMediumRemovalPrevented else {
                    return task.fail(.illegalRequest, .mediumRemovalPrevented)
                }
                state.medium = .ejected(cartridge)
            }
            return task.good()
        case .ready(let cartridge):
            guard isHeld || !attachedNexuses.isMediumRemovalPrevented else {
                return task.fail(.illegalRequest, .mediumRemovalPrevented)
            }
            cartridge.rewind()
            task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
                offloaded.failure = cartridge.close()
                return 0
            }
            return submit(task, .unload)
        }
    }

    /// Continues when everything is durable. A failure is told, and the cartridge is unloaded all the same: also a loss
    /// that was told before, because nothing says that this initiator knows of it.
    func unloadCompleted(
        _ task: SCSITask, _ nexus: ITLNexus, _ cartridge: Cartridge, isAbandoned: Bool
    ) -> CommandProgress {
        let isHeld = task.commandDescriptorBlock[4] & 0x08 != 0
        cartridge.withdrawLost()
        state.medium = isHeld ? .held(cartridge) : .ejected(cartridge)
        guard let failure = offloaded.failure else {
            forgetBufferedWrites()
            return task.good()
        }
        return isAbandoned ? .complete : fail(task, nexus, failure)
    }

    /// The cartridge can be used from now on; every nexus learns of it, also one that sent a LOAD: initiators such as
    /// Linux' st know where the tape is only after that.
    private func makeReady(_ cartridge: Cartridge) {
        cartridge.rewind()
        cartridge.countLoad()
        state.medium = .ready(cartridge)
        state.mediumGeneration &+= 1
        state.isReadingFenced = false
        state.counters.loads += 1
        attachedNexuses.establishUnitAttention(.mediumMayHaveChanged)
    }

    // MARK: The robot

    /// Puts a cartridge into the empty drive and loads it. Any thread.
    ///
    /// `open` runs on a thread that may wait. `completion` runs on the drive's reactor when the drive is ready, or with
    /// the error that keeps it from being: the cartridge is in the drive then, but cannot be used, and initiators get
    /// sense data that say why. The drive must be empty.
    public func insertMedium(
        opening open: @escaping @Sendable () throws(CartridgeError) -> Cartridge,
        completion: @escaping @Sendable (CartridgeError?) -> Void
    ) {
        let accepted = reactor.postCompletion {
            self.whenIdle {
                guard case .none = self.state.medium else {
                    preconditionFailure("a drive takes one cartridge")
                }
                self.state.medium = .moving
                self.state.mediumGeneration &+= 1
                self.mechanism.open(open, completion)
            }
        }
        if !accepted { completion(.inUse(barcode: "")) }
    }

    /// Takes the cartridge out of the drive: rewinds and unloads it if that has not been done, closes it, and releases
    /// it. Any thread; `completion` runs on the drive's reactor.
    ///
    /// With `isForced` prevention does not matter: the program is ending.
    public func removeMedium(isForced: Bool = false, completion: @escaping @Sendable (MediumRemoval) -> Void) {
        let accepted = reactor.postCompletion {
            self.whenIdle { self.remove(isForced, completion) }
        }
        if !accepted { completion(.busy) }
    }

    private func remove(_ isForced: Bool, _ completion: @escaping @Sendable (MediumRemoval) -> Void) {
        switch state.medium {
        case .none: completion(.empty)
        case .moving: completion(.busy)
        case .unusable:
            forgetMedium()
            completion(.removed(nil))
        case .ready(let cartridge), .held(let cartridge), .ejected(let cartridge):
            guard isForced || !attachedNexuses.isMediumRemovalPrevented else { return completion(.prevented) }
            let hadLost = cartridge.loss != nil
            forgetMedium()
            state.medium = .moving
            mechanism.close(cartridge) { failure in
                // Who had buffered writes knows by now that they are durable, or has a deferred error.
                self.forgetBufferedWrites()
                self.state.medium = .none
                completion(.removed(hadLost ? nil : failure))
            }
        }
    }

    /// Runs `work` as soon as no file operation of a command is under way.
    func whenIdle(_ work: @escaping () -> Void) {
        guard state.outstanding > 0 else { return work() }
        guard let waiting = state.whenIdle else {
            state.whenIdle = work
            return
        }
        state.whenIdle = {
            waiting()
            work()
        }
    }

    private func forgetMedium() {
        state.medium = .none
        state.mediumGeneration &+= 1
        state.density = nil
        state.isFormatReadOnly = false
        state.earlyWarningZone = 0
        state.isReadingFenced = false
        state.hasWriteFailed = false
        hostSpace.forget()
        alerts.mediumRemoved()
    }

    /// Takes what the mechanism has opened.
    func mediumOpened(_ result: Result<Cartridge, CartridgeError>) -> CartridgeError? {
        switch result {
        case .failure(let error):
            state.medium = .unusable(Self.sense(error))
            alerts.raise(.media)
            return error
        case .success(let cartridge):
            guard let density = profile.density(code: cartridge.identity.densityCode) else {
                state.medium = .unusable(SenseData(.mediumError, .cannotReadIncompatibleFormat))
                alerts.raise(.media)
                return nil
            }
            state.density = density
            state.isFormatReadOnly = !density.isWritable
            state.earlyWarningZone = profile.earlyWarning.bytes(capacity: cartridge.capacity)
            watchForLoss(of: cartridge)
            makeReady(cartridge)
            return nil
        }
    }

    /// What initiators are told of a cartridge that could not be opened.
    private static func sense(_ error: CartridgeError) -> SenseData {
        switch error {
        case .newerVersion: SenseData(.mediumError, .cannotReadUnknownFormat)
        case .damaged: SenseData(.mediumError, .mediumFormatCorrupted)
        case .inUse, .exists, .missing, .invalidBarcode, .invalidCapacity, .hostFailed, .unavailable,
            .foreignFiles, .system:
            SenseData(.hardwareError, .mediaLoadOrEjectFailed)
        }
    }
}

/// Opens and closes cartridges on a worker, one at a time, for one drive.
final class LoadMechanism: FileRequestOwner, @unchecked Sendable {
    private unowned let unit: TapeDeviceServer
    private lazy var request = FileRequest(owner: self)
    // Used by the reactor and a worker in turn.
    private var opened: Result<Cartridge, CartridgeError>?
    private var closing: Cartridge?
    private var failure: WriteFailure?
    private var acknowledgement: MediaFailure?
    private var whenOpened: (@Sendable (CartridgeError?) -> Void)?
    private var whenClosed: ((WriteFailure?) -> Void)?
    private var whenAcknowledged: ((MediaFailure?) -> Void)?

    init(unit: TapeDeviceServer) {
        self.unit = unit
    }

    func open(
        _ open: @escaping @Sendable () throws(CartridgeError) -> Cartridge,
        _ completion: @escaping @Sendable (CartridgeError?) -> Void
    ) {
        whenOpened = completion
        run { [self] in
            do throws(CartridgeError) {
                opened = .success(try open())
            } catch {
                opened = .failure(error)
            }
        }
    }

    func close(_ cartridge: Cartridge, _ completion: @escaping (WriteFailure?) -> Void) {
        closing = cartridge
        whenClosed = completion
        run { [self] in
            failure = closing?.close()
            // Released here, because closing files and databases waits for the device.
            closing = nil
        }
    }

    func acknowledgeLoss(of cartridge: Cartridge, _ completion: @escaping (MediaFailure?) -> Void) {
        whenAcknowledged = completion
        acknowledgement = .device(Errno.cancelled)
        run { [self] in acknowledgement = cartridge.acknowledgeLoss() }
    }

    private func run(_ work: @escaping @Sendable () -> Void) {
        request.operation = .call {
            work()
            return 0
        }
        // There is one request a drive, and a cartridge must not stay between two places.
        unit.lane.submitContinuation(request, on: unit.reactor)
    }

    func fileRequestCompleted(_ request: FileRequest) {
        // The last operation would keep what it captured.
        request.operation = .synchronizeData
        if let whenOpened = whenOpened.take() {
            let notOpened = SystemError(code: Errno.cancelled, operation: "open")
            whenOpened(unit.mediumOpened(opened.take() ?? .failure(.system(notOpened))))
        } else if let whenClosed = whenClosed.take() {
            // An engine that has stopped has not closed anything.
            let failure = failure.take() ?? (closing == nil ? nil : .host(.device(Errno.cancelled)))
            closing = nil
            whenClosed(failure)
        } else {
            whenAcknowledged.take()?(acknowledgement.take())
        }
    }
}
