import Bytes

@testable import Encryption

extension SectorCipher {
    /// What is stored of `plain`, whole sectors from number `first` on; nil when the library fails.
    func encrypted(_ plain: [UInt8], first: UInt64) -> [UInt8]? {
        guard let index = take(waits: true) else { return nil }
        return giving(
            index, withEncrypted(plain.rawSpan, at: first * UInt64(sectorSize), index) { $0.copyToArray() })
    }

    /// What `stored` is of, likewise.
    func decrypted(_ stored: [UInt8], first: UInt64) -> [UInt8]? {
        guard let index = take(waits: true) else { return nil }
        var bytes = stored
        let isDone = bytes.modifyBytes {
            decrypt(&$0, at: first * UInt64(sectorSize), granule: sectorSize, index)
        }
        return giving(index, isDone ? bytes : nil)
    }
}
