internal import Bytes
internal import SCSI

// VPD pages of all device types besides those that identify the unit.
extension LogicalUnit {
    /// Extended INQUIRY Data from byte 4 on (SPC-5 clause 7.7.8): what is zero is not supported.
    var extendedInquiryData: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 60)
        bytes[0] = server.protectionChecks
        if server.acceptsMicrocode {
            // ACTIVATE MICROCODE: before the end of the command.
            bytes[0] |= 0x40
            // POA_SUP; DMS_VALID, and DM_MD_4 to DM_MD_7, DM_MD_D, DM_MD_E and DM_MD_F.
            bytes[8] = 0x90
            bytes[15] = 0xFE
        }
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
    /// relative identifiers, each with its name.
    func scsiPorts(_ nexus: ITLNexus) -> [UInt8] {
        let ports = Set(nexus.iTNexus.knownTargetPorts() + [nexus.iTNexus.targetPort])
        var bytes: [UInt8] = []
        // PAGE LENGTH has 16 bits.
        for port in ports.sorted(by: { $0.relativeIdentifier < $1.relativeIdentifier }).prefix(Self.listedPortLimit) {
            let name = DesignationDescriptor.nameString(port.name, association: 1, port.protocolIdentifier.rawValue)
            bytes.appendBE16(0)
            bytes.appendBE16(port.relativeIdentifier)
            // No initiator port: INITIATOR PORT TRANSPORTID LENGTH zero.
            bytes.appendBE32(0)
            bytes.appendBE16(0)
            bytes.appendBE16(UInt16(name.count))
            bytes += name
        }
        return bytes
    }

    /// The most ports that the SCSI Ports page lists; a name has at most 255 bytes.
    private static let listedPortLimit = 128
}
