public import Catalog
import DiskDevice
import Logging
import Media
import Platform
public import Resources
import TapeDevice

// Losses of written data, which stay until an operator says that they are known.
extension LocalDevices {
    public func loss(ofDisk disk: DiskRecord) -> LossSummary? {
        disks.withLock { $0[disk.identity.id] }?.server.lossReport.map { LossSummary($0) }
    }

    public func lossesOfDisks() -> [String: LossSummary] {
        var losses: [String: LossSummary] = [:]
        diskLosses.forEach { key in
            guard let disk = disks.withLock({ $0[key] }), let report = disk.server.lossReport else { return false }
            losses[disk.name] = LossSummary(report)
            return true
        }
        return losses
    }

    /// Has losses on the disk with that key, which runs, be known.
    func watchLosses(ofDisk key: Int64, _ server: DiskDeviceServer) {
        server.whenLosing { [diskLosses] in diskLosses.note(key) }
        if server.hasLostData { diskLosses.note(key) }
    }

    /// Has the log tell of losses on the disk `name`, and of what a restart makes of them.
    static func tellLosses(ofDisk name: String, _ server: DiskDeviceServer, logger: Logger) {
        server.whenDataLost { loss, unmarked in
            var details: Logger.Metadata = ["disk": "\(name)", "reason": "\(loss.failure)"]
            guard let unmarked else {
                return logger.error(
                    "data were lost: the disk is not written until the loss is acknowledged", metadata: details)
            }
            details["unmarked"] = "\(unmarked)"
            logger.error(
                """
                data were lost: the disk is not written until the loss is acknowledged; its image could not be marked, \
                so the daemon forgets the loss when it ends, and permits writes when it is started again
                """, metadata: details)
        }
    }

    /// The refusal to do something with what is not served.
    static func unserved(_ kind: String, _ name: String) -> ManagementError {
        ManagementError(
            .conflict,
            "\(kind) '\(name)' is not served, so nothing can be done with it; 'carousel \(kind) show \(name)' says "
                + "why, and it is served soon after that is mended")
    }

    /// Has the disk written again after a loss; its host's cache no longer shows what the storage may not have.
    public func acknowledgeLoss(ofDisk disk: DiskRecord) throws(ManagementError) -> Bool {
        guard let running = disks.withLock({ $0[disk.identity.id] }) else {
            throw Self.unserved("disk", disk.name)
        }
        guard running.server.hasLostData else { return false }
        if let failure = running.server.acknowledgeLoss() {
            if failure == .truncated {
                let cut = running.server.image.truncatedFile
                throw ManagementError(
                    .conflict,
                    "the loss on disk '\(disk.name)' is not acknowledged: its file \(cut.path) is still shorter than "
                        + "the disk needs; restore it where it is, or give up what is gone with "
                        + "'truncate -s \(cut.length) \(cut.path)'")
            }
            throw ManagementError(
                .system, "the loss on disk '\(disk.name)' is not acknowledged: \(failure); mend the storage first")
        }
        return true
    }

    /// Has the cartridge end where durability ended, and written again from there on.
    public func acknowledgeLoss(
        of cartridge: CartridgeRecord, in library: LibraryRecord, folder: String
    ) throws(ManagementError) -> Bool {
        let running = libraries.withLock { $0[library.identity.id] }
        if let element = cartridge.location.element, element.kind == .drive {
            guard let running, running.drives.indices.contains(element.number - 1) else {
                throw Self.unserved("library", library.name)
            }
            return try acknowledgeLoss(of: cartridge, inDrive: element.number, of: running)
        }
        let epoch = running?.register.epoch ?? 0
        checks.interrupt(CartridgeStore(directory: folder).folder(of: cartridge.barcode))
        let hadLost = try acknowledgeLoss(of: cartridge, in: CartridgeStore(directory: folder))
        // A drive may have told of a loss that its host could not record with the files.
        let wasKnown = running?.register.acknowledge(cartridge.barcode, since: epoch) ?? false
        return hadLost || wasKnown
    }

    private func acknowledgeLoss(
        of cartridge: CartridgeRecord, in store: CartridgeStore
    ) throws(ManagementError) -> Bool {
        do {
            guard try store.inspect(barcode: cartridge.barcode).loss != nil else { return false }
            if let failure = try store.acknowledgeLoss(barcode: cartridge.barcode) {
                logger.warning(
                    "the cartridge could not be closed in order",
                    metadata: ["cartridge": "\(cartridge.barcode)", "reason": "\(failure)"])
            }
            return true
        } catch {
            throw ManagementError(
                .system, "the loss on cartridge '\(cartridge.barcode)' is not acknowledged: \(error)")
        }
    }

    private func acknowledgeLoss(
        of cartridge: CartridgeRecord, inDrive number: Int, of library: RunningLibrary
    ) throws(ManagementError) -> Bool {
        let outcome = Outcome<(LossAcknowledgement, wasKnown: Bool)>()
        let (register, barcode) = (library.register, cartridge.barcode)
        let epoch = register.epoch
        library.drives[number - 1].server.acknowledgeLoss { answer in
            // Here, because nobody may wait for the answer any more.
            let isOver = answer == .acknowledged || answer == .nothingLost
            outcome.set((answer, isOver && register.acknowledge(barcode, since: epoch)))
        }
        switch outcome.wait(atMost: Limit.moveWait) {
        case (.acknowledged, _)?: return true
        case (.nothingLost, let wasKnown)?: return wasKnown
        case (.empty, _)?:
            throw ManagementError(
                .conflict, "cartridge '\(barcode)' cannot be used in drive:\(number); move it to a slot")
        case (.failed(let failure), _)?:
            throw ManagementError(
                .system, "the loss on cartridge '\(barcode)' is not acknowledged: \(failure); mend the storage first")
        case (.busy, _)?, nil: throw ManagementError(.inUse, "drive:\(number) is at work; try again in a moment")
        }
    }
}
