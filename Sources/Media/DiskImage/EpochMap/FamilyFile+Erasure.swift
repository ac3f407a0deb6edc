internal import Encryption
internal import Platform
internal import Synchronization

/// Erasing the only disk of an encrypted file by forgetting the key, which is that of the whole file: superblock and
/// maps too. So the disk is made anew, under the new key, in the same file.
///
/// A note (`FamilyErasure`) says what is to be made, and from which generation of the key file on. An opening that
/// finds it with an older key file finds the former disk; with that one or a later, the new disk, or makes it.
extension FamilyFile {
    /// Opens a family in an encrypted file, and completes an erasure that was broken off.
    static func openEncrypted(_ encryption: ImageEncryption, path: String) throws(FamilyError) -> FamilyFile {
        let store = encryption.store
        let note: [UInt8]?
        do throws(SystemError) { note = try store.note(.erasure) } catch { throw FamilyError(code: error.code) }
        let erased: DiskFamily?
        if let note { erased = try completed(note, encryption) } else { erased = nil }
        let family: DiskFamily
        if let erased { family = erased } else { family = try DiskFamily.open(store) }
        guard family.checksums == nil else { throw .encryptedChecksums }
        if note != nil {
            let code = removeNote(encryption)
            guard code == 0 else { throw FamilyError(code: code) }
        }
        let file = FamilyFile(store: store.store, family: family, path: path, encryption: encryption)
        // Where that cannot be, older key files go on to be taken.
        _ = file.keepKeyMark(of: encryption)
        return file
    }

    /// Ends what the note says, when the disk that it is about is there; 0 or an error number. Not before no older key
    /// file is taken any more.
    private static func removeNote(_ encryption: ImageEncryption) -> Int32 {
        let store = encryption.store
        let steps: [() -> Int32] = [
            encryption.keyFile.settle, { store.setNote(.encryption, encryption.keyFile.mark.encoded) },
            store.synchronize, { store.setNote(.erasure, nil) }, store.synchronize,
        ]
        for step in steps {
            let code = step()
            guard code == 0 else { return code }
        }
        return 0
    }

    /// The disk that an erasure was to make, where the new key counts and it is not there; else nil.
    private static func completed(
        _ note: [UInt8], _ encryption: ImageEncryption
    ) throws(FamilyError) -> DiskFamily? {
        guard let erasure = FamilyErasure(note) else {
            throw .unknown("the note of an erasure is damaged, or of a newer version")
        }
        guard encryption.keyFile.mark.generation >= erasure.generation else { return nil }
        // Its first superblock is written when all else is durable.
        switch EpochSuperblock.newest(of: EpochSuperblock.readCopies(encryption.store)) {
        case .invalid: return try erasure.make(in: encryption.store, grace: Grace())
        case .unreadable(let code): throw FamilyError(code: code)
        case .valid, .newer, .unknownFeatures: return nil
        }
    }

    /// Refuses to mend what an erasure has left: the next opening ends that.
    static func checkIsNotErased(_ encryption: ImageEncryption) throws(FamilyError) {
        do throws(SystemError) {
            guard try encryption.store.note(.erasure) != nil else { return }
        } catch {
            throw FamilyError(code: error.code)
        }
        throw .unknown("it is being erased by its key, which the next start of its disk ends")
    }

    /// Refuses to make a second node of a disk for which the key of the file may be about to go.
    func checkIsNotErased(_ head: UInt32) throws(FamilyError) {
        guard encryption != nil, withFamily({ $0.nodeCount }) == 1 else { return }
        guard case .none = notes(of: head).operation else { throw .operation(head) }
    }

    /// Puts a new key in the place of that of the file, of which `image` is over the only node, and that disk without
    /// data in the place of what the former key has encrypted; nil, or why that was not possible. When it fails, the
    /// former content may be there or gone; until the next opening there may be none.
    func erase(_ image: EpochDiskImage) -> MediaFailure? {
        guard let encryption else { return .device(Errno.notSupported) }
        return structure.withLock { structure -> MediaFailure? in
            var failure: MediaFailure?
            do throws(FamilyError) {
                try checkOpen(structure)
                try image.pausing { () throws(FamilyError) in
                    guard let node = nodes.first, nodes.count == 1, node.number == image.node, node.kind == .head else {
                        throw .inUse(image.node)
                    }
                    failure = eraseAlone(node, encryption)
                }
            } catch {
                return error.failure
            }
            return failure
        }
    }

    private func eraseAlone(_ node: FamilyNode, _ encryption: ImageEncryption) -> MediaFailure? {
        if let refusal = prepareMediaKeyReplacement(of: encryption) { return refusal }
        let erasure = FamilyErasure(
            generation: encryption.keyFile.mark.generation + 1, uuid: withFamily { $0.uuid },
            nextNode: withFamily { $0.nextNode }, compression: compressionLevel, node)
        let previous: [UInt8]?
        do throws(SystemError) { previous = try store.note(.erasure) } catch {
            return MediaFailure(errorNumber: error.code)
        }
        // With it all that was written is durable, so that the former disk can be opened again.
        let code = keep(erasure.encoded, insteadOf: previous, as: .erasure)
        guard code == 0 else { return MediaFailure(errorNumber: code) }
        let (isNew, keyCode, failure) = replaceContent(erasure, encryption)
        if let failure { return failure }
        // As long as the former key may be there too, the note stays: the disk that it says is there.
        guard keyCode == 0 else {
            if !isNew { _ = keep(nil, insteadOf: erasure.encoded, as: .erasure) }
            return MediaFailure(errorNumber: keyCode)
        }
        let marking = keepKeyMark(of: encryption)
        guard marking == 0 else { return MediaFailure(errorNumber: marking) }
        return MediaFailure.of(keep(nil, insteadOf: erasure.encoded, as: .erasure))
    }

    /// Exchanges key and disk while nobody uses the family. Whether the key is a new one, what was said of that, and
    /// why there is no disk any more until the next opening.
    private func replaceContent(
        _ erasure: FamilyErasure, _ encryption: ImageEncryption
    ) -> (isNew: Bool, keyCode: Int32, failure: MediaFailure?) {
        uses.close()
        defer { uses.open() }
        // Nothing of the former disk is written under the new key.
        family.withLock { $0 }.retire()
        let (isNew, code) = encryption.replaceMediaKey()
        // There are no blocks of the former key.
        if isNew { encryption.store.showContent() }
        do throws(FamilyError) {
            let next =
                isNew
                ? try erasure.make(in: encryption.store, grace: door.grace)
                : try DiskFamily.open(encryption.store, grace: door.grace)
            adopt(next)
            return (isNew, code, nil)
        } catch {
            return (isNew, code, code == 0 ? error.failure : MediaFailure(errorNumber: code))
        }
    }
}
