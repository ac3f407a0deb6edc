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

/// Erasing by forgetting the key.
extension RawDiskImage {
    public var isEncrypted: Bool { encryption != nil }

    public var keyIdentity: FileStatus.Identity? { encryption?.keyIdentity }

    /// A new key durably in the place of the old one, of which nothing stays; then in memory, between two transfers.
    public func replaceMediaKey() -> MediaFailure? {
        guard let encryption else { return .device(Errno.notSupported) }
        if let loss { return loss }
        // A file that the next opening does not find would take the new key with it.
        let displacement = encryption.checkPlace()
        guard displacement == 0 else { return MediaFailure(errorNumber: displacement) }
        // From now on the key file may be of this generation or the next one, which is what the note says.
        let refusal = keepKeyMark()
        guard refusal == 0 else { return MediaFailure(errorNumber: refusal) }
        switch encryption.keyFile.replaceMediaKey() {
        case .replaced(let key):
            encryption.store.replaceKey(by: key, isSettled: true)
            // And now of the next one only.
            return MediaFailure.of(keepKeyMark())
        case .incomplete(let key, let code):
            // It counts at the next opening, so it counts now.
            encryption.store.replaceKey(by: key)
            return MediaFailure(errorNumber: code)
        case .kept(let code): return MediaFailure(errorNumber: code)
        case .unknown(let code):
            encryption.store.refuseTransfers()
            return MediaFailure(errorNumber: code)
        }
    }

    /// Has the image's note say that no key file of an older generation than the present one is its own, durably, when
    /// the present one is durable in both copies; 0 or an error number. It waits for the devices.
    func keepKeyMark() -> Int32 {
        guard let keyFile = encryption?.keyFile else { return 0 }
        let previous: [UInt8]?
        do throws(SystemError) { previous = try store.note(.encryption) } catch { return error.code }
        let mark = keyFile.mark.encoded
        guard previous != mark else { return 0 }
        let code = keyFile.settle()
        return code == 0 ? keep(mark, insteadOf: previous, as: .encryption) : code
    }

    public func endMediaKeyReplacement() { encryption?.store.showContent() }

    /// Where the journal of atomic writes writes to, and what it writes there: ciphertext. Nil when libcrypto fails.
    func stored(_ content: [UInt8], at offset: Int64) -> (bytes: [UInt8], store: any ByteStore)? {
        guard let encryption else { return (content, store) }
        return encryption.store.encrypted(content, at: offset).map { ($0, encryption.store.store) }
    }
}
