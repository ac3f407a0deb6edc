internal import Bytes
internal import Media
internal import Profiles
public import SCSI
public import TargetCore

/// Mode page codes of tape drives (SSC-5 clause 8.5).
enum TapeModePage {
    static let dataCompression: UInt8 = 0x0F
    static let deviceConfiguration: UInt8 = 0x10
    static let mediumPartition: UInt8 = 0x11
    static let mediumConfiguration: UInt8 = 0x1D
}

/// Mode pages, INQUIRY data and VPD pages.
extension TapeDeviceServer {
    /// Density code that stands for the default one: the cartridge's (SSC-5 clause 8.5.2).
    private static let defaultDensityCode: UInt8 = 0x00
    /// Density code that means: as it is.
    private static let unchangedDensityCode: UInt8 = 0x7F

    // MARK: Header and block descriptor

    /// WP, BUFFERED MODE and SPEED (zero: the default).
    public func deviceSpecificModeParameter(_ nexus: ITLNexus) -> UInt8 {
        (isWriteProtected ? 0x80 : 0) | state.bufferedMode << 4
    }

    /// The kind of cartridge that is loaded, zero without one.
    public func modeMediumType(_ nexus: ITLNexus) -> UInt8 {
        guard let cartridge = readyCartridge, let density = state.density else { return 0 }
        return cartridge.identity.isWORM ? density.wormMediumType : density.mediumType
    }

    /// Density and block length; there is no long form for tapes.
    public func modeBlockDescriptor(_ nexus: ITLNexus, isLong: Bool) -> [UInt8] {
        let density = readyCartridge == nil ? nil : state.density
        var bytes: [UInt8] = [(density ?? profile.defaultDensity).code, 0, 0, 0, 0]
        bytes.appendBE24(UInt32(nexusState(nexus).blockLength))
        return bytes
    }

    /// Takes buffered mode, which all nexuses share, and the block length, which is the nexus's own. The format follows
    /// the cartridge: a density code may name that format or none; without a cartridge, one that the drive has.
    public func selectModeHeader(
        _ header: ModeSelectHeader, nexus: ITLNexus, isCommitting: Bool
    ) -> SenseData? {
        let bufferedMode = header.deviceSpecificParameter >> 4 & 0x07
        let parameterOffset = header.deviceSpecificParameterOffset
        let blockDescriptor = header.blockDescriptor
        let blockDescriptorOffset = header.blockDescriptorOffset
        guard bufferedMode <= 1 else { return .invalidParameter(byte: parameterOffset, bit: 6) }
        guard header.deviceSpecificParameter & 0x0F == 0 else {
            return .invalidParameter(byte: parameterOffset, bit: 3)
        }
        var blockLength: Int?
        if !blockDescriptor.isEmpty {
            guard blockDescriptor.count == 8 else { return .invalidParameter(byte: blockDescriptorOffset) }
            let density = blockDescriptor[0]
            let isPresent =
                density == Self.defaultDensityCode || density == Self.unchangedDensityCode
                || (readyCartridge == nil ? profile.density(code: density) != nil : state.density?.code == density)
            guard isPresent else { return .invalidParameter(byte: blockDescriptorOffset) }
            guard blockDescriptor.rawSpan.loadBE24(at: 1) == 0 else {
                return .invalidParameter(byte: blockDescriptorOffset + 1)
            }
            let length = Int(blockDescriptor.rawSpan.loadBE24(at: 5))
            guard length == 0 || isAllowed(blockLength: length) else {
                return .invalidParameter(byte: blockDescriptorOffset + 5)
            }
            blockLength = length
        }
        guard isCommitting else { return nil }
        if let blockLength { nexusState(nexus).blockLength = blockLength }
        if bufferedMode != state.bufferedMode {
            state.bufferedMode = bufferedMode
            attachedNexuses.establishUnitAttention(.modeParametersChanged, except: nexus)
        }
        return nil
    }

    // MARK: Pages

    /// With the size of the partition and WORM, which the cartridge decides.
    public func modePageContent(_ page: ModePage, control: ModePageControl, nexus: ITLNexus) -> [UInt8] {
        var content = page.content(control)
        guard control != .changeable, page.subpage == 0, let cartridge = readyCartridge else { return content }
        switch page.code {
        case TapeModePage.mediumPartition:
            // PARTITION SIZE in units of 10^9 bytes, as PARTITION UNITS of the profile says; at least one.
            let units = UInt16(clamping: max(1, cartridge.capacity / 1_000_000_000))
            content.modifyBytes { $0.storeBE16(units, at: 6) }
        case TapeModePage.mediumConfiguration:
            if cartridge.identity.isWORM { content[0] |= 0x01 }
        default: break
        }
        return content
    }

    /// Refuses compression algorithms that the drive does not have.
    public func checkModePage(_ page: ModePage, newContent: [UInt8], offset: Int, nexus: ITLNexus) -> SenseData? {
        // SELECT DATA COMPRESSION ALGORITHM: 0 none, 1 the default one.
        if page.code == TapeModePage.deviceConfiguration, page.subpage == 0, newContent[12] > 1 {
            return .invalidParameter(byte: offset + 12)
        }
        return nil
    }

    /// Keeps the two pages that speak of compression equal.
    public func completeModeChanges(_ changes: [ModePageChange]) -> [ModePageChange] {
        var all = changes
        func set(_ index: Int, of code: UInt8, to value: UInt8, mask: UInt8) {
            let present = all.firstIndex { $0.page.code == code && $0.page.subpage == 0 }
            if let present { return all[present].follow(index, to: value, mask: mask) }
            guard let page = modePages.page(code) else { return }
            var change = ModePageChange(page, content: page.current)
            change.follow(index, to: value, mask: mask)
            all.append(change)
        }
        for change in changes where change.page.subpage == 0 {
            if change.page.code == TapeModePage.dataCompression {
                let algorithm: UInt8 = change.content[0] & 0x80 != 0 ? 1 : 0
                set(12, of: TapeModePage.deviceConfiguration, to: algorithm, mask: 0xFF)
            } else if change.page.code == TapeModePage.deviceConfiguration {
                set(0, of: TapeModePage.dataCompression, to: change.content[12] == 0 ? 0 : 0x80, mask: 0x80)
            }
        }
        return all
    }

    public func modePageChanged(_ page: ModePage) {
        guard page.code == TapeModePage.deviceConfiguration, page.subpage == 0 else { return }
        readDeviceConfiguration(page.current)
    }

    /// Remembers the bits of the Device Configuration page that the data path needs: REW and SWP.
    func readModePages() {
        guard let content = modePages.page(TapeModePage.deviceConfiguration)?.current else { return }
        readDeviceConfiguration(content)
    }

    private func readDeviceConfiguration(_ content: [UInt8]) {
        state.reportsEarlyWarningOnRead = content[6] & 0x01 != 0
        state.isSoftwareWriteProtected = content[8] & 0x04 != 0
    }

    // MARK: INQUIRY

    /// Standard INQUIRY data with the profile's vendor-specific bytes.
    public func standardInquiryData(_ standard: [UInt8]) -> [UInt8] {
        personality.inquiryData(standard)
    }

    public var acceptsMicrocode: Bool { personality.acceptsMicrocode }

    /// Manufacturer-assigned Serial Number (SSC-5 clause 8.6.3).
    private static let manufacturerSerialNumberPage: UInt8 = 0xB1

    /// The profile's pages, and page B1h.
    public var vitalProductDataPages: [UInt8] {
        personality.pages + [Self.manufacturerSerialNumberPage]
    }

    public func vitalProductData(page: UInt8, nexus: ITLNexus) -> [UInt8]? {
        if page == Self.manufacturerSerialNumberPage { return Array(identity.serialNumber.utf8) }
        return personality.vitalProductData(page: page)
    }
}
