internal import Bytes
internal import SCSI

/// REPORT and SET IDENTIFYING INFORMATION (SPC-5 clauses 6.32 and 6.43): bytes that initiators give a unit, kept
/// whatever happens to it.
extension LogicalUnit {
    /// IDENTIFYING INFORMATION TYPE (SPC-5 table 266).
    enum InformationType: UInt16, CaseIterable {
        /// Peripheral device identifying information.
        case identifier = 0x00
        /// Peripheral device text identifying information: UTF-8, ended by NUL.
        case text = 0x02

        /// How long it may be, in bytes.
        var limit: Int {
            switch self {
            case .identifier: 512
            case .text: 256
            }
        }
    }

    /// IDENTIFYING INFORMATION TYPE that asks for the supported ones.
    private static let supportedTypes: UInt8 = 0x7F

    func reportIdentifyingInformation(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let code = block[10] >> 1
        var content: [UInt8] = []
        if code == Self.supportedTypes {
            for type in InformationType.allCases {
                content += [UInt8(type.rawValue) << 1, 0]
                content.appendBE16(UInt16(type.limit))
            }
        } else {
            guard let type = InformationType(rawValue: UInt16(code)) else {
                return task.failInvalidField(byte: 10, bit: 7)
            }
            content = parameters[KeptParameter(.identifyingInformation, type.rawValue)]
        }
        var bytes: [UInt8] = [0, 0]
        bytes.appendBE16(UInt16(content.count))
        return task.answer(bytes + content, allocationLength: Int(block.bytes.loadBE32(at: 6)))
    }

    /// Checks a SET IDENTIFYING INFORMATION; more than there is room for is refused.
    func beginSetIdentifyingInformation(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard let type = InformationType(rawValue: UInt16(block[10] >> 1)) else {
            return task.failInvalidField(byte: 10, bit: 7)
        }
        let length = Int(block.bytes.loadBE32(at: 6))
        guard length <= type.limit else { return task.failInvalidField(byte: 6) }
        return .awaitDataOut(length: length)
    }

    /// Without a parameter list, the information is removed.
    func setIdentifyingInformation(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let type = InformationType(rawValue: UInt16(task.commandDescriptorBlock[10] >> 1)) else {
            return task.failInvalidField(byte: 10, bit: 7)
        }
        let information = task.parameterList()
        if type == .text, let last = information.last, last != 0 {
            return task.failInvalidParameter(byte: information.count - 1)
        }
        let parameter = KeptParameter(.identifyingInformation, type.rawValue)
        return keep(
            for: task, { [parameter: information] },
            whenKept: { [attachedNexuses] _ in
                attachedNexuses.establishUnitAttention(.deviceIdentifierChanged, except: nexus)
            }, then: { task, _ in task.good() })
    }
}
