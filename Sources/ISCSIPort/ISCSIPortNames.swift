internal import Bytes
internal import ISCSI
internal import TargetCore

extension TargetPort {
    /// The iSCSI target port of a portal group (RFC 7143 section 4.2.7.1). The tag also is the relative target port
    /// identifier and the target port group: no two portal groups of a target have the same.
    init(iSCSITarget name: String, portalGroupTag tag: UInt16) {
        let digits = String(tag, radix: 16, uppercase: true)
        self.init(
            name: "\(name),t,0x\(String(repeating: "0", count: 4 - digits.count))\(digits)", relativeIdentifier: tag,
            groupIdentifier: tag, protocolIdentifier: .iSCSI)
    }
}

extension InitiatorPort {
    /// The iSCSI initiator port of a session (RFC 7143 section 4.2.7.1), with a TransportID of format 01b: name,
    /// separator and ISID, NUL-ended and padded to a multiple of four (SPC-5 clause 7.6.4.6).
    init(iSCSIName name: String, initiatorSessionID: InitiatorSessionID) {
        let digits = String(initiatorSessionID.rawValue, radix: 16)
        let portName = "\(name),i,0x\(String(repeating: "0", count: 12 - digits.count))\(digits)"
        var text = Array(portName.utf8)
        text.append(0)
        while text.count % 4 != 0 || text.count < 20 { text.append(0) }
        var transportID: [UInt8] = [0x40 | ProtocolIdentifier.iSCSI.rawValue, 0]
        transportID.appendBE16(UInt16(truncatingIfNeeded: text.count))
        self.init(name: portName, transportID: transportID + text)
    }
}
