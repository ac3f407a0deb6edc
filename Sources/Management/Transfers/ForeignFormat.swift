import Bytes
import Platform
import Resources

/// The formats of other programs' images that can be read.
enum ForeignFormat: String {
    case qcow2
    case vmdk
    case vhdx

    /// How many bytes at its begin tell of which format an image is, and whether it needs other files.
    static let headerLength = 128

    /// What the first bytes of images are: those that are read, and those that are not.
    private static let signatures: [(bytes: [UInt8], offset: Int, format: ForeignFormat?, name: String)] = [
        (Array("QFI\u{00fb}".unicodeScalars.map { UInt8($0.value) }), 0, .qcow2, "qcow2"),
        (Array("KDMV".utf8), 0, .vmdk, "VMDK"),
        (Array("vhdxfile".utf8), 0, .vhdx, "VHDX"),
        (Array("# Disk DescriptorFile".utf8), 0, nil, "VMDK in several files"),
        (Array("COWD".utf8), 0, nil, "old VMDK"),
        (Array("conectix".utf8), 0, nil, "VHD"),
        (Array("QED\0".utf8), 0, nil, "QED"),
        ([0x7F, 0x10, 0xDA, 0xBE], 64, nil, "VDI"),
    ]

    /// Of which format an image is that begins with `header`; nil of a raw one.
    ///
    /// - Throws: `ManagementError.Code.conflict` of one that cannot be read.
    static func of(_ header: [UInt8], _ path: String) throws(ManagementError) -> ForeignFormat? {
        let found = signatures.first { header.dropFirst($0.offset).starts(with: $0.bytes) }
        guard let found else { return nil }
        guard let format = found.format else {
            throw ManagementError(
                .conflict,
                "\(path) is an image of the format \(found.name), which is not read; convert it to qcow2 or raw first, "
                    + "or say --source-format raw if its first bytes only look like that")
        }
        return format
    }

    /// Whether images can have another one below them, which QEMU would open.
    var mayHaveBacking: Bool { self != .vhdx }

    /// Refuses an image that begins with `header` and is not whole in itself: it could make QEMU read any file that the
    /// daemon can read.
    func check(_ header: [UInt8], _ path: String) throws(ManagementError) {
        guard header.count == Self.headerLength else { throw Self.refusal(path, "is too short for an image") }
        let span = header.rawSpan
        switch self {
        case .qcow2:
            let version = span.loadBE32(at: 4)
            guard version == 2 || version == 3 else { throw Self.refusal(path, "is of an unknown version of qcow2") }
            guard span.loadBE64(at: 8) == 0 else { throw Self.refusal(path, "has a backing file") }
            guard span.loadBE32(at: 32) == 0 else { throw Self.refusal(path, "is encrypted") }
            let features = version == 2 ? 0 : span.loadBE64(at: 72)
            guard features & Self.externalDataBit == 0 else { throw Self.refusal(path, "has its data in another file") }
        case .vmdk:
            // Without one, the extents are those that a text inside of it names: any files.
            guard header[12..<20].contains(where: { $0 != 0 }) else {
                throw Self.refusal(path, "has its data in other files")
            }
        case .vhdx: break
        }
    }

    /// An incompatible feature of qcow2: the data are in another file.
    private static let externalDataBit: UInt64 = 1 << 2
    /// The identifier of no parent in VMDK.
    private static let noParent: Int64 = 0xFFFF_FFFF

    /// The size of the disk in an image of which `information` tells, which `file` is the only one of.
    func checkedSize(_ information: JSONValue, _ file: File, _ path: String) throws(ManagementError) -> Int64 {
        guard information["format"]?.text == rawValue, case .integer(let size)? = information["virtual-size"] else {
            throw Self.refusal(path, "is no image of the format \(rawValue)")
        }
        let special = information["format-specific"]?["data"]
        if case .integer(let parent)? = special?["parent-cid"], parent != Self.noParent {
            throw Self.refusal(path, "has a backing file")
        }
        guard information["backing-filename"] == nil, information["full-backing-filename"] == nil else {
            throw Self.refusal(path, "has a backing file")
        }
        guard special?["data-file"] == nil else { throw Self.refusal(path, "has its data in another file") }
        guard information["encrypted"] != true else { throw Self.refusal(path, "is encrypted") }
        if case .array(let extents)? = special?["extents"] {
            guard extents.allSatisfy({ $0["filename"]?.text == file.processPath }) else {
                throw Self.refusal(path, "has its data in other files")
            }
        }
        guard size > 0, size <= Disk.maximumSize else {
            throw Self.refusal(path, "has a disk of \(size) bytes, and 1 to \(Disk.maximumSize) are possible")
        }
        return size
    }

    private static func refusal(_ path: String, _ reason: String) -> ManagementError {
        ManagementError(
            .conflict, "\(path) \(reason); give an image that is whole in itself, as 'qemu-img convert' makes it")
    }
}
