internal import Bytes
internal import SCSI

// VPD pages of all device types besides those that identify the unit.
extension LogicalUnit {
    /// Extended INQUIRY Data from byte 4 on (SPC-5 clause 7.7.8): what is zero is not supported.
    var extendedInquiryData: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 60)
        // PRIOR_SUP; HEADSUP, ORDSUP and SIMPSUP.
        bytes[1] = 0x0F
        // V_SUP.
        bytes[2] = server.hasVolatileCache ? 0x01 : 0
        // RTD_SUP, where MODE SELECT can change anything.
        bytes[4] = server.modePages.all.contains { $0.isSavable } ? 0x08 : 0
        // MAXIMUM SUPPORTED SENSE DATA LENGTH.
        bytes[9] = UInt8(Sense.maximumLength)
        return bytes
    }

    /// Mode Page Policy from byte 4 on (SPC-5 clause 7.7.10): each page is shared by all I_T nexuses (MODE PAGE POLICY
    /// 00b) and of this unit alone (MLUS zero).
    var modePagePolicy: [UInt8] {
        let pages = server.modePages.all
        return pages.isEmpty ? [0x3F, 0xFF, 0, 0] : pages.flatMap { [$0.code, $0.subpage, 0, 0] }
    }

    /// SCSI Ports from byte 4 on (SPC-5 clause 7.7.15): the ports that the target has now, in the order of their
    /// relative identifiers, each with its name where the transport's names are known.
    func scsiPorts(_ nexus: ITLNexus) -> [UInt8] {
        let used = nexus.iTNexus.targetPort
        let target = nexus.iTNexus.target.name
        let identifiers = Set(nexus.iTNexus.knownTargetPorts() + [used.relativeIdentifier]).sorted()
        var bytes: [UInt8] = []
        // PAGE LENGTH has 16 bits.
        for identifier in identifiers.prefix(Self.listedPortLimit) {
            let transport = used.protocolIdentifier.rawValue
            var descriptors: [UInt8] = []
            if let name = used.name(ofSibling: identifier, target: target) {
                descriptors = DesignationDescriptor.nameString(name, association: 1, transport)
            }
            bytes.appendBE16(0)
            bytes.appendBE16(identifier)
            // No initiator port: INITIATOR PORT TRANSPORTID LENGTH zero.
            bytes.appendBE32(0)
            bytes.appendBE16(0)
            bytes.appendBE16(UInt16(descriptors.count))
            bytes += descriptors
        }
        return bytes
    }

    /// The most ports that the SCSI Ports page lists; a name has at most 255 bytes.
    private static let listedPortLimit = 128
}

extension TargetPort {
    /// The SCSI port name of another port of the target device; nil where it does not follow from the identifier, as it
    /// does for iSCSI (RFC 7143 section 4.2.7.1: TARGET,t,0xTAG).
    func name(ofSibling identifier: UInt16, target: String) -> String? {
        if identifier == relativeIdentifier { return name }
        guard protocolIdentifier == .iSCSI, name.hasPrefix(target + ",t,0x") else { return nil }
        let digits = String(identifier, radix: 16, uppercase: true)
        return "\(target),t,0x\(String(repeating: "0", count: 4 - digits.count))\(digits)"
    }
}
