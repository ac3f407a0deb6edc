internal import Bytes
internal import Media
public import SCSI
public import TargetCore

/// The mode pages of a disk and the bits in them that have an effect.
enum DiskModePage {
    /// Read-Write Error Recovery.
    static let errorRecovery: UInt8 = 0x01
    static let caching: UInt8 = 0x08
    /// SUBPAGE CODE of the Control Extension page.
    static let controlExtension: UInt8 = 0x01
    static let powerCondition: UInt8 = 0x1A
    /// Informational Exceptions Control.
    static let informationalExceptions: UInt8 = 0x1C
    /// Logical Block Provisioning, a subpage of the same code.
    static let provisioningSubpage: UInt8 = 0x02

    /// WCE, in the first byte of the Caching page's content.
    static let writeCacheEnable: UInt8 = 0x04
    /// DRA, in the eleventh byte of the Caching page's content.
    static let disableReadAhead: UInt8 = 0x20

    /// Caching (SBC-4 clause 6.5.6). What an operator has said is durable stays so: WCE can only be changed where it is
    /// one by default. DRA: what goes past the page cache is not read ahead.
    static func caching(_ policy: DiskCachePolicy) -> ModePage {
        var content = [UInt8](repeating: 0, count: 18)
        if policy != .writeThrough { content[0] = writeCacheEnable }
        if policy == .direct { content[10] = disableReadAhead }
        return ModePage(code: caching, content, changeable: policy == .writeThrough ? [] : [writeCacheEnable])
    }

    /// All pages with their defaults (SBC-4 clause 6.5, SPC-5 clause 7.5).
    static func all(_ policy: DiskCachePolicy, isProtected: Bool = false) -> ModePages {
        ModePages([
            ModePage(code: errorRecovery, [UInt8](repeating: 0, count: 10)),
            caching(policy),
            ControlModePage.pageOfParallelUnit(isProtected: isProtected),
            // TCMOS and SCSIP: the timestamp is the host's until SET TIMESTAMP sets another.
            ModePage(
                code: ControlModePage.code, subpage: controlExtension, [0x06] + [UInt8](repeating: 0, count: 27)),
            // IDLE_A and STANDBY_Z with their timers.
            ModePage(
                code: powerCondition, [UInt8](repeating: 0, count: 38),
                changeable: [0, 0x03] + [UInt8](repeating: 0xFF, count: 8)),
            ModePage(code: informationalExceptions, [UInt8](repeating: 0, count: 10)),
            DiskThreshold.page(usedSets: nil),
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
            // MEDIUM ROTATION RATE; PRODUCT TYPE, not indicated; WABEREQ 01b, as what BLOCK ERASE leaves is read
            // without error; WACEREQ 01b of encrypted disks, for the same reason; NOMINAL FORM FACTOR.
            [
                UInt8(attributes.rotationRate >> 8), UInt8(attributes.rotationRate & 0xFF), 0,
                0x40 | (image.isEncrypted ? 0x10 : 0) | attributes.formFactor,
            ] + [UInt8](repeating: 0, count: 56)
        case Self.logicalBlockProvisioning:
            // THRESHOLD EXPONENT; LBPU, LBPWS, LBPWS10, LBPRZ; thin provisioned.
            [DiskThreshold.exponent(blockShift), 0xE0 | attributes.unmappedReads << 2, 0x02, 0x00]
        default: nil
        }
    }

    /// Block Limits (SBC-3 table 194).
    private func blockLimitsPage() -> [UInt8] {
        // A granularity of one block is not reported (zero): QEMU 7.2 aborts when it reads one.
        let blocks = UInt32(Self.provisioningGranularity >> Int(blockShift))
        let granularity = blocks > 1 ? blocks : 0
        // WSNZ zero: WRITE SAME of zero blocks means all to the last one.
        var bytes: [UInt8] = [0x00, Self.maximumCompareAndWriteLength]
        bytes.appendBE16(UInt16(granularity))
        bytes.appendBE32(UInt32(maximumTransferBlocks(protection)))
        bytes.appendBE32(UInt32(Self.optimalTransferLength >> Int(blockShift)))
        bytes.appendBE32(UInt32(Self.maximumPrefetchLength >> Int(blockShift)))
        bytes.appendBE32(Self.maximumUnmapCount)
        bytes.appendBE32(UInt32(Self.maximumUnmapDescriptors))
        bytes.appendBE32(granularity)
        // UGAVALID, alignment 0.
        bytes.appendBE32(granularity > 0 ? 0x8000_0000 : 0)
        bytes.appendBE64(Self.maximumWriteSameLength)
        // Atomic writes of any alignment and granularity, without boundaries.
        bytes.appendBE32(UInt32(maximumAtomicBlocks))
        return bytes + [UInt8](repeating: 0, count: 60 - bytes.count)
    }

    // MARK: Mode parameters (SBC-4 clause 6.5.1)

    public func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 {
        // WP, and DPOFUA: READ and WRITE have DPO and FUA.
        (isWriteProtected ? 0x80 : 0) | 0x10
    }

    /// The short or long LBA mode parameter block descriptor (SBC-4 clauses 6.5.2.2 and 6.5.2.3). Without a medium
    /// there are no blocks.
    public func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] {
        let blockCount = hasMedium ? self.blockCount : 0
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

    // MARK: Log pages (SPC-5 clause 7.3, SBC-4 clause 6.4)

    public var commonLogPages: [CommonLogPage] {
        [
            .writeErrors, .readErrors, .verifyErrors, .nonMediumErrors, .temperature, .startStopCycles,
            .applicationClient, .selfTestResults, .solidStateMedia, .backgroundScan, .generalStatistics,
            .powerConditionTransitions, .informationalExceptions,
        ]
    }

    public var logicalBlockLength: Int { blockSize }

    // MARK: What the pages of all types say of a disk

    public var hasPowerConditions: Bool { true }
    public var hasVolatileCache: Bool { true }

    /// Written data that the host has lost.
    public var selfTestFailure: SenseData? { image.loss.map { Self.writeFailure($0, block: nil) } }

    /// How much is used is looked at only for the sake of a threshold.
    public var logPages: [UInt8] { threshold.percent == nil ? [] : [DiskThreshold.logPage] }

    public func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        guard code == DiskThreshold.logPage, subpage == 0, threshold.percent != nil else { return nil }
        return threshold.logParameters(sets: thresholdSets, blockShift)
    }
}
