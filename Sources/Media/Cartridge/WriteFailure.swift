/// Why a cartridge does not take what is to be written, or does not make it durable: a value, for the data path.
public enum WriteFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The host failed this operation. What was written before is as it was.
    case host(MediaFailure)
    /// The host failed, now or before, to make written data durable. Nothing is written, and nothing is called durable,
    /// until the loss is acknowledged (`Cartridge.acknowledgeLoss`).
    case dataLost(MediaFailure)
    /// The write-protect tab is set.
    case writeProtected
    /// Writing at the position would overwrite data on a WORM cartridge.
    case wormOverwrite
    /// The host failed to keep attributes, load count or tab. The data are not concerned.
    case auxiliaryMemory(String)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .host(let failure): failure.description
        case .dataLost(let failure): "data that were not yet durable are lost: \(failure)"
        case .writeProtected: "the cartridge is write-protected"
        case .wormOverwrite: "data on a WORM cartridge cannot be overwritten"
        case .auxiliaryMemory(let reason): "the attributes could not be written: \(reason)"
        }
    }
}
