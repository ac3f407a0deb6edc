/// Why an encrypted image cannot be used: the end of a sentence each, about its key file.
public enum EncryptionError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The user's key is too short or too long.
    case keyLength(Int)
    /// It is not the key with which the key file was made.
    case wrongKey
    /// It is not the key file of the image.
    case foreign
    /// It has a key of the image that another one has replaced.
    case older
    /// Neither copy is one of a key.
    case damaged
    /// It was made for blocks of another length, for an image of another format, by a later version, or with limits
    /// that are not granted.
    case unsupported
    /// libcrypto has failed, for want of memory for example.
    case library
    /// A system call failed with this error number.
    case system(Int32)

    public var description: String {
        switch self {
        case .keyLength(let count):
            "needs a key of \(UserKey.lengths.lowerBound) to \(UserKey.lengths.upperBound) bytes, not of \(count)"
        case .wrongKey: "was made with another key than the given one"
        case .foreign: "is that of another image"
        case .older: "has a key that a CRYPTOGRAPHIC ERASE has replaced; put back the one that the image had last"
        case .damaged: "is damaged, or another file"
        case .unsupported: "is of another version, or for another block size or format"
        case .library: "cannot be used, because libcrypto has failed"
        case .system(let code): "cannot be used (error \(code))"
        }
    }
}
