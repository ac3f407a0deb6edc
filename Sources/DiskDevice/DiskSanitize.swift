internal import Bytes
internal import Media
internal import SCSI
internal import TargetCore

/// SANITIZE (SBC-4 clause 5.30): a table row for each service action.
extension DiskDeviceServer {
    /// SERVICE ACTION (SBC-4 table 95).
    enum SanitizeAction {
        static let overwrite: UInt8 = 0x01
        static let blockErase: UInt8 = 0x02
        static let cryptographicErase: UInt8 = 0x03
        static let exitFailureMode: UInt8 = 0x1F
    }

    /// The offset of PARAMETER LIST LENGTH.
    private static let sanitizeLengthOffset = 7

    /// BLOCK ERASE: frees all storage, after which blocks read as zeros (WABEREQ 01b).
    func beginBlockErase(_ task: SCSITask) -> CommandProgress {
        operationInProgressRefusal(task) ?? .awaitDataOut(length: 0)
    }

    func sanitizeByBlockErase(_ task: SCSITask) -> CommandProgress {
        sanitize(task, MediumOperation(.blockErase))
    }

    /// CRYPTOGRAPHIC ERASE is refused while others have blocks of the same key, snapshots for example, as it is by
    /// disks that have none: INVALID FIELD IN CDB, with the service action as the field.
    func beginCryptographicErase(_ task: SCSITask) -> CommandProgress {
        if let refusal = operationInProgressRefusal(task) { return refusal }
        guard image.canReplaceMediaKey else { return task.failInvalidField(byte: 1, bit: 4) }
        return .awaitDataOut(length: 0)
    }

    /// CRYPTOGRAPHIC ERASE: replaces the key of the blocks, then frees all storage, after which blocks read as zeros
    /// (WACEREQ 01b). Only encrypted disks have it.
    func sanitizeByCryptographicErase(_ task: SCSITask) -> CommandProgress {
        sanitize(task, MediumOperation(.cryptographicErase))
    }

    /// OVERWRITE: its parameter list has a header of four bytes and a pattern of at most a block.
    func beginOverwrite(_ task: SCSITask) -> CommandProgress {
        if let refusal = operationInProgressRefusal(task) { return refusal }
        let length = Int(task.commandDescriptorBlock.bytes.loadBE16(at: Self.sanitizeLengthOffset))
        guard length > 4, length <= blockSize + 4 else {
            return task.failInvalidField(byte: Self.sanitizeLengthOffset)
        }
        return .awaitDataOut(length: length)
    }

    func sanitizeByOverwrite(_ task: SCSITask) -> CommandProgress {
        let list = task.parameterList()
        guard list.count > 4 else { return task.fail(.illegalRequest, .parameterListLengthError) }
        // TEST: only the normal way of writing; OVERWRITE COUNT.
        guard list[0] & 0x60 == 0 else { return task.failInvalidParameter(byte: 0, bit: 6) }
        guard list[0] & 0x1F > 0 else { return task.failInvalidParameter(byte: 0, bit: 4) }
        guard list[1] == 0 else { return task.failInvalidParameter(byte: 1) }
        let patternLength = Int(list.rawSpan.loadBE16(at: 2))
        guard patternLength > 0, patternLength <= blockSize else { return task.failInvalidParameter(byte: 2) }
        guard 4 + patternLength <= list.count else { return task.fail(.illegalRequest, .parameterListLengthError) }
        task.dataOut.lease = nil
        var operation = MediumOperation(.overwrite)
        operation.inverts = list[0] & 0x80 != 0
        operation.passes = list[0] & 0x1F
        operation.pattern = Self.shortest(Array(list[4..<4 + patternLength]), blockSize)
        return sanitize(task, operation)
    }

    private func sanitize(_ task: SCSITask, _ operation: MediumOperation) -> CommandProgress {
        let block = task.commandDescriptorBlock
        var operation = operation
        operation.allowsUnrestrictedExit = block[1] & 0x20 != 0
        return begin(operation, task, isImmediate: block[1] & 0x80 != 0)
    }

    /// The shortest pattern that fills blocks alike, so that the note of it is short.
    static func shortest(_ pattern: [UInt8], _ blockSize: Int) -> [UInt8] {
        // The length of the longest proper prefix of the first n + 1 bytes that they also end with: what remains is
        // their shortest period.
        var borders = [Int](repeating: 0, count: pattern.count)
        for index in pattern.indices.dropFirst() {
            var border = borders[index - 1]
            while border > 0, pattern[index] != pattern[border] { border = borders[border - 1] }
            borders[index] = pattern[index] == pattern[border] ? border + 1 : 0
        }
        let period = pattern.count - (borders.last ?? 0)
        // At the end of a block the last repetition is cut off.
        guard pattern.count % period == 0 || pattern.count == blockSize else { return pattern }
        return Array(pattern[..<period])
    }
}
