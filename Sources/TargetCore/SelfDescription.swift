internal import Bytes
internal import SCSI

/// What a unit says of its own commands and logs.
extension LogicalUnit {
    /// REPORT SUPPORTED OPERATION CODES (SPC-5 clause 6.35), made from the command table.
    func reportSupportedOperationCodes(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let hasTimeouts = block[2] & 0x80 != 0
        let option = block[2] & 0x07
        let operationCode = block[3]
        let serviceAction = block.bytes.loadBE16(at: 4)
        let allocationLength = Int(block.bytes.loadBE32(at: 6))
        if option == 0 { return task.answer(allCommands(hasTimeouts), allocationLength: allocationLength) }
        let hasServiceActions = commands.hasServiceActions(operationCode)
        switch option {
        case 1 where hasServiceActions: return task.failInvalidField(byte: 2, bit: 2)
        case 2 where !hasServiceActions: return task.failInvalidField(byte: 2, bit: 2)
        case 1, 2, 3: break
        default: return task.failInvalidField(byte: 2, bit: 2)
        }
        let isKnownAction = hasServiceActions || option != 3 || serviceAction == 0
        let lookup = commands.findListed(operationCode: operationCode, serviceAction: serviceAction)
        guard isKnownAction, case .command(let command) = lookup else {
            // SUPPORT 001b: not supported.
            return task.answer([0, 0x01, 0, 0], allocationLength: allocationLength)
        }
        let attributes = commands.attributes[command]
        // SUPPORT 011b: supported as the standard says.
        var bytes: [UInt8] = [0, hasTimeouts ? 0x83 : 0x03]
        bytes.appendBE16(UInt16(attributes.usage.count))
        bytes += attributes.usage
        if hasTimeouts { bytes += timeouts(attributes) }
        return task.answer(bytes, allocationLength: allocationLength)
    }

    private func allCommands(_ hasTimeouts: Bool) -> [UInt8] {
        var list: [UInt8] = []
        for attributes in commands.attributes {
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

    /// LOG SENSE (SPC-5 clause 6.8).
    func logSense(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let code = block[2] & 0x3F
        let subpage = block[3]
        let pointer = Int(block.bytes.loadBE16(at: 5))
        let content: [UInt8]?
        let codes = [0x00] + server.logPages
        switch (code, subpage) {
        case (0x00, 0x00): content = codes
        // Supported Log Pages and Subpages lists itself too (SPC-5 clause 7.3.17).
        case (0x00, 0xFF): content = [0x00, 0x00, 0x00, 0xFF] + server.logPages.flatMap { [$0, 0x00] }
        default: content = server.logPage(code, subpage: subpage, nexus: nexus)
        }
        guard let content else {
            return codes.contains(code) ? task.failInvalidField(byte: 3) : task.failInvalidField(byte: 2, bit: 5)
        }
        guard let start = firstParameter(of: content, from: pointer, isList: code == 0) else {
            return task.failInvalidField(byte: 5)
        }
        var bytes: [UInt8] = [subpage == 0 ? code : 0x40 | code, subpage]
        bytes.appendBE16(UInt16(content.count - start))
        let allocationLength = Int(block.bytes.loadBE16(at: 7))
        let progress = task.answer(bytes + content[start...], allocationLength: allocationLength)
        let sentEnd = start + min(allocationLength, task.expectedDataInLength) - bytes.count
        if task.status == .good, code != 0, let codes = wholeParameters(of: content, from: start, to: sentEnd) {
            server.logParametersReported(codes, page: code, nexus: nexus)
        }
        return progress
    }

    /// The offset of the first log parameter whose code is at least `pointer`; nil when there is none.
    private func firstParameter(of content: [UInt8], from pointer: Int, isList: Bool) -> Int? {
        if pointer == 0 { return 0 }
        guard !isList else { return nil }
        var offset = 0
        while offset + 4 <= content.count {
            if Int(content.rawSpan.loadBE16(at: offset)) >= pointer { return offset }
            offset += 4 + Int(content[offset + 3])
        }
        return nil
    }

    /// The codes of the parameters that begin at `start` and end at `end` or before it; nil when there is none.
    private func wholeParameters(of content: [UInt8], from start: Int, to end: Int) -> ClosedRange<UInt16>? {
        var codes: ClosedRange<UInt16>?
        var offset = start
        while offset + 4 <= content.count {
            let next = offset + 4 + Int(content[offset + 3])
            guard next <= end else { break }
            let code = content.rawSpan.loadBE16(at: offset)
            codes = min(codes?.lowerBound ?? code, code)...max(codes?.upperBound ?? code, code)
            offset = next
        }
        return codes
    }
}
