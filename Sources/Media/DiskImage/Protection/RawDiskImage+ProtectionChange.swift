public import Platform
public import SCSI
internal import Synchronization

/// Another type of protection information (FORMAT UNIT, SBC-4 clause 5.4).
///
/// A note of the image says from which type to which one the medium goes before the file beside it changes, and goes
/// after whoever keeps types knows the new one: an opening in between takes the file as it is.
extension RawDiskImage {
    public var canChangeProtection: Bool { protectionPlace != nil }

    public func prepareKeeping(
        _ request: FileRequest, operation: [UInt8], insteadOf previous: [UInt8]?, protection type: ProtectionType?
    ) {
        prepareCall(request) { [self] in
            canCome(to: type) ? keep(operation, insteadOf: previous, as: .operation) : MediaFailure.protectionNumber
        }
    }

    /// Whether the place of the protection information is as it should be.
    private func canCome(to type: ProtectionType?) -> Bool {
        let file = protectionFile
        guard file?.type != type else { return true }
        return protectionPlace?.check(file?.store) == 0
    }

    public var hasUnsettledProtection: Bool { protectionState.withLock { $0.change != nil } }

    public func changeProtection(to type: ProtectionType?) -> MediaFailure? {
        // A disk that becomes longer meanwhile would have a file that is too short.
        shape.withLock { _ -> MediaFailure? in
            let file = protectionFile
            guard file?.type != type else { return nil }
            guard let place = protectionPlace else { return .device(Errno.notSupported) }
            if let failure = MediaFailure.of(place.check(file?.store)) { return failure }
            let change = ProtectionChange(from: file?.type, to: type)
            let previous = protectionState.withLock { $0.change }
            if let failure = MediaFailure.of(
                keep(change.encoded, insteadOf: previous?.encoded, as: .protectionChange))
            {
                return failure
            }
            protectionState.withLock { $0.change = change }
            recovery.stop()
            return switch (file, type) {
            case (let file?, let type?): retype(file, type)
            case (let file?, nil): remove(file, place)
            case (nil, let type?): make(type, place)
            case (nil, nil): nil
            }
        }
    }

    /// Every block has none, and so it stays: only what the file says of itself changes.
    private func retype(_ file: ProtectionFile, _ type: ProtectionType) -> MediaFailure? {
        let other = file.retyped(type)
        let code = synchronizing {
            // The bits first: those of blocks that are written from now on are the other's.
            var code = other.regions.restore()
            if code == 0 { code = file.store.synchronizeData() }
            guard code == 0 else { return code }
            let blocks = UInt64(capacity) >> blockShift
            code = other.writeHeader(blocks)
            // A half of it is nothing.
            if code != 0 { _ = file.writeHeader(blocks) }
            if code == 0 { code = file.store.synchronizeData() }
            // Before another synchronisation can settle regions of the former one.
            if code == 0 { setProtection(other) }
            return code
        }
        return MediaFailure.of(code)
    }

    private func remove(_ file: ProtectionFile, _ place: ProtectionPlace) -> MediaFailure? {
        let code = place.remove(file.store)
        // A name that is gone, if not durably, is not the image's any more.
        if code == 0 || place.check(file.store) != 0 { setProtection(nil) }
        return MediaFailure.of(code)
    }

    private func make(_ type: ProtectionType, _ place: ProtectionPlace) -> MediaFailure? {
        // What was the image's before is not this one. Until the new identity is noted the file that is there counts,
        // and no block has any.
        if let former = try? noteOrNothing(.protection), !former.isEmpty,
            let failure = MediaFailure.of(keep(nil, insteadOf: former, as: .protection))
        {
            return failure
        }
        let identity = ProtectionHeader.newIdentity()
        let header = ProtectionHeader(
            type, blockSize: blockSize, blocks: UInt64(capacity) >> blockShift, identity: identity)
        let made: any ByteStore
        do throws(SystemError) {
            made = try place.make(header)
        } catch {
            return MediaFailure.of(error.code)
        }
        setProtection(
            ProtectionFile(
                made, type: type, blockSize: blockSize, identity: identity, regionBits: ProtectionRegions.none,
                clock: clock))
        keepIdentity()
        return nil
    }

    private func setProtection(_ file: ProtectionFile?) {
        protectionState.withLock { state in
            state.file = file
            isProtected.store(file != nil, ordering: .releasing)
        }
    }

    public func settleProtection() -> MediaFailure? {
        guard let change = protectionState.withLock({ $0.change }) else { return nil }
        if let failure = MediaFailure.of(keep(nil, insteadOf: change.encoded, as: .protectionChange)) {
            return failure
        }
        protectionState.withLock { $0.change = nil }
        return nil
    }

    /// Puts the identity of the protection information into the image's note, where there is none. A file system that
    /// keeps none does without.
    func keepIdentity() {
        guard let identity = protectionFile?.identity, let found = try? noteOrNothing(.protection), found.isEmpty
        else { return }
        _ = keep(identity, insteadOf: nil, as: .protection)
    }

    /// What ties the image to its file of protection information; nil when that is not known.
    static func identity(of store: any ByteStore) -> [UInt8]? {
        guard let note = try? store.note(.protection), note.count == ProtectionHeader.identityLength else { return nil }
        return note
    }

    /// What is noted; no bytes for nothing.
    private func noteOrNothing(_ key: StoreNoteKey) throws(SystemError) -> [UInt8] { try store.note(key) ?? [] }

    /// Which file it is that has the protection information; nil where there is none.
    public var protectionIdentity: FileStatus.Identity? {
        (protectionFile?.store as? File).flatMap { try? $0.status().identity }
    }

    // MARK: Opening

    /// What an opening has to know of the notes of an image.
    struct ProtectionNotes {
        /// What ties the image to its file of protection information.
        let identity: [UInt8]?
        /// The change that is still to be settled, whether the operation that has begun it is kept or not.
        let unsettled: ProtectionChange?

        /// Those of an image without any.
        init() {
            identity = nil
            unsettled = nil
        }

        init(_ store: any ByteStore) {
            identity = RawDiskImage.identity(of: store)
            unsettled = ((try? store.note(.protectionChange)) ?? nil).flatMap { ProtectionChange($0) }
        }
    }

    /// Opens the protection information of an image whose disk should have `wanted`: `open` gives that of one of some
    /// types, and makes one whose head is damaged one of another type, if there is that. While a change is not settled,
    /// nobody keeps what it has come to, and what the file says is what the image has.
    static func openProtection(
        _ wanted: ProtectionType?, _ notes: ProtectionNotes,
        _ open: ([ProtectionType], ProtectionType?) throws(DiskImageError) -> ProtectionFile
    ) throws(DiskImageError) -> ProtectionFile? {
        guard let change = notes.unsettled else {
            guard let wanted else { return nil }
            return try open([wanted], nil)
        }
        let possible = [wanted, change.from, change.to]
        // No block has any, so only the head counts, which was being written.
        let mended = change.from == nil ? nil : change.to
        do throws(DiskImageError) {
            return try open(possible.compactMap { $0 }, mended)
        } catch {
            // What is there instead is not the image's.
            if case .protection = error, possible.contains(nil) { return nil }
            throw error
        }
    }
}
