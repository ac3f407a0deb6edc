internal import Bytes
internal import Media
internal import Profiles
internal import SCSI
internal import TargetCore

/// READ BLOCK LIMITS, READ POSITION and REPORT DENSITY SUPPORT (SSC-5 clauses 6.7, 6.10 and 6.14).
extension TapeDeviceServer {
    func readBlockLimits(_ task: SCSITask) -> CommandProgress {
        if task.commandDescriptorBlock[1] & 0x01 != 0 {
            // MLOI: the highest logical object identifier that a position can have.
            var bytes = [UInt8](repeating: 0, count: 12)
            bytes.appendBE64(UInt64(Int64.max))
            return task.answer(bytes, allocationLength: bytes.count)
        }
        var bytes: [UInt8] = [UInt8(profile.blockLimits.granularity)]
        bytes.appendBE24(UInt32(profile.blockLimits.maximum))
        bytes.appendBE16(UInt16(profile.blockLimits.minimum))
        return task.answer(bytes, allocationLength: bytes.count)
    }

    // MARK: READ POSITION

    /// BOP and EOP of byte 0. There is no programmable early warning, so BPEW is as EOP.
    private func positionFlags(_ cartridge: Cartridge) -> UInt8 {
        (cartridge.isAtBeginning ? 0x80 : 0) | (isBeyondEarlyWarning(cartridge) ? 0x41 : 0)
    }

    /// The 20 bytes of table 63. Nothing waits in a buffer that the initiator could not read back, so first and last
    /// location are the same.
    func readPositionShort(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            let location = UInt32(exactly: cartridge.position)
            // LOLU: the location does not fit its field.
            var bytes: [UInt8] = [positionFlags(cartridge) | (location == nil ? 0x04 : 0), 0, 0, 0]
            bytes.appendBE32(location ?? .max)
            bytes.appendBE32(location ?? .max)
            bytes += [UInt8](repeating: 0, count: 8)
            return task.answer(bytes, allocationLength: bytes.count)
        }
    }

    /// The 32 bytes of table 64.
    func readPositionLong(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            var bytes: [UInt8] = [positionFlags(cartridge), 0, 0, 0]
            bytes.appendBE32(0)
            bytes.appendBE64(cartridge.position)
            bytes.appendBE64(cartridge.filemarksBeforePosition)
            bytes.appendBE64(0)
            return task.answer(bytes, allocationLength: bytes.count)
        }
    }

    /// The 32 bytes of table 66.
    func readPositionExtended(_ task: SCSITask) -> CommandProgress {
        withMedium(task) { cartridge in
            var bytes: [UInt8] = [positionFlags(cartridge), 0]
            bytes.appendBE16(0x1C)
            bytes.appendBE32(0)
            bytes.appendBE64(cartridge.position)
            bytes.appendBE64(cartridge.position)
            bytes.appendBE64(0)
            let allocationLength = Int(task.commandDescriptorBlock.bytes.loadBE16(at: 7))
            return task.answer(bytes, allocationLength: allocationLength)
        }
    }

    // MARK: REPORT DENSITY SUPPORT

    func reportDensitySupport(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let allocationLength = Int(block.bytes.loadBE16(at: 7))
        guard block[1] & 0x01 != 0 else {
            return answer(task, profile.densities.map { descriptor($0) }, allocationLength)
        }
        // MEDIA: only the format of the cartridge.
        return withMedium(task) { cartridge in
            let density = state.density ?? profile.defaultDensity
            let megabytes = UInt32(clamping: cartridge.capacity / 1_000_000)
            return answer(task, [descriptor(density, capacityMegabytes: megabytes)], allocationLength)
        }
    }

    private func answer(_ task: SCSITask, _ descriptors: [[UInt8]], _ allocationLength: Int) -> CommandProgress {
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(2 + descriptors.reduce(0) { $0 + $1.count }))
        bytes.appendBE16(0)
        return task.answer(bytes + descriptors.flatMap(\.self), allocationLength: allocationLength)
    }

    /// A density support data block descriptor of 52 bytes (SSC-5 table 79).
    private func descriptor(_ density: DensityProfile, capacityMegabytes: UInt32? = nil) -> [UInt8] {
        let flags: UInt8 = (density.isWritable ? 0x80 : 0) | (density.isDefault ? 0x20 : 0)
        var bytes: [UInt8] = [density.code, density.code, flags, 0, 0]
        bytes.appendBE24(density.bitsPerMillimeter)
        bytes.appendBE16(density.widthTenthsOfMillimeter)
        bytes.appendBE16(density.tracks)
        bytes.appendBE32(capacityMegabytes ?? density.capacityMegabytes)
        bytes.appendASCII(density.organization, count: 8)
        bytes.appendASCII(density.name, count: 8)
        bytes.appendASCII(density.description, count: 20)
        return bytes
    }
}
