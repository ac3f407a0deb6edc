public import Platform

/// Why a cartridge cannot be made, opened or removed: one sentence each.
public enum CartridgeError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A drive, or another process, has it open.
    case inUse(barcode: String)
    /// There is one of that bar code.
    case exists(barcode: String)
    /// There is none of that bar code.
    case missing(barcode: String)
    /// The bar code has characters that a label cannot have, or is empty or too long.
    case invalidBarcode(String)
    /// The capacity is below `CartridgeStore.minimumCapacity` or above `CartridgeStore.maximumCapacity`.
    case invalidCapacity(Int64)
    /// It was written by a newer version of this program.
    case newerVersion(path: String)
    /// The files contradict themselves; the check and repair functions tell more.
    case damaged(path: String, reason: String)
    /// The host could not write what had to be durable.
    case hostFailed(path: String, reason: String)
    /// The host does not let it be opened now: its file system is full or read-only, its storage fails. The files may
    /// be in order.
    case unavailable(path: String, reason: String)
    /// Its folder has files in it that are not of a cartridge, and is not removed.
    case foreignFiles(path: String, names: [String])
    /// A system call failed.
    case system(SystemError)

    /// The sentence.
    public var description: String {
        switch self {
        case .inUse(let barcode): "cartridge \(barcode) is in use"
        case .exists(let barcode): "cartridge \(barcode) exists already"
        case .missing(let barcode): "cartridge \(barcode) does not exist"
        case .invalidBarcode(let barcode):
            "\"\(barcode)\" is not a bar code: 1 to 32 of the characters A-Z, a-z, 0-9, '-' and '_'"
        case .invalidCapacity(let capacity):
            "a cartridge cannot hold \(capacity) bytes: the least is \(CartridgeStore.minimumCapacity), "
                + "the most \(CartridgeStore.maximumCapacity)"
        case .newerVersion(let path): "\(path) was made by a newer version of Carousel"
        case .damaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .hostFailed(let path, let reason): "\(path) could not be written: \(reason)"
        case .unavailable(let path, let reason): "\(path) cannot be used now: \(reason)"
        case .foreignFiles(let path, let names):
            "\(path) holds what is not of a cartridge: \(names.prefix(5).joined(separator: ", "))"
                + "\(names.count > 5 ? ", …" : ""); move it away"
        case .system(let error): error.description
        }
    }
}
