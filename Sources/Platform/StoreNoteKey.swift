internal import CPlatform

/// What is kept with a file beside its bytes: the name of an extended attribute.
public struct StoreNoteKey: Hashable, Sendable {
    /// The name.
    public let rawValue: String

    private init(_ rawValue: String) { self.rawValue = rawValue }

    /// An operation on the whole medium that is under way or has failed.
    public static let operation = Self("user.carousel.operation")
    /// The blocks that an initiator has made unreadable.
    public static let markedBlocks = Self("user.carousel.marked-blocks")
    /// The identity of an encrypted image, which its key file has too, and the lowest generation of that file.
    public static let encryption = Self("user.carousel.encryption")
    /// What is to be made in the file whose key is exchanged, while that goes on.
    public static let erasure = Self("user.carousel.erasure")
    /// Which file of protection information is the image's: the identity that the file has too.
    public static let protection = Self("user.carousel.protection")
    /// From which type of protection information to which one the medium is being formatted.
    public static let protectionChange = Self("user.carousel.protection-change")

    /// The same of one of several media in the file, which have numbers.
    public func of(_ number: UInt32) -> Self { Self("\(rawValue).\(number)") }

    /// The most bytes of a note: what an extended attribute of Linux holds at most (XATTR_SIZE_MAX). File systems
    /// may have room for fewer; ext4 has that of one block for all attributes of a file.
    public static let maximumLength = 65536
}

extension File {
    /// The file's extended attribute; nil when there is none, or the file system keeps none.
    public func note(_ key: StoreNoteKey) throws(SystemError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 64)
        var length = read(key, into: &bytes)
        if length == -Int(Errno.range) {
            bytes = [UInt8](repeating: 0, count: StoreNoteKey.maximumLength)
            length = read(key, into: &bytes)
        }
        if length == -Int(Errno.noData) { return nil }
        guard length >= 0 else { throw SystemError(code: Int32(-length), operation: "read note of", path: path) }
        return Array(bytes.prefix(length))
    }

    private func read(_ key: StoreNoteKey, into bytes: inout [UInt8]) -> Int {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            // Safe: the call writes at most the buffer's length.
            guard let start = buffer.baseAddress else { return 0 }
            return unsafe cplatform_get_attribute(fileDescriptor, key.rawValue, start, buffer.count)
        }
    }

    /// Sets or, with nil or no bytes, removes the extended attribute, durably after `synchronize`: EOPNOTSUPP where the
    /// file system keeps none, ENOSPC where it has no room for so much, EPERM for a block device.
    public func setNote(_ key: StoreNoteKey, _ bytes: [UInt8]?) -> Int32 {
        guard let bytes, !bytes.isEmpty else {
            return unsafe -cplatform_set_attribute(fileDescriptor, key.rawValue, nil, 0)
        }
        return unsafe bytes.withUnsafeBytes { buffer in
            // Safe: the call reads the buffer's bytes.
            unsafe -cplatform_set_attribute(fileDescriptor, key.rawValue, buffer.baseAddress, buffer.count)
        }
    }
}
