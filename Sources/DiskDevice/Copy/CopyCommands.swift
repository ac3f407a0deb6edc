internal import Bytes
internal import SCSI
internal import TargetCore

/// The third-party copy commands of a disk (SPC-5 table 107), by service action.
enum ThirdPartyCopy {
    // THIRD-PARTY COPY OUT.
    static let extendedCopyShort: UInt8 = 0x00
    static let extendedCopyLong: UInt8 = 0x01
    static let populateToken: UInt8 = 0x10
    static let writeUsingToken: UInt8 = 0x11
    static let copyOperationAbort: UInt8 = 0x1C

    // THIRD-PARTY COPY IN.
    static let receiveCopyStatusShort: UInt8 = 0x00
    static let receiveCopyOperatingParameters: UInt8 = 0x03
    static let receiveCopyFailureDetails: UInt8 = 0x04
    static let receiveCopyStatusLong: UInt8 = 0x05
    static let receiveRODTokenInformation: UInt8 = 0x07
}

/// Their rows, and how they begin.
extension DiskDeviceServer {
    static var thirdPartyCopies: [CommandDescriptor<DiskDeviceServer>] { copiesOut + copiesIn }

    /// How long a copy may take, in seconds: as many segments as there may be.
    private static let copyTimeout: UInt32 = 600
    private static let four: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF]

    private static var copiesOut: [CommandDescriptor<DiskDeviceServer>] {
        func row(
            _ action: UInt8, _ name: String, _ usage: [UInt8], conditions: CommandConditions, limit: Int,
            _ execute: @escaping CommandDescriptor<DiskDeviceServer>.Handler
        ) -> CommandDescriptor<DiskDeviceServer> {
            CommandDescriptor(
                OperationCode.thirdPartyCopyOut, serviceAction: action, name, usage: usage, direction: .dataOut,
                conditions: conditions, timeout: copyTimeout,
                begin: { device, task, _ in device.awaitCopyList(task, limit: limit) }, execute: execute)
        }
        // LIST IDENTIFIER, PARAMETER LIST LENGTH, GROUP NUMBER.
        let token = [0, 0, 0, 0, 0] + four + four + [0x1F, 0]
        let extended: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0] + four + [0, 0]
        return [
            row(
                ThirdPartyCopy.extendedCopyShort, "EXTENDED COPY(LID1)", extended, conditions: .allowedWhenNotReady,
                limit: ExtendedCopyList.Form.short.limit
            ) { device, task, nexus in device.extendedCopy(task, nexus, .short) },
            row(
                ThirdPartyCopy.extendedCopyLong, "EXTENDED COPY(LID4)", extended, conditions: .allowedWhenNotReady,
                limit: ExtendedCopyList.Form.long.limit
            ) { device, task, nexus in device.extendedCopy(task, nexus, .long) },
            row(
                ThirdPartyCopy.populateToken, "POPULATE TOKEN", token, conditions: .passesWriteExclusive,
                limit: CopyLimit.parameterListLength
            ) { device, task, nexus in device.populateToken(task, nexus) },
            row(
                ThirdPartyCopy.writeUsingToken, "WRITE USING TOKEN", token, conditions: [],
                limit: CopyLimit.parameterListLength
            ) { device, task, nexus in device.writeUsingToken(task, nexus) },
            CommandDescriptor(
                OperationCode.thirdPartyCopyOut, serviceAction: ThirdPartyCopy.copyOperationAbort,
                "COPY OPERATION ABORT", usage: [0] + four + [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                conditions: .allowedWhenNotReady
            ) { device, task, nexus in device.abortCopyOperation(task, nexus) },
        ]
    }

    private static var copiesIn: [CommandDescriptor<DiskDeviceServer>] {
        func row(
            _ action: UInt8, _ name: String, identifier: [UInt8],
            _ handler: @escaping CommandDescriptor<DiskDeviceServer>.Handler
        ) -> CommandDescriptor<DiskDeviceServer> {
            let usage = [0] + identifier + [UInt8](repeating: 0, count: 8 - identifier.count) + four + [0, 0]
            return CommandDescriptor(
                OperationCode.thirdPartyCopyIn, serviceAction: action, name, usage: usage, direction: .dataIn,
                conditions: [.allowedWhenNotReady, .allowedWhenReserved, .passesExclusiveAccess], begin: handler)
        }
        return [
            row(ThirdPartyCopy.receiveCopyStatusShort, "RECEIVE COPY STATUS(LID1)", identifier: [0xFF]) {
                device, task, nexus in device.receiveShortStatus(task, nexus)
            },
            row(ThirdPartyCopy.receiveCopyOperatingParameters, "RECEIVE COPY OPERATING PARAMETERS", identifier: []) {
                device, task, _ in device.receiveOperatingParameters(task)
            },
            row(ThirdPartyCopy.receiveCopyFailureDetails, "RECEIVE COPY FAILURE DETAILS(LID1)", identifier: [0xFF]) {
                device, task, nexus in device.receiveFailureDetails(task, nexus)
            },
            row(ThirdPartyCopy.receiveCopyStatusLong, "RECEIVE COPY STATUS(LID4)", identifier: four) {
                device, task, nexus in device.receiveLongStatus(task, nexus)
            },
            row(ThirdPartyCopy.receiveRODTokenInformation, "RECEIVE ROD TOKEN INFORMATION", identifier: four) {
                device, task, nexus in device.receiveRODTokenInformation(task, nexus)
            },
        ]
    }

    /// PARAMETER LIST LENGTH is where it is in all of them.
    private func awaitCopyList(_ task: SCSITask, limit: Int) -> CommandProgress {
        let length = Int(task.commandDescriptorBlock.bytes.loadBE32(at: 10))
        guard length <= limit else { return task.fail(.illegalRequest, .parameterListLengthError) }
        return .awaitDataOut(length: length)
    }

    /// The parameter list of a command; nil when its length is zero, which is no error and changes nothing.
    private func copyList(_ task: SCSITask) -> [UInt8]? {
        let list = task.parameterList()
        return list.isEmpty ? nil : list
    }

    /// EXTENDED COPY(LID1) and EXTENDED COPY(LID4) (SPC-5 clauses 6.4 and 6.5). IMMED is not supported, so the copy is
    /// in the foreground all the same (clause 5.17.4.3).
    private func extendedCopy(
        _ task: SCSITask, _ nexus: ITLNexus, _ form: ExtendedCopyList.Form
    ) -> CommandProgress {
        guard let bytes = copyList(task) else { return task.good() }
        switch Result(catching: { () throws(CopyListError) in try ExtendedCopyList(bytes, form: form) }) {
        case .failure(.illegal(let sense)): return task.fail(sense)
        case .success(let list):
            let operation = CopyOperation(
                .segments(list), nexus, identifier: list.identifier,
                serviceAction: task.commandDescriptorBlock.serviceAction)
            operation.noteMediumGeneration(task.mediumGeneration, of: self)
            return beginCopy(task, operation, identifierOffset: form.identifierOffset)
        }
    }

    /// COPY OPERATION ABORT (SPC-5 clause 6.3). The operation ends its command before its next piece.
    private func abortCopyOperation(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let identifier = task.commandDescriptorBlock.bytes.loadBE32(at: 2)
        guard let operation = copyManager.operation(identifier, of: nexus) else {
            return task.failInvalidField(byte: 2)
        }
        operation.isToEnd = true
        return task.good()
    }
}
