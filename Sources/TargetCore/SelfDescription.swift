internal import Bytes
internal import SCSI

/// What a unit says of its own commands.
extension LogicalUnit {
    /// REPORT SUPPORTED OPERATION CODES (SPC-5 clause 6.35), made from the command table.
    func reportSupportedOperationCodes(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let hasTimeouts = block[2] & 0x80 != 0
        let option = block[2] & 0x07
        let operationCode = block[3]
        let serviceAction = block.bytes.loadBE16(at: 4)
        let allocationLength = Int(block.bytes.loadBE32(at: 6))
        let variant = server.commandVariant
        if option == 0 { return task.answer(allCommands(hasTimeouts, variant), allocationLength: allocationLength) }
        let hasServiceActions = commands.hasServiceActions(operationCode, in: variant)
        switch option {
        case 1 where hasServiceActions: return task.failInvalidField(byte: 2, bit: 2)
        case 2 where !hasServiceActions: return task.failInvalidField(byte: 2, bit: 2)
        case 1, 2, 3: break
        default: return task.failInvalidField(byte: 2, bit: 2)
        }
        let isKnownAction = hasServiceActions || option != 3 || serviceAction == 0
        let lookup = commands.findListed(
            operationCode: operationCode, serviceAction: serviceAction, in: variant)
        guard isKnownAction, case .command(let command) = lookup else {
            // SUPPORT 001b: not supported.
            return task.answer([0, 0x01, 0, 0], allocationLength: allocationLength)
        }
        let attributes = commands.attributes(of: command)
        // SUPPORT 011b: supported as the standard says.
        var bytes: [UInt8] = [0, hasTimeouts ? 0x83 : 0x03]
        bytes.appendBE16(UInt16(attributes.usage.count))
        bytes += attributes.usage
        if hasTimeouts { bytes += timeouts(attributes) }
        return task.answer(bytes, allocationLength: allocationLength)
    }

    private func allCommands(_ hasTimeouts: Bool, _ variant: Int) -> [UInt8] {
        var list: [UInt8] = []
        for attributes in commands.attributes(in: variant) {
            list += [attributes.operationCode, 0]
            list.appendBE16(attributes.serviceAction ?? 0)
            list += [0, (hasTimeouts ? 0x02 : 0) | (attributes.serviceAction != nil ? 0x01 : 0)]
            list.appendBE16(UInt16(attributes.usage.count))
            if hasTimeouts { list += timeouts(attributes) }
        }
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(list.count))
        return bytes + list
    }

    /// The command timeouts descriptor (SPC-5 table 278).
    private func timeouts(_ attributes: CommandAttributes) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE16(0x000A)
        bytes += [0, 0]
        bytes.appendBE32(0)
        bytes.appendBE32(attributes.timeout)
        return bytes
    }
}
