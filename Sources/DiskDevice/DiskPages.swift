internal import Bytes
public import SCSI
public import TargetCore

/// The mode pages of a disk and the bits in them that have an effect.
enum DiskModePage {
    /// Read-Write Error Recovery.
    static let errorRecovery: UInt8 = 0x01
    static let caching: UInt8 = 0x08
    static let control: UInt8 = 0x0A
    static let powerCondition: UInt8 = 0x1A
    /// Informational Exceptions Control.
    static let informationalExceptions: UInt8 = 0x1C

    /// WCE, in the first byte of the Caching page's content.
    static let writeCacheEnable: UInt8 = 0x04
    /// D_SENSE, in the first byte of the Control page's content.
    static let descriptorSense: UInt8 = 0x04
    /// SWP, in the third byte of the Control page's content.
    static let softwareWriteProtect: UInt8 = 0x08

    /// All pages with their defaults (SBC-4 clause 6.5, SPC-5 clause 7.5).
    static var all: ModePages {
        ModePages([
            ModePage(code: errorRecovery, [UInt8](repeating: 0, count: 10)),
            ModePage(
                code: caching, [writeCacheEnable] + [UInt8](repeating: 0, count: 17), changeable: [writeCacheEnable]),
            // TST 001b: a task set for each I_T nexus. QUEUE ALGORITHM MODIFIER 1h: SIMPLE commands are not ordered.
            ModePage(
                code: control, [0x20, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
                changeable: [descriptorSense, 0, softwareWriteProtect]),
            ModePage(code: powerCondition, [UInt8](repeating: 0, count: 38)),
            ModePage(code: informationalExceptions, [UInt8](repeating: 0, count: 10)),
        ])
    }
}

/// VPD pages, the mode parameter header and log pages.
extension DiskDeviceServer {
    // MARK: VPD (SBC-4 clause 6.6)

    private static let blockLimits: UInt8 = 0xB0
    private static let blockDeviceCharacteristics: UInt8 = 0xB1
    private static let logicalBlockProvisioning: UInt8 = 0xB2

    /// Where storage can be freed: the page of the host's file systems, in bytes.
    private static let provisioningGranularity = 4096
    /// What a transfer best does not exceed, in bytes.
    private static let optimalTransferLength = 1 << 20

    public var vitalProductDataPages: [UInt8] {
        [Self.thirdPartyCopy, Self.blockLimits, Self.blockDeviceCharacteristics, Self.logicalBlockProvisioning]
    }

    public func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? {
        switch page {
        case Self.thirdPartyCopy: thirdPartyCopyPage()
        case Self.blockLimits: blockLimitsPage()
        case Self.blockDeviceCharacteristics:
            // MEDIUM ROTATION RATE 1: non-rotating.
            [0x00, 0x01] + [UInt8](repeating: 0, count: 58)
        case Self.logicalBlockProvisioning:
            // No threshold; LBPU, LBPWS, LBPWS10, LBPRZ; thin provisioned.
            [0x00, 0xE4, 0x02, 0x00]
        default: nil
        }
    }

    /// Block Limits (SBC-3 table 194).
    private func blockLimitsPage() -> [UInt8] {
        // A granularity of one block is not reported (zero): QEMU 7.2 aborts when it reads one.
        let blocks = UInt32(Self.provisioningGranularity >> Int(blockShift))
        let granularity = blocks > 1 ? blocks : 0
        // WSNZ.
        var bytes: [UInt8] = [0x01, Self.maximumCompareAndWriteLength]
        bytes.appendBE16(UInt16(granularity))
        bytes.appendBE32(UInt32(maximumTransferBlocks))
        bytes.appendBE32(UInt32(Self.optimalTransferLength >> Int(blockShift)))
        bytes.appendBE32(UInt32(Self.maximumPrefetchLength >> Int(blockShift)))
        bytes.appendBE32(Self.maximumUnmapCount)
        bytes.appendBE32(UInt32(Self.maximumUnmapDescriptors))
        bytes.appendBE32(granularity)
        // UGAVALID, alignment 0.
        bytes.appendBE32(granularity > 0 ? 0x8000_0000 : 0)
        bytes.appendBE64(Self.maximumWriteSameLength)
        // No atomic writes.
        return bytes + [UInt8](repeating: 0, count: 60 - bytes.count)
    }

    // MARK: Mode parameters (SBC-4 clause 6.5.1)

    public func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 {
        // WP, and DPOFUA: READ and WRITE have DPO and FUA.
        (isWriteProtected ? 0x80 : 0) | 0x10
    }

    /// The short or long LBA mode parameter block descriptor (SBC-4 clauses 6.5.2.2 and 6.5.2.3).
    public func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        if isLong {
            bytes.appendBE64(blockCount)
            bytes.appendBE32(0)
            bytes.appendBE32(UInt32(blockSize))
        } else {
            bytes.appendBE32(UInt32(exactly: blockCount) ?? UInt32.max)
            bytes.appendBE32(UInt32(blockSize))
        }
        return bytes
    }

    /// The capacity and the block length are not changed by MODE SELECT: a block descriptor repeats them, or says zero
    /// blocks, which means as many as there are.
    public func selectModeHeader(
        _ header: ModeSelectHeader, nexus: ITLNexus, isCommitting: Bool
    ) -> SenseData? {
        let isLong = header.blockDescriptor.count == 16
        let present = modeBlockDescriptor(nexus, isLong: isLong)
        let countLength = isLong ? 8 : 4
        let hasNoCount = header.blockDescriptor.prefix(countLength).allSatisfy { $0 == 0 }
        for (index, byte) in header.blockDescriptor.enumerated() where byte != present[index] {
            if index < countLength, hasNoCount { continue }
            return .invalidParameter(byte: header.blockDescriptorOffset + index)
        }
        return nil
    }

    // MARK: Log pages (SPC-5 clause 7.3)

    private static let informationalExceptionsLog: UInt8 = 0x2F

    public var logPages: [UInt8] { [Self.informationalExceptionsLog] }

    public func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        guard code == Self.informationalExceptionsLog, subpage == 0 else { return nil }
        // One parameter: no exception, temperature not known (FFh).
        return [0x00, 0x00, 0x03, 0x03, 0x00, 0x00, 0xFF]
    }
}
