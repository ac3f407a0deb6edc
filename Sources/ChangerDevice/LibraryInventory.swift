public import SCSI

/// Who asked for a move.
public enum MoveRequester: Sendable {
    /// An initiator, by a command to the medium changer; the name of its port.
    case initiator(String)
    /// The operator, by the control plane; what it gave with the move, for its records.
    case operatorPanel(any Sendable)
}

/// Where a library keeps, durably, which cartridge is where. The control plane implements it.
public protocol LibraryInventory: AnyObject, Sendable {
    /// Makes all of `moves` durable in one transaction, together: an exchange is two moves, each into the place that
    /// the other leaves.
    ///
    /// Called on the changer's reactor, so it must not wait: the work goes elsewhere. `completion` is called once, on
    /// any thread: with nil when the moves are durable, else with the reason in one sentence, and then nothing has
    /// changed.
    func commit(
        _ moves: [MediumMove], by requester: MoveRequester, completion: @escaping @Sendable (String?) -> Void)
}

/// What a drive says when the robot wants its cartridge.
public enum BayRelease: Sendable, Equatable {
    /// The cartridge is closed and can be taken.
    case released
    /// An initiator prevents it (PREVENT ALLOW MEDIUM REMOVAL); nothing has changed.
    case prevented
    /// The drive cannot give it now; nothing has changed.
    case failed
}

/// A drive of the library, as the robot sees it. The control plane implements it with a `TapeDeviceServer`.
///
/// Functions are called on the changer's reactor and must not wait; each `completion` is called once, on any thread.
public protocol DriveBay: AnyObject, Sendable {
    /// The identity of the drive, for READ ELEMENT STATUS with DVCID.
    var identity: DeviceIdentity { get }
    /// Whether an initiator prevents the removal of the cartridge from the drive.
    var preventsMediumRemoval: Bool { get }
    /// Loads the cartridge, which the robot has put in; the completion comes when the drive is ready, or cannot be. A
    /// cartridge that cannot be used stays in the drive, which tells initiators why.
    func load(_ barcode: String, completion: @escaping @Sendable () -> Void)
    /// Rewinds and unloads the cartridge if an initiator has not done it, makes everything durable and closes it.
    func unload(completion: @escaping @Sendable (BayRelease) -> Void)
}

/// Why a library cannot run: what its inventory says does not fit its profile. One clause each.
public enum LibraryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// It has more elements of a type than the profile allows, which may have been different when the library was made.
    case tooManyElements(ElementType, count: Int, maximum: Int, profile: String)
    /// A cartridge is in an element that the library does not have.
    case noSuchElement(LibraryElement, barcode: String)

    /// The clause.
    public var description: String {
        switch self {
        case .tooManyElements(let type, let count, let maximum, let profile):
            "it has \(count) \(Self.plural(type)), and its profile '\(profile)' allows \(maximum)"
        case .noSuchElement(let element, let barcode):
            "its cartridge '\(barcode)' is in \(element), which it does not have"
        }
    }

    private static func plural(_ type: ElementType) -> String {
        switch type {
        case .mediumTransport: "transports"
        case .storage: "slots"
        case .importExport: "mail slots"
        case .dataTransfer: "drives"
        }
    }
}

/// Why a cartridge was not moved.
public enum MoveRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// The library has no such element, or the robot's hand was named.
    case noSuchElement
    /// There is no cartridge in the source, or another one than was named.
    case sourceEmpty
    /// The destination holds a cartridge.
    case destinationFull
    /// An initiator prevents it: the drive's cartridge is in use, or the mail slots are locked.
    case removalPrevented
    /// The drive does not give its cartridge.
    case driveBusy
    /// The inventory did not take the move; the reason.
    case notCommitted(String)
    /// `ChangerDeviceServer.maximumWaitingMoves` moves wait already, or the library is stopping.
    case tooManyMoves

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .noSuchElement: "the library has no such element"
        case .sourceEmpty: "the cartridge is not there"
        case .destinationFull: "the destination is full"
        case .removalPrevented: "an initiator prevents the removal of the cartridge"
        case .driveBusy: "the drive does not release its cartridge"
        case .notCommitted(let reason): reason
        case .tooManyMoves: "too many moves wait"
        }
    }

    /// What an initiator is told (SMC-3 clause 6.6).
    var sense: SenseData {
        switch self {
        case .noSuchElement: SenseData(.illegalRequest, .invalidElementAddress)
        case .sourceEmpty: SenseData(.illegalRequest, .mediumSourceElementEmpty)
        case .destinationFull: SenseData(.illegalRequest, .mediumDestinationElementFull)
        case .removalPrevented: SenseData(.illegalRequest, .mediumRemovalPrevented)
        case .driveBusy: SenseData(.hardwareError, .mediaLoadOrEjectFailed)
        case .notCommitted: SenseData(.hardwareError, .internalTargetFailure)
        case .tooManyMoves: SenseData(.notReady, .becomingReady)
        }
    }
}
