internal import Bytes
internal import Profiles
internal import TargetCore

/// Mode pages that follow from the elements (SMC-3 clause 7.3), and log page codes.
enum ChangerPages {
    /// TapeAlert (SSC-5 clause 8.3.6; libraries have it too).
    static let tapeAlert: UInt8 = 0x2E
    /// Storage, import/export and data transfer elements: bits 1, 2 and 3 of the capability fields.
    private static let restingPlaces: UInt8 = 0x0E

    static func modePages(_ profile: LibraryProfile, _ elements: ElementTable) -> [ModePage] {
        let pages = profile.modePages.map {
            ModePage(code: $0.code, subpage: $0.subpage, $0.values, changeable: $0.changeable)
        }
        return ControlModePage.addingPage(toSerialUnit: pages) + [
            elementAddressAssignment(profile, elements),
            // Transport Geometry Parameters: one transport, which does not turn media over.
            ModePage(code: 0x1E, [0, 0]),
            deviceCapabilities(),
        ]
    }

    /// Element Address Assignment: the first address and the number of elements of each type.
    private static func elementAddressAssignment(_ profile: LibraryProfile, _ elements: ElementTable) -> ModePage {
        var bytes: [UInt8] = []
        for type in [ElementType.mediumTransport, .storage, .importExport, .dataTransfer] {
            let group = elements.group(type)
            bytes.appendBE16(UInt16(group.firstAddress))
            bytes.appendBE16(UInt16(group.contents.count))
        }
        bytes.appendBE16(0)
        return ModePage(code: 0x1D, bytes)
    }

    /// Device Capabilities: everything but the transport holds media, and media move and change places between all of
    /// these.
    private static func deviceCapabilities() -> ModePage {
        let all = restingPlaces
        return ModePage(
            code: 0x1F,
            [
                all, 0,
                // From transport, storage, import/export, data transfer.
                0, all, all, all, 0, 0, 0, 0,
                // Exchanges with the same.
                0, all, all, all, 0, 0, 0, 0,
            ])
    }
}
