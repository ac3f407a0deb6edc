internal import Bytes
internal import Initiator

/// A logical block or a tape record that says itself what it is and when it was written, so that lost, misplaced, torn
/// and stale ones can be told apart.
///
/// Layout, big-endian: signature (8 bytes), journal's identity (8), address (8), round (4), writer (4), sequence (8),
/// random fill, and in the last four bytes the CRC32C of all before.
struct DurableBlock: Hashable {
    /// The shortest block, in bytes.
    static let minimumLength = 64
    /// "CRSLBLK1".
    private static let signature: UInt64 = 0x4352_534C_424C_4B31
    private static let fillOffset = 40
    private static let checksumLength = 4

    /// The journal that the block belongs to.
    var identity: UInt64
    /// Its logical block address, or its object number on the tape.
    var address: UInt64
    /// In which round it was written.
    var round: UInt32
    /// By which worker.
    var writer: UInt32
    /// With which of the worker's writes of that round.
    var sequence: UInt64

    /// What is wrong with bytes that should be a block.
    enum Defect: Error {
        /// They do not start as a block does.
        case noBlock
        /// They start as one, but the checksum is wrong.
        case torn(DurableBlock)
    }

    /// The block as `length` bytes.
    func encoded(length: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        var random = SplitMix64(seed: identity ^ address << 40 ^ UInt64(round) << 20 ^ sequence)
        bytes.modifyBytes { target in
            target.storeBE64(Self.signature, at: 0)
            target.storeBE64(identity, at: 8)
            target.storeBE64(address, at: 16)
            target.storeBE32(round, at: 24)
            target.storeBE32(writer, at: 28)
            target.storeBE64(sequence, at: 32)
            let end = length - Self.checksumLength
            var offset = Self.fillOffset
            while offset + 8 <= end {
                target.storeBE64(random.next(), at: offset)
                offset += 8
            }
            target.storeBE32(CRC32C.checksum(target.bytes.extracting(0..<end)), at: end)
        }
        return bytes
    }

    static func parse(_ bytes: RawSpan) throws(Defect) -> DurableBlock {
        guard bytes.byteCount >= minimumLength, bytes.loadBE64(at: 0) == signature else { throw .noBlock }
        let block = DurableBlock(
            identity: bytes.loadBE64(at: 8), address: bytes.loadBE64(at: 16), round: bytes.loadBE32(at: 24),
            writer: bytes.loadBE32(at: 28), sequence: bytes.loadBE64(at: 32))
        let end = bytes.byteCount - checksumLength
        guard CRC32C.checksum(bytes.extracting(0..<end)) == bytes.loadBE32(at: end) else { throw .torn(block) }
        return block
    }

    /// The block in words.
    var summary: String { "block \(address) of round \(round), writer \(writer), write \(sequence)" }
}

/// What verification found wrong; a few are kept for printing, all are counted.
struct Findings {
    private static let keptLimit = 10

    private(set) var kept: [String] = []
    private(set) var count = 0

    mutating func add(_ finding: @autoclosure () -> String) {
        count += 1
        if kept.count < Self.keptLimit { kept.append(finding()) }
    }

    /// Prints what was found, and ends with an error when there is something.
    func conclude() throws {
        guard count > 0 else { return }
        for finding in kept { print("  \(finding)") }
        throw Complaint("\(count) findings: the target did not keep what it had acknowledged")
    }
}
