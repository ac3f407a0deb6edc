internal import Bytes
internal import Initiator
internal import SCSI

// What tests of a device server require of the end of a command. A unit that answers INVALID COMMAND OPERATION CODE
// does not have the command, and so nothing that could be tested: that what it lists is there is a rule of its own
// (SPC.OperationCodes.Listed).

extension CommandResult {
    /// Whether it is CHECK CONDITION with that sense key and additional sense code.
    func has(_ key: SenseKey, _ code: AdditionalSenseCode) -> Bool {
        response == 0 && status == .checkCondition && sense?.key == key && sense?.additionalSenseCode == code
    }

    /// Whether it reports a unit attention with that ASC, of any qualifier.
    func hasAttention(_ code: UInt8) -> Bool {
        sense?.key == .unitAttention && sense?.additionalSenseCode.code == code
    }

    /// Whether the operation code is unknown.
    var isUnknownCommand: Bool { has(.illegalRequest, .invalidCommandOperationCode) }

    /// The descriptor of that type in sense data of descriptor format.
    private func descriptor(_ type: UInt8) -> ArraySlice<UInt8>? {
        guard senseBytes.count > 8, senseBytes[0] & 0x7E == 0x72 else { return nil }
        var offset = 8
        while offset + 1 < senseBytes.count {
            let end = offset + 2 + Int(senseBytes[offset + 1])
            guard end <= senseBytes.count else { return nil }
            if senseBytes[offset] == type { return senseBytes[offset..<end] }
            offset = end
        }
        return nil
    }

    /// INFORMATION, where it is valid.
    var information: UInt64? {
        if let descriptor = descriptor(0), descriptor.count == 12 {
            return Array(descriptor).rawSpan.loadBE64(at: 4)
        }
        guard senseBytes.count >= 7, senseBytes[0] & 0xFE == 0xF0 else { return nil }
        return UInt64(senseBytes.rawSpan.loadBE32(at: 3))
    }

    /// The field that ILLEGAL REQUEST is about, where the target says it.
    var fieldPointer: (isInCommand: Bool, byte: Int)? {
        let bytes: [UInt8]
        if let descriptor = descriptor(2), descriptor.count >= 7 {
            bytes = Array(descriptor.dropFirst(4).prefix(3))
        } else if senseBytes.count >= 18, senseBytes[0] & 0x7E == 0x70 {
            bytes = Array(senseBytes[15..<18])
        } else {
            return nil
        }
        guard bytes[0] & 0x80 != 0 else { return nil }
        return (bytes[0] & 0x40 != 0, Int(bytes[1]) << 8 | Int(bytes[2]))
    }
}

/// Ends a test whose command the unit does not have.
private func skipUnknown(_ result: CommandResult, _ what: String) throws {
    guard result.isUnknownCommand else { return }
    throw TestEnd.skipped("the unit does not have the command: \(what)")
}

/// Requires GOOD, and gives the Data-In.
@discardableResult
func expectGood(_ result: CommandResult, _ what: @autoclosure () -> String) throws -> [UInt8] {
    try skipUnknown(result, what())
    try require(result.isGood, "\(what()) to end with GOOD", got: result.summary)
    return result.dataIn
}

/// Requires a status.
func expectStatus(_ result: CommandResult, _ status: SCSIStatus, _ what: @autoclosure () -> String) throws {
    try skipUnknown(result, what())
    try require(
        result.response == 0 && result.status == status, "\(what()) to end with status \(Wire.hex(status.rawValue))",
        got: result.summary)
}

/// Requires CHECK CONDITION with that sense data.
func expectSense(
    _ result: CommandResult, _ key: SenseKey, _ code: AdditionalSenseCode, _ what: @autoclosure () -> String
) throws {
    try skipUnknown(result, what())
    try require(
        result.has(key, code), "\(what()) to end with \(SenseData(key, code).summary)", got: result.summary)
}

/// Requires INVALID FIELD IN CDB, or in the parameter list. Where the target points at a field, it is one of `bytes`.
func expectInvalidField(
    _ result: CommandResult, at bytes: [Int] = [], isInCommand: Bool = true, _ what: @autoclosure () -> String
) throws {
    let code: AdditionalSenseCode = isInCommand ? .invalidFieldInCDB : .invalidFieldInParameterList
    try expectSense(result, .illegalRequest, code, what())
    guard !bytes.isEmpty, let pointer = result.fieldPointer else { return }
    let words = bytes.map(String.init).joined(separator: " or ")
    try require(
        pointer.isInCommand == isInCommand && bytes.contains(pointer.byte),
        "\(what()) to point at byte \(words) of the \(isInCommand ? "CDB" : "parameter list")",
        got: "byte \(pointer.byte) of the \(pointer.isInCommand ? "CDB" : "parameter list")")
}

/// Requires LOGICAL BLOCK ADDRESS OUT OF RANGE.
func expectOutOfRange(_ result: CommandResult, _ what: @autoclosure () -> String) throws {
    try expectSense(result, .illegalRequest, .logicalBlockAddressOutOfRange, what())
}
