internal import Bytes
internal import SCSI
internal import TargetCore

/// What is told of copy operations (SPC-5 clauses 6.22 to 6.26, SBC-4 clause 5.25).
extension DiskDeviceServer {
    /// ESTIMATED STATUS UPDATE DELAY of an operation that goes on, in milliseconds.
    private static let statusDelay: UInt32 = 100
    /// The same when there is nothing to wait for.
    private static let noDelay: UInt32 = 0xFFFF_FFFE

    /// What is known under a list identifier: of an operation that is under way, or of one that has ended.
    private func knownResult(_ identifier: UInt32, _ nexus: ITLNexus) -> CopyResult? {
        if let operation = copyManager.operation(identifier, of: nexus) { return copyResult(of: operation) }
        return copyManager.result(identifier, of: nexus)
    }

    /// ALLOCATION LENGTH is where it is in all of them.
    private func allocationLength(_ task: SCSITask) -> Int {
        Int(task.commandDescriptorBlock.bytes.loadBE32(at: 10))
    }

    /// Whether an initiator gets all of so many bytes, or does not want any.
    private func takes(_ count: Int, _ task: SCSITask) -> Bool {
        let length = allocationLength(task)
        return length == 0 || min(length, task.expectedDataInLength) >= count
    }

    // MARK: LID1

    /// RECEIVE COPY STATUS(LID1) (SPC-5 table 253).
    func receiveShortStatus(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let identifier = UInt32(task.commandDescriptorBlock[2])
        guard let result = knownResult(identifier, nexus), !result.isStatusFetched else {
            return task.failInvalidField(byte: 2)
        }
        let status: UInt8 =
            switch result.status {
            case .inForeground: 0x00
            case .completed, .partial: 0x01
            case .failed, .terminated: 0x02
            }
        var bytes: [UInt8] = []
        bytes.appendBE32(8)
        bytes.append(status)
        bytes.appendBE16(UInt16(clamping: result.segments))
        // In bytes, or kibibytes and so on.
        var (units, count) = (UInt8(0), result.written)
        while count > Int(UInt32.max) { (units, count) = (units + 1, count >> 10) }
        bytes.append(units)
        bytes.appendBE32(UInt32(count))
        copyManager.changeResult(identifier, of: nexus) { $0.isStatusFetched = true }
        return task.answer(bytes, allocationLength: allocationLength(task))
    }

    /// RECEIVE COPY FAILURE DETAILS(LID1) (SPC-5 table 246).
    func receiveFailureDetails(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let identifier = UInt32(task.commandDescriptorBlock[2])
        guard let result = copyManager.result(identifier, of: nexus), !result.areDetailsFetched,
            result.serviceAction == ThirdPartyCopy.extendedCopyShort
        else { return task.failInvalidField(byte: 2) }
        var bytes: [UInt8] = []
        if result.status == .completed {
            bytes.appendBE32(0)
        } else {
            bytes.appendBE32(UInt32(56 + result.sense.count))
            bytes += [UInt8](repeating: 0, count: 52) + [result.completion.rawValue, 0]
            bytes.appendBE16(UInt16(result.sense.count))
            bytes += result.sense
        }
        if takes(bytes.count, task) {
            copyManager.changeResult(identifier, of: nexus) { $0.areDetailsFetched = true }
        }
        return task.answer(bytes, allocationLength: allocationLength(task))
    }

    /// RECEIVE COPY OPERATING PARAMETERS (SPC-5 table 244).
    func receiveOperatingParameters(_ task: SCSITask) -> CommandProgress {
        // SNLID.
        var bytes: [UInt8] = [0x01, 0, 0, 0]
        bytes.appendBE16(UInt16(CopyLimit.descriptors))
        bytes.appendBE16(UInt16(CopyLimit.segments))
        bytes.appendBE32(UInt32(CopyLimit.listLength))
        bytes.appendBE32(UInt32(CopyLimit.segmentLength))
        // No inline data, no held data, no streams.
        bytes += [UInt8](repeating: 0, count: 12)
        bytes.appendBE16(0)
        bytes.appendBE16(UInt16(CopyLimit.concurrentOfUnit))
        bytes += [UInt8(CopyLimit.concurrentOfUnit), CopyLimit.granularity, 0, 0, 0, 0, 0]
        let descriptors = CopySegment.Kind.allCases.map(\.rawValue) + [CSCDDescriptor.identification]
        bytes += [UInt8(descriptors.count)] + descriptors
        var header: [UInt8] = []
        header.appendBE32(UInt32(bytes.count))
        return task.answer(header + bytes, allocationLength: allocationLength(task))
    }

    // MARK: LID4

    /// RECEIVE COPY STATUS(LID4) (SPC-5 table 248).
    func receiveLongStatus(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let result = knownResult(task.commandDescriptorBlock.bytes.loadBE32(at: 2), nexus) else {
            return task.failInvalidField(byte: 2)
        }
        return task.answer(statusData(result, followedBy: []), allocationLength: allocationLength(task))
    }

    /// RECEIVE ROD TOKEN INFORMATION (SBC-4 tables 102 and 103).
    func receiveRODTokenInformation(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let identifier = task.commandDescriptorBlock.bytes.loadBE32(at: 2)
        guard let result = knownResult(identifier, nexus) else { return task.failInvalidField(byte: 2) }
        var tokens: [UInt8] = []
        if let token = result.token, result.status == .completed || result.status == .partial {
            tokens.appendBE32(UInt32(2 + token.count))
            tokens += [0, 0] + token
        } else {
            tokens.appendBE32(0)
        }
        let bytes = statusData(result, followedBy: tokens)
        if result.token != nil, takes(bytes.count, task) {
            copyManager.changeResult(identifier, of: nexus) { $0.token = nil }
        }
        return task.answer(bytes, allocationLength: allocationLength(task))
    }

    /// The shared third-party copy status header, with AVAILABLE DATA, and what follows it.
    private func statusData(_ result: CopyResult, followedBy rest: [UInt8]) -> [UInt8] {
        let isUnderWay = result.status == .inForeground
        // The field is a multiple of four.
        let padding = [UInt8](repeating: 0, count: (4 - result.sense.count % 4) % 4)
        let isToken =
            result.serviceAction == ThirdPartyCopy.populateToken
            || result.serviceAction == ThirdPartyCopy.writeUsingToken
        var bytes: [UInt8] = [result.serviceAction, result.status.rawValue]
        bytes.appendBE16(result.operations)
        bytes.appendBE32(isUnderWay ? Self.statusDelay : Self.noDelay)
        bytes += [
            isUnderWay ? 0 : result.completion.rawValue, UInt8(result.sense.count + padding.count),
            UInt8(result.sense.count),
            // TRANSFER COUNT UNITS: blocks of the destination, or bytes.
            isToken ? 0xF1 : 0x00,
        ]
        bytes.appendBE64(UInt64(isToken ? result.blocks : result.written))
        bytes.appendBE16(UInt16(clamping: result.segments))
        bytes += [0, 0, 0, 0, 0, 0] + result.sense + padding + rest
        var header: [UInt8] = []
        header.appendBE32(UInt32(bytes.count))
        return header + bytes
    }
}
