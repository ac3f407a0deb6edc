internal import Bytes

/// The note of an image (`StoreNoteKey.encryption`) that says which key file is its own: that with its identity, of the
/// noted generation or a later one. Between a change of the media key and the note of it that is the one before or the
/// one after; an older one never is.
public struct KeyMark: Equatable, Sendable {
    /// Which image it is.
    public let identity: [UInt8]
    /// The lowest generation of its key file; 0 where the note does not say, so that any is taken.
    public let generation: UInt64

    init(identity: [UInt8], generation: UInt64) {
        self.identity = identity
        self.generation = generation
    }

    /// The mark of an image whose key file is still to be made.
    public init(ofNew identity: [UInt8]) { self.init(identity: identity, generation: KeyFile.firstGeneration) }

    /// The note: identity, generation, which those of earlier versions do not have. Nil when it is none.
    public init?(_ note: [UInt8]) {
        switch note.count {
        case KeyFile.identityLength: self.init(identity: note, generation: 0)
        case KeyFile.identityLength + 8:
            self.init(
                identity: Array(note.prefix(KeyFile.identityLength)),
                generation: note.rawSpan.loadBE64(at: KeyFile.identityLength))
        default: return nil
        }
    }

    public var encoded: [UInt8] {
        var bytes = identity
        bytes.appendBE64(generation)
        return bytes
    }
}
