internal import Profiles

/// All elements of a library: their addresses, and what is in them.
struct ElementTable {
    /// The elements of one type: addresses in a row.
    struct Group {
        let type: ElementType
        let firstAddress: Int
        var contents: [ElementContent?]

        var addresses: Range<Int> { firstAddress..<firstAddress + contents.count }
    }

    /// The groups by address; one of each type, some perhaps empty.
    private(set) var groups: [Group]

    /// The elements of a library with that profile, and what is in them.
    init(
        _ profile: LibraryProfile, driveCount: Int, slotCount: Int, mailSlotCount: Int,
        contents: [LibraryElement: ElementContent]
    ) throws(LibraryError) {
        for (type, count, range) in [
            (ElementType.dataTransfer, driveCount, profile.dataTransfer), (.storage, slotCount, profile.storage),
            (.importExport, mailSlotCount, profile.importExport),
        ] where count > range.maximumCount {
            throw .tooManyElements(type, count: count, maximum: range.maximumCount, profile: profile.name)
        }
        func group(_ type: ElementType, _ range: ElementRangeProfile, _ count: Int) -> Group {
            Group(
                type: type, firstAddress: range.firstAddress,
                contents: [ElementContent?](repeating: nil, count: count))
        }
        groups = [
            group(.mediumTransport, profile.mediumTransport, 1), group(.dataTransfer, profile.dataTransfer, driveCount),
            group(.importExport, profile.importExport, mailSlotCount), group(.storage, profile.storage, slotCount),
        ].sorted { $0.firstAddress < $1.firstAddress }
        for (element, content) in contents {
            guard has(element), element.type != .mediumTransport else {
                throw .noSuchElement(element, barcode: content.barcode)
            }
            self[element] = content
            // A source that is not there any more is not reported.
            if let source = content.source, !has(source) { self[element]?.source = nil }
        }
    }

    func group(_ type: ElementType) -> Group {
        guard let group = groups.first(where: { $0.type == type }) else {
            preconditionFailure("there is a group of each type")
        }
        return group
    }

    /// The element at an address, nil when there is none.
    func element(at address: Int) -> LibraryElement? {
        guard let group = groups.first(where: { $0.addresses.contains(address) }) else { return nil }
        return LibraryElement(group.type, address - group.firstAddress + 1)
    }

    func address(of element: LibraryElement) -> Int {
        group(element.type).firstAddress + element.number - 1
    }

    func has(_ element: LibraryElement) -> Bool {
        element.number >= 1 && element.number <= group(element.type).contents.count
    }

    subscript(element: LibraryElement) -> ElementContent? {
        get { group(element.type).contents[element.number - 1] }
        set {
            guard let index = groups.firstIndex(where: { $0.type == element.type }) else { return }
            groups[index].contents[element.number - 1] = newValue
        }
    }

    var highestAddress: Int {
        groups.map { $0.addresses.isEmpty ? 0 : $0.addresses.upperBound - 1 }.max() ?? 0
    }

    /// Makes all of the moves, which must be possible, at once.
    mutating func apply(_ moves: [MediumMove]) {
        var lifted: [ElementContent] = []
        for move in moves {
            var content = ElementContent(barcode: move.barcode)
            if case .element(let origin) = move.origin {
                guard let found = self[origin], found.barcode == move.barcode else {
                    preconditionFailure("a cartridge moves from where it is")
                }
                content = found
                content.isImported = false
                if origin.type == .storage { content.source = origin }
                self[origin] = nil
            } else {
                content.isImported = true
            }
            lifted.append(content)
        }
        for (move, content) in zip(moves, lifted) {
            guard case .element(let destination) = move.destination else { continue }
            precondition(self[destination] == nil, "an element holds one cartridge")
            self[destination] = content
        }
    }
}
