internal import Bytes
internal import ISCSI
internal import Initiator
internal import SCSI

/// PDUs in words, for the reasons of failures.
extension Wire {
    static func describe(_ pdu: ReceivedPDU) -> String {
        if let response: LoginResponsePDU = pdu.parsed() { return describe(response, pdu.data) }
        if let response: SCSIResponsePDU = pdu.parsed() {
            return "SCSI Response (\(CommandResult(response, pdu.data).summary))"
        }
        if let dataIn: DataInPDU = pdu.parsed() {
            var text = "Data-In (DataSN \(dataIn.dataSN), offset \(dataIn.bufferOffset), \(pdu.data.count) bytes"
            if dataIn.isFinal { text += ", F" }
            if dataIn.hasStatus { text += ", status \(hex(dataIn.status.rawValue))" }
            return text + ")"
        }
        if let request: ReadyToTransferPDU = pdu.parsed() {
            return "R2T (R2TSN \(request.r2tSN), offset \(request.bufferOffset), "
                + "\(request.desiredDataTransferLength) bytes)"
        }
        if let reject: RejectPDU = pdu.parsed() { return "Reject (reason \(hex(reject.reason.rawValue)))" }
        if let response: TaskManagementResponsePDU = pdu.parsed() {
            return "Task Management Response (response \(response.response.rawValue))"
        }
        if let response: LogoutResponsePDU = pdu.parsed() {
            return "Logout Response (response \(response.response.rawValue))"
        }
        if let response: TextResponsePDU = pdu.parsed() {
            return "Text Response (F \(response.isFinal ? 1 : 0), C \(response.isContinued ? 1 : 0), "
                + "\"\(text(pdu.data))\")"
        }
        if pdu.opcode == .nopIn { return "NOP-In (\(pdu.data.count) bytes)" }
        if let message: AsyncMessagePDU = pdu.parsed() {
            return "Asynchronous Message (event \(message.event.rawValue))"
        }
        return "a PDU of opcode \(hex(pdu.opcode.rawValue))"
    }

    static func describe(_ response: LoginResponsePDU, _ data: [UInt8]) -> String {
        let status = response.status
        var words = "Login Response (status \(hex(status))"
        if status != .success { return words + " \(status))" }
        words += ", T \(response.isTransit ? 1 : 0), C \(response.isContinued ? 1 : 0)"
        words += ", CSG \(response.currentStageCode), NSG \(response.nextStageCode)"
        if !data.isEmpty { words += ", \"\(text(data))\"" }
        return words + ")"
    }

    /// Key-value pairs on one line, cut where they get long.
    static func text(_ data: [UInt8]) -> String {
        let limit = 120
        let line = String(decoding: data.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
        return line.count > limit ? line.prefix(limit) + "…" : line.hasSuffix(" ") ? String(line.dropLast()) : line
    }

    /// Class and detail, four hexadecimal digits.
    static func hex(_ status: LoginStatus) -> String {
        String(hex(status.statusClass).dropFirst(2) + hex(status.statusDetail).dropFirst(2))
    }

    /// Two hexadecimal digits after `0x`.
    static func hex(_ byte: UInt8) -> String {
        (byte < 16 ? "0x0" : "0x") + String(byte, radix: 16)
    }
}
