internal import Bytes
internal import SCSI

/// SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-5 clauses 6.30 and 6.42).
///
/// A self-test says what the device server knows of itself, at once: a background one has ended when its command does.
extension LogicalUnit {
    /// SELF-TEST CODE (SPC-5 table 283).
    private enum SelfTestCode: UInt8 {
        case none = 0
        case backgroundShort = 1
        case backgroundExtended = 2
        case abortBackground = 4
        case foregroundShort = 5
        case foregroundExtended = 6
    }

    /// The results of so many self-tests are kept (SPC-5 clause 7.3.20).
    static let selfTestLimit = 20
    /// The length of a result: what follows the header of its log parameter.
    static let selfTestResultLength = 16
    /// The Supported Diagnostic Pages page (SPC-5 clause 7.2.3), the only one.
    private static let supportedPages: UInt8 = 0x00

    func beginSendDiagnostic(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let length = Int(block.bytes.loadBE16(at: 3))
        guard let code = SelfTestCode(rawValue: block[1] >> 5) else { return task.failInvalidField(byte: 1, bit: 7) }
        let isSelfTest = block[1] & 0x04 != 0
        guard !isSelfTest || code == .none else { return task.failInvalidField(byte: 1, bit: 7) }
        if isSelfTest || code != .none {
            guard length == 0 else { return task.failInvalidField(byte: 3) }
        } else if length > 0, block[1] & 0x10 == 0 {
            // PF zero: parameters that the standard does not define.
            return task.failInvalidField(byte: 1, bit: 4)
        }
        // None is in progress.
        guard code != .abortBackground else { return task.failInvalidField(byte: 1, bit: 7) }
        return .awaitDataOut(length: length)
    }

    func sendDiagnostic(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if block[1] & 0x04 != 0 {
            return server.selfTestFailure == nil ? task.good() : task.fail(.hardwareError, .failedSelfTest)
        }
        guard let code = SelfTestCode(rawValue: block[1] >> 5), code != .none else { return takeDiagnosticPage(task) }
        let failure = server.selfTestFailure
        let result = selfTestResult(code.rawValue, failure)
        let values: UnitParameters.Values = { [parameters] in
            let results = result + parameters[KeptParameter(.selfTests)]
            return [KeptParameter(.selfTests): Array(results.prefix(Self.selfTestLimit * Self.selfTestResultLength))]
        }
        let isForeground = code == .foregroundShort || code == .foregroundExtended
        return keep(for: task, values) { task, _ in
            isForeground && failure != nil ? task.fail(.hardwareError, .failedSelfTest) : task.good()
        }
    }

    /// A result as its log parameter has it (SPC-5 table 358).
    private func selfTestResult(_ code: UInt8, _ failure: SenseData?) -> [UInt8] {
        // SELF-TEST RESULTS 0: no error; 4: an error in a segment that is not known.
        var bytes: [UInt8] = [code << 5 | (failure == nil ? 0 : 4), 0]
        bytes.appendBE16(UInt16(clamping: powerOnMinutes / 60))
        // ADDRESS OF FIRST FAILURE: not known, or there is none.
        bytes.appendBE64(.max)
        bytes += [
            failure?.key.rawValue ?? 0, failure?.additionalSenseCode.code ?? 0,
            failure?.additionalSenseCode.qualifier ?? 0, 0,
        ]
        return bytes
    }

    /// A diagnostic page: Supported Diagnostic Pages has no parameters.
    private func takeDiagnosticPage(_ task: SCSITask) -> CommandProgress {
        let list = task.parameterList()
        guard !list.isEmpty else { return task.good() }
        guard list.count >= 4 else { return task.fail(.illegalRequest, .parameterListLengthError) }
        guard list[0] == Self.supportedPages else { return task.failInvalidParameter(byte: 0) }
        guard list.rawSpan.loadBE16(at: 2) == 0 else { return task.failInvalidParameter(byte: 2) }
        return list.count == 4 ? task.good() : task.fail(.illegalRequest, .parameterListLengthError)
    }

    /// With PCV zero, the results of the last SEND DIAGNOSTIC: there is one page that it can have asked for.
    func receiveDiagnosticResults(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard block[1] & 0x01 == 0 || block[2] == Self.supportedPages else { return task.failInvalidField(byte: 2) }
        return task.answer(
            [Self.supportedPages, 0, 0, 1, Self.supportedPages], allocationLength: Int(block.bytes.loadBE16(at: 3)))
    }
}
