internal import Bytes
public import SCSI

/// The fields of standard INQUIRY data that depend on the device type, not on the device (SPC-5 clause 6.6.2).
public struct InquiryTraits: Sendable {
    /// VERSION: SPC-4. Clients in the field, and libiscsi's tests, refuse newer values.
    static let version: UInt8 = 0x06

    public var type: PeripheralDeviceType
    /// RMB: whether the medium can be removed.
    public var isRemovable: Bool
    /// PROTECT: whether protection information or logical block protection is supported.
    public var isProtectionSupported: Bool
    /// 3PC: whether the unit contains a copy manager.
    public var hasCopyManager = false
    /// The standards claimed, besides SAM-5, SPC-4 and the transport protocol.
    public var versionDescriptors: [UInt16]
    /// Whether there is a device at all.
    var isPresent: Bool

    /// Traits of those values.
    public init(
        type: PeripheralDeviceType, isRemovable: Bool = false, isProtectionSupported: Bool = false,
        versionDescriptors: [UInt16] = []
    ) {
        self.init(
            type: type, isRemovable: isRemovable, isProtectionSupported: isProtectionSupported,
            versionDescriptors: versionDescriptors, isPresent: true)
    }

    init(
        type: PeripheralDeviceType, isRemovable: Bool = false, isProtectionSupported: Bool = false,
        versionDescriptors: [UInt16] = [], isPresent: Bool
    ) {
        self.type = type
        self.isRemovable = isRemovable
        self.isProtectionSupported = isProtectionSupported
        self.versionDescriptors = versionDescriptors
        self.isPresent = isPresent
    }

    /// Standard INQUIRY data of 96 bytes, for a port of that transport protocol (SPC-5 table 151).
    func standardData(_ identity: DeviceIdentity, _ transport: ProtocolIdentifier) -> [UInt8] {
        // NORMACA; a well known unit has no auto contingent allegiance.
        let hasContingentAllegiance = isPresent && type != .wellKnownLogicalUnit
        var bytes: [UInt8] = [
            type.rawValue, isRemovable ? 0x80 : 0, Self.version, hasContingentAllegiance ? 0x22 : 0x02, 91,
        ]
        // 3PC, PROTECT.
        bytes.append((isProtectionSupported ? 0x01 : 0) | (hasCopyManager ? 0x08 : 0))
        bytes.append(0)
        bytes.append(isPresent ? 0x02 : 0)  // CMDQUE
        bytes.appendASCII(identity.vendor, count: 8)
        bytes.appendASCII(identity.product, count: 16)
        bytes.appendASCII(identity.revision, count: 4)
        bytes.append(contentsOf: repeatElement(0, count: 22))
        let claimed = isPresent ? [VersionDescriptor.sam5, transport.versionDescriptor, VersionDescriptor.spc4] : []
        let descriptors = claimed + versionDescriptors
        for index in 0..<8 { bytes.appendBE16(index < descriptors.count ? descriptors[index] : 0) }
        bytes.append(contentsOf: repeatElement(0, count: 96 - bytes.count))
        return bytes
    }
}

extension LogicalUnit {
    /// INQUIRY: standard data or a VPD page (SPC-5 clause 6.6).
    func inquire(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let allocationLength = Int(block.bytes.loadBE16(at: 3))
        var standard = server.standardInquiryData(
            server.traits.standardData(identity, nexus.iTNexus.targetPort.protocolIdentifier))
        if let revision = downloadedRevision { standard.replaceSubrange(32..<36, with: revision) }
        // TPGS: implicit and explicit asymmetric logical unit access.
        if managesAccessStates { standard[5] |= 0x30 }
        // PERIPHERAL QUALIFIER 001b.
        if nexus.hidesPeripheralDevice { standard[0] |= 0x20 }
        guard block[1] & 1 != 0 else {
            guard block[2] == 0 else { return task.failInvalidField(byte: 2) }
            return task.answer(standard, allocationLength: allocationLength)
        }
        guard let content = vitalProductDataPage(block[2], nexus) else { return task.failInvalidField(byte: 2) }
        var bytes = [standard[0], block[2]]
        bytes.appendBE16(UInt16(content.count))
        return task.answer(bytes + content, allocationLength: allocationLength)
    }

    /// The content of a VPD page, those of SPC included.
    private func vitalProductDataPage(_ page: UInt8, _ nexus: ITLNexus) -> [UInt8]? {
        guard server.traits.isPresent else { return page == 0 ? [0] : nil }
        if server.traits.type == .wellKnownLogicalUnit, page != 0x83 { return page == 0 ? [0x00, 0x83] : nil }
        switch page {
        case 0x00:
            let common: [UInt8] = [0x00, 0x80, 0x83, 0x86, 0x87, 0x88] + (server.hasPowerConditions ? [0x8A] : [])
            return Set(common + server.vitalProductDataPages).sorted()
        case 0x80: return Array(identity.serialNumber.utf8)
        case 0x83: return deviceIdentification(nexus)
        case 0x86: return server.vitalProductData(page: page, nexus: nexus) ?? extendedInquiryData
        case 0x87: return server.vitalProductData(page: page, nexus: nexus) ?? modePagePolicy
        case 0x88: return server.vitalProductData(page: page, nexus: nexus) ?? scsiPorts(nexus)
        case 0x8A where server.hasPowerConditions: return powerConditionPage
        default: return server.vitalProductData(page: page, nexus: nexus)
        }
    }

    /// Device Identification (SPC-5 clause 7.7.6): the unit by NAA and T10 vendor ID, the target port that the
    /// initiator uses, and the target device. A well known unit has no names of its own.
    private func deviceIdentification(_ nexus: ITLNexus) -> [UInt8] {
        let port = nexus.iTNexus.targetPort
        let transport = port.protocolIdentifier.rawValue
        let unit =
            server.traits.type == .wellKnownLogicalUnit
            ? [] : DesignationDescriptor.naa(identity.naa) + DesignationDescriptor.t10VendorID(identity)
        return unit + DesignationDescriptor.relativeTargetPort(port.relativeIdentifier, transport)
            + DesignationDescriptor.targetPortGroup(port.groupIdentifier, transport)
            + DesignationDescriptor.nameString(port.name, association: 1, transport)
            + DesignationDescriptor.nameString(nexus.iTNexus.target.name, association: 2, transport)
    }
}
