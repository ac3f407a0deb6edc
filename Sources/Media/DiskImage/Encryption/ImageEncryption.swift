internal import Encryption
public import Platform

/// What an encrypted image has besides: the filter over its file, and the file with its key.
struct ImageEncryption: Sendable {
    let store: EncryptedStore
    let keyFile: KeyFile
    /// Which file it is that has the key; nil when that is no file.
    var keyIdentity: FileStatus.Identity? = nil
    /// 0 while the path of the key file leads to that file; else an error number.
    var checkPlace: @Sendable () -> Int32 = { 0 }
}

extension ImageEncryption {
    /// A new key durably in the place of the old one, of which nothing stays; then in memory, between two transfers.
    /// Whether there is a new one, and 0 or an error number: then the old one may be there too, and where nobody knows
    /// which one counts transfers fail from now on.
    func replaceMediaKey() -> (isNew: Bool, code: Int32) {
        switch keyFile.replaceMediaKey() {
        case .replaced(let key):
            store.replaceKey(by: key, isSettled: true)
            return (true, 0)
        case .incomplete(let key, let code):
            // It counts at the next opening, so it counts now.
            store.replaceKey(by: key)
            return (true, code)
        case .kept(let code): return (false, code)
        case .unknown(let code):
            store.refuseTransfers()
            return (false, code)
        }
    }
}

extension DurableStore {
    /// What comes before a new key of `encryption`; nil, or why there can be none.
    func prepareMediaKeyReplacement(of encryption: ImageEncryption) -> MediaFailure? {
        if let loss = losses.failure { return loss }
        // A file that the next opening does not find would take the new key with it.
        let displacement = encryption.checkPlace()
        guard displacement == 0 else { return MediaFailure(errorNumber: displacement) }
        // From now on the key file may be of this generation or the next one, which is what the note says.
        return MediaFailure.of(keepKeyMark(of: encryption))
    }

    /// Has the image's note say that no key file of an older generation than the present one is its own, durably, when
    /// the present one is durable in both copies; 0 or an error number. It waits for the devices.
    func keepKeyMark(of encryption: ImageEncryption?) -> Int32 {
        guard let keyFile = encryption?.keyFile else { return 0 }
        let previous: [UInt8]?
        do throws(SystemError) { previous = try store.note(.encryption) } catch { return error.code }
        let mark = keyFile.mark.encoded
        guard previous != mark else { return 0 }
        let code = keyFile.settle()
        return code == 0 ? keep(mark, insteadOf: previous, as: .encryption) : code
    }
}

/// Erasing by forgetting the key.
extension RawDiskImage {
    public var isEncrypted: Bool { encryption != nil }

    public var keyIdentity: FileStatus.Identity? { encryption?.keyIdentity }

    public func replaceMediaKey() -> MediaFailure? {
        guard let encryption else { return .device(Errno.notSupported) }
        if let refusal = prepareMediaKeyReplacement(of: encryption) { return refusal }
        let (_, code) = encryption.replaceMediaKey()
        guard code == 0 else { return MediaFailure(errorNumber: code) }
        // And now of the next one only.
        return MediaFailure.of(keepKeyMark(of: encryption))
    }

    public func endMediaKeyReplacement() { encryption?.store.showContent() }

    /// Where the journal of atomic writes writes to, and what it writes there: ciphertext. Nil when libcrypto fails.
    func stored(_ content: [UInt8], at offset: Int64) -> (bytes: [UInt8], store: any ByteStore)? {
        guard let encryption else { return (content, store) }
        return encryption.store.encrypted(content, at: offset).map { ($0, encryption.store.store) }
    }
}
