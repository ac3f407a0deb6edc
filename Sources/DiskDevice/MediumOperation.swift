internal import Bytes
internal import SCSI

/// What SANITIZE or FORMAT UNIT does to all blocks, and how far it is: what is kept with the image, so that it goes on,
/// or is known to have been broken off, after a restart.
struct MediumOperation: Equatable, Sendable {
    /// Which command asked for it.
    enum Kind: UInt8, Sendable {
        /// SANITIZE, OVERWRITE (SBC-4 clause 5.30).
        case overwrite = 1
        /// SANITIZE, BLOCK ERASE (SBC-4 clause 5.30).
        case blockErase = 2
        /// FORMAT UNIT (SBC-4 clause 5.4).
        case format = 3
        /// SANITIZE, CRYPTOGRAPHIC ERASE (SBC-4 clause 5.30).
        case cryptographicErase = 4
    }

    var kind: Kind
    /// AUSE: after a failure EXIT FAILURE MODE opens the disk again (SBC-4 clause 4.11.3).
    var allowsUnrestrictedExit = false
    /// INVERT: every other pass writes the inverted pattern, so that the last one writes the pattern itself.
    var inverts = false
    /// OVERWRITE COUNT, from 1 to 31.
    var passes: UInt8 = 1
    /// What every block is filled with, repeated; empty where storage is freed and blocks read as zeros.
    var pattern: [UInt8] = []

    /// How many passes are done and durable.
    var passesDone: UInt8 = 0
    /// The first block of the next pass that is not known to be done and durable.
    var next: UInt64 = 0
    /// Whether it has ended with an error.
    var hasFailed = false

    /// What commands end with while it goes on, without the progress.
    var inProgressCode: AdditionalSenseCode { kind == .format ? .formatInProgress : .sanitizeInProgress }
    /// What the command that asked for it ends with when it fails.
    var failureCode: AdditionalSenseCode { kind == .format ? .formatCommandFailed : .sanitizeCommandFailed }
    /// What other commands end with after that.
    var aftermathCode: AdditionalSenseCode { kind == .format ? .mediumFormatCorrupted : .sanitizeCommandFailed }

    /// `count` bytes of the blocks of the next pass: the pattern, again in each block of `blockSize` bytes.
    func content(blockSize: Int, count: Int) -> [UInt8] {
        let isInverted = inverts && (passes - passesDone) % 2 == 0
        var block: [UInt8] = []
        while block.count < blockSize { block += pattern.prefix(blockSize - block.count) }
        if isInverted { block = block.map { ~$0 } }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        for _ in 0..<count / blockSize { bytes += block }
        return bytes
    }

    // MARK: The note

    private static let version: UInt8 = 1
    private static let headerLength = 16

    /// The note of it: version, kind, state, options, passes, passes done, length of the pattern, next block, pattern.
    var encoded: [UInt8] {
        var bytes: [UInt8] = [
            Self.version, kind.rawValue, hasFailed ? 1 : 0, (allowsUnrestrictedExit ? 1 : 0) | (inverts ? 2 : 0),
            passes, passesDone,
        ]
        bytes.appendBE16(UInt16(pattern.count))
        bytes.appendBE64(next)
        return bytes + pattern
    }

    /// The most passes that OVERWRITE COUNT can ask for.
    private static let maximumPasses = 31

    /// The operation of a note; nil when it is not one of ours.
    init?(_ note: [UInt8]) {
        guard note.count >= Self.headerLength, note[0] == Self.version, let kind = Kind(rawValue: note[1]),
            Int(note.rawSpan.loadBE16(at: 6)) == note.count - Self.headerLength, note[4] > 0,
            note[4] <= Self.maximumPasses,
            // Only what has failed after its last pass has done all of them.
            note[5] < note[4] || note[5] == note[4] && note[2] != 0,
            kind != .overwrite || note.count > Self.headerLength
        else { return nil }
        self.kind = kind
        hasFailed = note[2] != 0
        allowsUnrestrictedExit = note[3] & 1 != 0
        inverts = note[3] & 2 != 0
        passes = note[4]
        passesDone = note[5]
        next = note.rawSpan.loadBE64(at: 8)
        pattern = Array(note[Self.headerLength...])
    }

    init(_ kind: Kind) { self.kind = kind }
}
