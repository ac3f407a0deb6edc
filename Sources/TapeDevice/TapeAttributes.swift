internal import Bytes
internal import Media
internal import Platform
internal import Profiles
internal import SCSI
internal import TargetCore

/// READ ATTRIBUTE and WRITE ATTRIBUTE: medium auxiliary memory (SPC-5 clauses 6.17, 6.49 and 7.4).
extension TapeDeviceServer {
    /// The longest list of attributes that WRITE ATTRIBUTE takes, in bytes.
    static let maximumAttributeList = 1 << 16
    /// Identifiers that hosts may write: host common, and vendor-specific host attributes (SPC-5 table 291).
    private static let hostIdentifiers: [ClosedRange<UInt16>] = [0x0800...0x0BFF, 0x1400...0x17FF]

    /// The host attributes whose length and format the standard gives (SPC-5 table 301).
    private static let hostAttributes: [UInt16: (maximumLength: Int, format: MediumAttribute.Format)] = [
        0x0800: (8, .ascii), 0x0801: (32, .ascii), 0x0802: (8, .ascii), 0x0803: (160, .text), 0x0804: (12, .ascii),
        0x0805: (1, .binary), 0x0806: (32, .ascii), 0x0807: (80, .text), 0x0808: (160, .text), 0x080B: (16, .ascii),
    ]

    // MARK: READ ATTRIBUTE

    func readAttribute(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if block[5] != 0 { return task.failInvalidField(byte: 5) }
        if block[7] != 0 { return task.failInvalidField(byte: 7) }
        return withMedium(task) { cartridge in
            let allocationLength = Int(block.bytes.loadBE32(at: 10))
            let first = block.bytes.loadBE16(at: 8)
            var list: [UInt8] = []
            switch block.serviceAction {
            case 0x00:
                // The first attribute is one that there is: clients take the refusal for "there is none".
                let attributes = allAttributes(cartridge)
                guard let start = attributes.firstIndex(where: { $0.identifier == first }) else {
                    return task.failInvalidField(byte: 8)
                }
                for attribute in attributes[start...] { append(attribute, to: &list) }
            case 0x01:
                // The lists of identifiers are whole, whatever the first identifier says.
                for attribute in allAttributes(cartridge) { list.appendBE16(attribute.identifier) }
            case 0x02, 0x03:
                // One logical volume, one partition: first number and count in two bytes, no list length.
                return task.answer([0, 2, 0, 1], allocationLength: allocationLength)
            default:
                let own = mediumAttributes(cartridge).map(\.identifier)
                for identifier in (own + Self.hostAttributes.keys).sorted() {
                    list.appendBE16(identifier)
                }
            }
            var bytes: [UInt8] = []
            bytes.appendBE32(UInt32(list.count))
            return task.answer(bytes + list, allocationLength: allocationLength)
        }
    }

    /// An attribute in the form of SPC-5 table 288. Only what hosts wrote can be written.
    private func append(_ attribute: MediumAttribute, to bytes: inout [UInt8]) {
        let isHosts = Self.hostIdentifiers.contains { $0.contains(attribute.identifier) }
        bytes.appendBE16(attribute.identifier)
        bytes.append((isHosts ? 0 : 0x80) | attribute.format.rawValue)
        bytes.appendBE16(UInt16(attribute.value.count))
        bytes += attribute.value
    }

    private func allAttributes(_ cartridge: Cartridge) -> [MediumAttribute] {
        (mediumAttributes(cartridge) + cartridge.attributes).sorted { $0.identifier < $1.identifier }
    }

    /// Device and medium attributes, which follow from the cartridge (SPC-5 tables 293 and 298).
    private func mediumAttributes(_ cartridge: Cartridge) -> [MediumAttribute] {
        let density = state.density ?? profile.defaultDensity
        let mebibyte: Int64 = 1 << 20
        func binary(_ identifier: UInt16, _ value: UInt64, _ length: Int) -> MediumAttribute {
            var bytes: [UInt8] = []
            bytes.appendBE64(value)
            return MediumAttribute(identifier: identifier, format: .binary, value: Array(bytes.suffix(length)))
        }
        func ascii(_ identifier: UInt16, _ text: String, _ length: Int) -> MediumAttribute {
            var bytes: [UInt8] = []
            bytes.appendASCII(text, count: length)
            return MediumAttribute(identifier: identifier, format: .ascii, value: bytes)
        }
        return [
            binary(0x0000, UInt64(clamping: (cartridge.capacity - cartridge.usedBytes) / mebibyte), 8),
            binary(0x0001, UInt64(clamping: cartridge.capacity / mebibyte), 8),
            binary(0x0002, activeAlertBits, 8),
            binary(0x0003, cartridge.loadCount, 8),
            binary(0x0004, UInt64(max(0, Self.maximumAttributeList - cartridge.attributes.count * 64)), 8),
            ascii(0x0005, density.organization, 8),
            binary(0x0006, UInt64(density.code), 1),
            binary(0x0007, 1, 2),
            ascii(0x0400, "CAROUSEL", 8),
            ascii(0x0401, cartridge.identity.mediumSerialNumber, 32),
            binary(0x0403, UInt64(density.widthTenthsOfMillimeter), 4),
            ascii(0x0404, density.organization, 8),
            binary(0x0405, UInt64(density.code), 1),
            binary(0x0407, UInt64(Self.maximumAttributeList), 8),
            // MEDIUM TYPE: 00h data, 80h WORM.
            binary(0x0408, cartridge.identity.isWORM ? 0x80 : 0x00, 1),
        ]
    }

    /// TAPEALERT FLAGS: the most significant bit is flag 1.
    private var activeAlertBits: UInt64 {
        let active = alerts.active
        let none = TapeAlerts.Activations()
        return (1...64).reduce(0) { active.hasActivated($1, since: none) ? $0 | 1 << UInt64(64 - $1) : $0 }
    }

    // MARK: WRITE ATTRIBUTE

    func beginWriteAttribute(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        if block[5] != 0 { return task.failInvalidField(byte: 5) }
        if block[7] != 0 { return task.failInvalidField(byte: 7) }
        let length = Int(block.bytes.loadBE32(at: 10))
        guard length <= Self.maximumAttributeList else { return task.failInvalidField(byte: 10) }
        return .awaitDataOut(length: length)
    }

    /// Takes the whole list or nothing of it. A value of no bytes deletes an attribute.
    func writeAttribute(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let list = task.parameterList()
        if list.isEmpty { return task.good() }
        guard list.count >= 4, Int(list.rawSpan.loadBE32(at: 0)) == list.count - 4 else {
            return task.fail(.illegalRequest, .parameterListLengthError)
        }
        return withMedium(task) { cartridge in
            // Attributes speak of data that are on the tape: after a loss they would not be true.
            if let loss = cartridge.loss { return fail(task, nexus, .dataLost(loss)) }
            var changes: [AttributeChange] = []
            var offset = 4
            while offset < list.count {
                guard list.count - offset >= 5 else { return task.fail(.illegalRequest, .parameterListLengthError) }
                let identifier = list.rawSpan.loadBE16(at: offset)
                let length = Int(list.rawSpan.loadBE16(at: offset + 3))
                guard list.count - offset - 5 >= length else {
                    return task.fail(.illegalRequest, .parameterListLengthError)
                }
                guard Self.hostIdentifiers.contains(where: { $0.contains(identifier) }) else {
                    return task.failInvalidParameter(byte: offset)
                }
                guard let format = MediumAttribute.Format(rawValue: list[offset + 2] & 0x03) else {
                    return task.failInvalidParameter(byte: offset + 2, bit: 1)
                }
                if let known = Self.hostAttributes[identifier] {
                    guard format == known.format else { return task.failInvalidParameter(byte: offset + 2, bit: 1) }
                    guard length <= known.maximumLength else { return task.failInvalidParameter(byte: offset + 3) }
                }
                let value = Array(list[offset + 5..<offset + 5 + length])
                changes.append(
                    value.isEmpty
                        ? .remove(identifier)
                        : .set(MediumAttribute(identifier: identifier, format: format, value: value)))
                offset += 5 + length
            }
            return store(changes, in: cartridge, task)
        }
    }

    /// GOOD comes when the attributes are durable: hosts rely on medium auxiliary memory as non-volatile.
    private func store(
        _ changes: [AttributeChange], in cartridge: Cartridge, _ task: SCSITask
    ) -> CommandProgress {
        guard cartridge.hasRoom(for: changes) else {
            return task.fail(.illegalRequest, .auxiliaryMemoryOutOfSpace)
        }
        task.fileRequest.operation = .call { [unowned cartridge, offloaded] in
            offloaded.failure = cartridge.commit(changes)
            return 0
        }
        return submit(task, .commitAttributes)
    }

    /// Continues when the attributes are durable, or could not be made so.
    func attributesCommitted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard let failure = offloaded.failure else { return task.good() }
        return fail(task, nexus, failure)
    }
}
