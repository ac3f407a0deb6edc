internal import Bytes
internal import SCSI

/// MODE SENSE and MODE SELECT (SPC-5 clauses 6.11 to 6.14), driven by the device server's pages.
extension LogicalUnit {
    /// All pages; with subpage FFh all subpages too.
    private static let allPages: UInt8 = 0x3F

    func modeSense(_ task: SCSITask, _ nexus: ITLNexus, isLong: Bool) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let canSave = parameters.isKept
        guard let control = ModePageControl(rawValue: block[2] >> 6), control != .saved || canSave else {
            return task.fail(.illegalRequest, .savingParametersNotSupported)
        }
        let code = block[2] & 0x3F
        let subpage = block[3]
        let chosen = server.modePages.all.filter {
            (code == Self.allPages || $0.code == code) && (subpage == 0xFF || $0.subpage == subpage)
        }
        if code == Self.allPages {
            guard subpage == 0 || subpage == 0xFF else { return task.failInvalidField(byte: 3) }
        } else if chosen.isEmpty, code != 0 || subpage != 0 {
            // Page 00h without a vendor page is how clients read header and block descriptor alone.
            let isKnownPage = server.modePages.all.contains { $0.code == code }
            return isKnownPage ? task.failInvalidField(byte: 3) : task.failInvalidField(byte: 2, bit: 5)
        }
        let isDescriptorDisabled = block[1] & 0x08 != 0
        let isLongDescriptor = isLong && block[1] & 0x10 != 0
        let descriptor = isDescriptorDisabled ? [] : server.modeBlockDescriptor(nexus, isLong: isLongDescriptor)
        var pages: [UInt8] = []
        for page in chosen {
            let content = server.modePageContent(page, control: control, nexus: nexus)
            pages += page.header(length: content.count, isSavable: canSave && page.isSavable) + content
        }
        var bytes: [UInt8] = []
        let length = descriptor.count + pages.count
        if isLong {
            bytes.appendBE16(UInt16(length + 6))
            bytes += [server.modeMediumType(nexus), server.deviceSpecificModeParameter(nexus)]
            bytes += [isLongDescriptor && !descriptor.isEmpty ? 1 : 0, 0]
            bytes.appendBE16(UInt16(descriptor.count))
        } else {
            bytes.append(UInt8(min(length + 3, 255)))
            bytes += [server.modeMediumType(nexus), server.deviceSpecificModeParameter(nexus), UInt8(descriptor.count)]
        }
        let allocationLength = isLong ? Int(block.bytes.loadBE16(at: 7)) : Int(block[4])
        return task.answer(bytes + descriptor + pages, allocationLength: allocationLength)
    }

    func modeSelect(_ task: SCSITask, _ nexus: ITLNexus, isLong: Bool) -> CommandProgress {
        let block = task.commandDescriptorBlock
        // SP, where something keeps what is saved.
        let saves = block[1] & 0x01 != 0
        if saves, !parameters.isKept { return task.failInvalidField(byte: 1, bit: 0) }
        let list = task.parameterList()
        // RTD.
        if block[1] & 0x02 != 0 {
            guard list.isEmpty else { return task.failInvalidField(byte: 1, bit: 1) }
            let changes = server.modePages.all.map { ModePageChange(toDefaultsOf: $0) }
            return commit(changes, header: nil, saves: saves, task, nexus)
        }
        if list.isEmpty { return commit([], header: nil, saves: saves, task, nexus) }
        let headerLength = isLong ? 8 : 4
        guard list.count >= headerLength else { return task.fail(.illegalRequest, .parameterListLengthError) }
        let descriptorLength = isLong ? Int(list.rawSpan.loadBE16(at: 6)) : Int(list[3])
        guard list.count >= headerLength + descriptorLength else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        let isLongDescriptor = isLong && list[4] & 1 != 0
        guard descriptorLength == 0 || descriptorLength == (isLongDescriptor ? 16 : 8) else {
            return task.failInvalidParameter(byte: isLong ? 6 : 3)
        }
        let header = ModeSelectHeader(
            deviceSpecificParameter: list[isLong ? 3 : 2], deviceSpecificParameterOffset: isLong ? 3 : 2,
            blockDescriptor: Array(list[headerLength..<headerLength + descriptorLength]),
            blockDescriptorOffset: headerLength)
        var changes: [ModePageChange] = []
        var offset = headerLength + descriptorLength
        // PF zero means vendor-specific pages, of which there are none; every client that sends pages sets it.
        if offset < list.count, block[1] & 0x10 == 0 { return task.failInvalidField(byte: 1, bit: 4) }
        while offset < list.count {
            let (change, failure, next) = parseModePage(list, at: offset, nexus)
            if let failure { return task.fail(failure) }
            guard let change else { return task.fail(.illegalRequest, .parameterListLengthError) }
            changes.append(change)
            offset = next
        }
        if let sense = server.selectModeHeader(header, nexus: nexus, isCommitting: false) { return task.fail(sense) }
        return commit(server.completeModeChanges(changes), header: header, saves: saves, task, nexus)
    }

    /// Everything is checked; now it changes. With SP the current values of all pages that can be saved are saved
    /// first, those of `changes` among them, and durable when the command ends (SPC-5 clause 6.13).
    private func commit(
        _ changes: [ModePageChange], header: ModeSelectHeader?, saves: Bool, _ task: SCSITask,
        _ nexus: ITLNexus
    ) -> CommandProgress {
        guard saves else { return change(changes, header: header, task, nexus) }
        let values: UnitParameters.Values = { [server] in
            var values: [KeptParameter: [UInt8]] = [:]
            // They may have been replaced since the command has begun.
            for page in server.modePages.all where page.isSavable {
                let change = changes.last { $0.page.code == page.code && $0.page.subpage == page.subpage }
                values[.modePage(page)] =
                    change.map { page.changed(to: $0.content, following: $0.following) } ?? page.current
            }
            return values
        }
        return keep(for: task, values, whenKept: { [server] in server.modePages.save($0) }) { [self] task, nexus in
            change(changes, header: header, task, nexus)
        }
    }

    private func change(
        _ changes: [ModePageChange], header: ModeSelectHeader?, _ task: SCSITask, _ nexus: ITLNexus
    ) -> CommandProgress {
        if let header { _ = server.selectModeHeader(header, nexus: nexus, isCommitting: true) }
        var changed: [ModePage] = []
        for change in changes {
            server.modePages.update(
                change.page.code, subpage: change.page.subpage, current: change.content, following: change.following
            ) {
                modePageChanged($0)
                changed.append($0)
            }
        }
        if !changed.isEmpty { attachedNexuses.establishUnitAttention(.modeParametersChanged, except: nexus) }
        if changed.contains(where: { $0.code == PowerConditions.modePage && $0.subpage == 0 }) {
            configurePower(isReset: false)
            startPowerTimers(on: task.reactor)
        }
        return server.modeSelectEnding(task, nexus, changed: changed)
    }

    /// Reads the page at `offset` and checks it: the change (nil when the list is too short), why it is refused,
    /// and where the next page begins.
    private func parseModePage(
        _ list: [UInt8], at offset: Int, _ nexus: ITLNexus
    ) -> (change: ModePageChange?, failure: SenseData?, next: Int) {
        func invalid(_ byte: Int, bit: UInt8? = nil) -> SenseData { .invalidParameter(byte: byte, bit: bit) }
        let hasSubpage = list[offset] & 0x40 != 0
        let contentOffset = offset + (hasSubpage ? 4 : 2)
        guard list.count >= contentOffset else { return (nil, nil, offset) }
        let length = hasSubpage ? Int(list.rawSpan.loadBE16(at: offset + 2)) : Int(list[offset + 1])
        guard let page = server.modePages.page(list[offset] & 0x3F, subpage: hasSubpage ? list[offset + 1] : 0) else {
            return (nil, invalid(offset, bit: 5), offset)
        }
        let current = server.modePageContent(page, control: .current, nexus: nexus)
        guard length == current.count else { return (nil, invalid(offset + (hasSubpage ? 2 : 1)), offset) }
        guard list.count >= contentOffset + length else { return (nil, nil, offset) }
        let content = Array(list[contentOffset..<contentOffset + length])
        for index in 0..<length {
            let wrong = (content[index] ^ current[index]) & ~page.changeable[index]
            if wrong != 0 {
                return (nil, invalid(contentOffset + index, bit: UInt8(7 - wrong.leadingZeroBitCount)), offset)
            }
        }
        if page.code == ControlModePage.code, page.subpage == 0,
            let field = ControlModePage.invalidField(content, offset: contentOffset)
        {
            return (nil, invalid(field.byte, bit: field.bit), offset)
        }
        if let sense = server.checkModePage(page, newContent: content, offset: contentOffset, nexus: nexus) {
            return (nil, sense, offset)
        }
        return (ModePageChange(page, content: content), nil, contentOffset + length)
    }
}
