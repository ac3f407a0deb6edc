internal import Bytes
internal import Profiles
internal import SCSI
internal import TargetCore

/// READ ELEMENT STATUS and INITIALIZE ELEMENT STATUS WITH RANGE (SMC-3 clauses 6.12 and 6.5).
extension ChangerDeviceServer {
    /// Bytes of the header, of a page header, and of the parts of a descriptor.
    private static let headerLength = 8
    private static let pageHeaderLength = 8
    private static let volumeTagLength = 36
    /// PRODUCT SERIAL NUMBER's usual length in a drive's designator.
    private static let serialNumberLength = 10

    /// What READ ELEMENT STATUS asks for.
    private struct Request {
        let type: ElementType?
        let startingAddress: Int
        let count: Int
        let hasVolumeTags: Bool
        let hasIdentifiers: Bool
        let allocationLength: Int
    }

    func initializeElementStatusWithRange(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let isRange = block[1] & 0x01 != 0
        if isRange, elements.element(at: Int(block.bytes.loadBE16(at: 2))) == nil {
            return task.fail(.illegalRequest, .invalidElementAddress)
        }
        return task.good()
    }

    func readElementStatus(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let typeCode = block[1] & 0x0F
        let type = ElementType(rawValue: typeCode)
        guard typeCode == 0 || type != nil else { return task.failInvalidField(byte: 1, bit: 3) }
        let request = Request(
            type: type, startingAddress: Int(block.bytes.loadBE16(at: 2)), count: Int(block.bytes.loadBE16(at: 4)),
            hasVolumeTags: block[1] & 0x10 != 0, hasIdentifiers: block[6] & 0x01 != 0,
            allocationLength: Int(block.bytes.loadBE24(at: 7)))
        guard request.startingAddress <= elements.highestAddress else {
            return task.fail(.illegalRequest, .invalidElementAddress)
        }
        return task.answer(report(request), allocationLength: request.allocationLength)
    }

    /// The whole report, cut at the last descriptor that fits the allocation length. Its header speaks of all of it, so
    /// that an initiator knows how much to ask for.
    private func report(_ request: Request) -> [UInt8] {
        var remaining = request.count
        var pages: [(group: ElementTable.Group, addresses: Range<Int>)] = []
        for group in elements.groups where request.type == nil || request.type == group.type {
            let addresses = group.addresses.clamped(
                to: request.startingAddress..<max(request.startingAddress, group.addresses.upperBound))
            let chosen = addresses.prefix(remaining)
            remaining -= chosen.count
            if !chosen.isEmpty { pages.append((group, chosen)) }
        }
        let available = pages.reduce(0) { sum, page in
            sum + Self.pageHeaderLength + page.addresses.count * descriptorLength(page.group.type, request)
        }
        var bytes: [UInt8] = []
        bytes.appendBE16(UInt16(pages.first?.addresses.lowerBound ?? 0))
        bytes.appendBE16(UInt16(pages.reduce(0) { $0 + $1.addresses.count }))
        bytes.append(0)
        bytes.appendBE24(UInt32(available))
        for page in pages {
            guard append(page.group, page.addresses, request, to: &bytes) else { break }
        }
        return bytes
    }

    /// Appends an element status page; false when not all of it fits the allocation length.
    private func append(
        _ group: ElementTable.Group, _ addresses: Range<Int>, _ request: Request, to bytes: inout [UInt8]
    ) -> Bool {
        guard bytes.count + Self.pageHeaderLength <= request.allocationLength else { return false }
        let length = descriptorLength(group.type, request)
        bytes.append(group.type.rawValue)
        bytes.append(request.hasVolumeTags ? 0x80 : 0)
        bytes.appendBE16(UInt16(length))
        bytes.append(0)
        bytes.appendBE24(UInt32(addresses.count * length))
        for address in addresses {
            guard bytes.count + length <= request.allocationLength else { return false }
            let content = group.contents[address - group.firstAddress]
            append(LibraryElement(group.type, address - group.firstAddress + 1), address, content, request, to: &bytes)
        }
        return true
    }

    /// The length of a descriptor: the same for all elements of a page.
    private func descriptorLength(_ type: ElementType, _ request: Request) -> Int {
        12 + (request.hasVolumeTags ? Self.volumeTagLength : 0) + 4 + identifierLength(type, request)
    }

    private func identifierLength(_ type: ElementType, _ request: Request) -> Int {
        guard request.hasIdentifiers, type == .dataTransfer else { return 0 }
        return drives.map { identifier($0.identity).count }.max() ?? 0
    }

    /// The designator of a drive, in the form of the profile.
    private func identifier(_ identity: DeviceIdentity) -> [UInt8] {
        let serialNumber = Array(identity.serialNumber.utf8)
        guard profile.driveIdentification == .vendorProductSerialNumber else { return serialNumber }
        var bytes: [UInt8] = []
        bytes.appendASCII(identity.vendor, count: 8)
        bytes.appendASCII(identity.product, count: 16)
        bytes.appendASCII(identity.serialNumber, count: max(Self.serialNumberLength, serialNumber.count))
        return bytes
    }

    /// Appends an element descriptor (SMC-3 tables 22 to 30).
    private func append(
        _ element: LibraryElement, _ address: Int, _ content: ElementContent?, _ request: Request,
        to bytes: inout [UInt8]
    ) {
        bytes.appendBE16(UInt16(address))
        bytes.append(flags(element, content))
        bytes += [UInt8](repeating: 0, count: 6)
        let source = content?.source.map { elements.address(of: $0) }
        // SVALID; MEDIUM TYPE 1: a data medium.
        bytes.append((source == nil ? 0 : 0x80) | (content == nil ? 0 : 0x01))
        bytes.appendBE16(UInt16(source ?? 0))
        if request.hasVolumeTags {
            if let content {
                bytes.appendASCII(content.barcode, count: 32)
                bytes.appendBE32(0)
            } else {
                bytes += [UInt8](repeating: 0, count: Self.volumeTagLength)
            }
        }
        let length = identifierLength(element.type, request)
        if length > 0 {
            var identifier = identifier(drives[element.number - 1].identity)
            identifier += [UInt8](repeating: 0x20, count: length - identifier.count)
            // Code set ASCII; T10 vendor ID based, or vendor specific when it is the serial number alone.
            let type: UInt8 = profile.driveIdentification == .vendorProductSerialNumber ? 1 : 0
            bytes += [0x02, type, 0, UInt8(length)] + identifier
        } else {
            bytes += [0, 0, 0, 0]
        }
    }

    /// Byte 2 of a descriptor: EXENAB, INENAB, ACCESS, IMPEXP and FULL as the element's type has them.
    private func flags(_ element: LibraryElement, _ content: ElementContent?) -> UInt8 {
        let full: UInt8 = content == nil ? 0 : 0x01
        switch element.type {
        case .mediumTransport: return full
        case .storage: return 0x08 | full
        case .importExport:
            return 0x38 | (content?.isImported == true ? 0x02 : 0) | full
        case .dataTransfer:
            // The robot unloads a drive by itself, so it has access unless the removal is prevented.
            let isLocked = content != nil && drives[element.number - 1].preventsMediumRemoval
            return (isLocked ? 0 : 0x08) | full
        }
    }
}
