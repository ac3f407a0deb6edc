public import Encryption
public import Platform

/// Why an image cannot be made, opened or resized: one sentence each.
public enum DiskImageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another opening of the image holds its lock.
    case inUse(path: String)
    /// Its place has another file than the one that is open.
    case replaced(path: String)
    /// There is a file of that name.
    case exists(path: String)
    /// There is no file of that name.
    case missing(path: String)
    /// The length is not a multiple of the block size, or not positive.
    case lengthMismatch(path: String, length: Int64, blockSize: Int)
    /// An image has blocks of 512 or 4096 bytes.
    case invalidBlockSize(Int)
    /// The file is shorter or longer than the disk that it should hold.
    case capacityMismatch(path: String, length: Int64, expected: Int64)
    /// A disk does not become smaller than it is.
    case smaller(path: String, capacity: Int64)
    /// Data of the disk have been lost, and nobody has acknowledged that.
    case dataLost(path: String, MediaFailure)
    /// The disk keeps its size, but its file is longer now, which makes the disk larger at the next start.
    case lengthKept(path: String, length: Int64, SystemError)
    /// A block device keeps its length.
    case fixedLength(path: String)
    /// The file system reads and writes through its page cache only.
    case notDirect(path: String)
    /// The file with the protection information is missing, or is none of the image.
    case protection(path: String, reason: String)
    /// The image has snapshots, and cannot be used as that.
    case family(path: String, FamilyError)
    /// It is encrypted, and no key was given.
    case encrypted(path: String)
    /// It is to be opened with a key, and has no mark of an encrypted image; what its key file says would be the mark.
    case unmarked(path: String, mark: [UInt8]?)
    /// The file system keeps no mark of an encrypted image.
    case unmarkable(path: String)
    /// The file with its key is none of the image, or the user's key is another one.
    case encryption(path: String, EncryptionError)
    /// The file with its key is missing, or is no plain file.
    case keyFile(path: String, reason: String)
    /// A system call failed.
    case system(SystemError)

    /// The sentence.
    public var description: String {
        switch self {
        case .inUse(let path): "image \(path) is in use"
        case .replaced(let path): "another file is in the place of image \(path), which is still in use; put that back"
        case .exists(let path): "image \(path) exists already"
        case .missing(let path): "image \(path) does not exist"
        case .lengthMismatch(let path, let length, _) where length <= 0: "image \(path) is empty"
        case .lengthMismatch(let path, let length, let blockSize):
            "image \(path) is \(length) bytes long, not a multiple of \(blockSize)"
        case .invalidBlockSize(let blockSize): "a disk has blocks of 512 or 4096 bytes, not \(blockSize)"
        case .capacityMismatch(let path, let length, let expected):
            "image \(path) is \(length) bytes long, but its disk has \(expected)"
        case .smaller(let path, let capacity): "image \(path) cannot become smaller than its \(capacity) bytes"
        case .dataLost(let path, let failure): "data of image \(path) are lost (\(failure)); acknowledge that first"
        case .lengthKept(let path, let length, let error):
            "\(error); image \(path) stays \(length) bytes long, and its disk will have them after a restart"
        case .fixedLength(let path): "image \(path) is a block device and cannot be resized"
        case .notDirect(let path):
            "the file system of image \(path) has no way past its page cache (O_DIRECT)"
        case .protection(let path, let reason): "the protection information \(path) \(reason)"
        case .family(let path, let error): "image \(path): \(error)"
        case .encrypted(let path): "image \(path) is encrypted, and is not opened as a plain one"
        case .unmarked(let path, let mark):
            "image \(path) has no mark of an encrypted one"
                + (mark.map {
                    "; if it is the one of its key file, as a copy without extended attributes is, "
                        + "'setfattr -n \(StoreNoteKey.encryption.rawValue) -v 0x\(Self.digits($0)) \(path)' says so"
                } ?? ", and its key file is damaged, or another file")
        case .unmarkable(let path):
            "the file system of image \(path) keeps no extended attributes, which tie an encrypted image to its key"
        case .encryption(let path, let error): "the key file \(path) \(error)"
        case .keyFile(let path, let reason): "the key file \(path) \(reason)"
        case .system(let error): error.description
        }
    }

    private static func digits(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    init(_ error: SystemError, path: String) {
        switch error.code {
        case Errno.noSuchFile: self = .missing(path: path)
        case Errno.fileExists: self = .exists(path: path)
        default: self = .system(error)
        }
    }
}
