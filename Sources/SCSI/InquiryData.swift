internal import Bytes

/// What kind of device a logical unit is (SPC-5 table 152).
public enum PeripheralDeviceType: UInt8, Sendable {
    /// Direct access block device (SBC-4).
    case directAccessBlock = 0x00
    /// Sequential access device (SSC-5).
    case sequentialAccess = 0x01
    /// Media changer device (SMC-3).
    case mediaChanger = 0x08
    /// Well known logical unit (SPC-5 clause 8).
    case wellKnownLogicalUnit = 0x1E
    /// No or unknown device.
    case unknown = 0x1F
}

/// A version descriptor of standard INQUIRY data (SPC-5 table 153).
public enum VersionDescriptor {
    /// SAM-5 (no version claimed).
    public static let sam5: UInt16 = 0x00A0
    /// SPC-4 (no version claimed).
    public static let spc4: UInt16 = 0x0460
    /// SBC-3 (no version claimed).
    public static let sbc3: UInt16 = 0x04C0
    /// SSC-4 (no version claimed).
    public static let ssc4: UInt16 = 0x0520
    /// SMC-3 (no version claimed).
    public static let smc3: UInt16 = 0x0480
}

/// What a logical unit says it is: the source of standard INQUIRY data and of the identification VPD pages.
public struct DeviceIdentity: Sendable {
    /// T10 VENDOR IDENTIFICATION, at most 8 ASCII characters.
    public var vendor: String
    /// PRODUCT IDENTIFICATION, at most 16 ASCII characters.
    public var product: String
    /// PRODUCT REVISION LEVEL, at most 4 ASCII characters.
    public var revision: String
    /// PRODUCT SERIAL NUMBER of VPD page 80h, ASCII.
    public var serialNumber: String
    /// The eight-byte NAA identifier. Carousel owns no IEEE company id, so those it makes are locally assigned (NAA
    /// 3h).
    public var naa: UInt64

    public init(vendor: String, product: String, revision: String, serialNumber: String, naa: UInt64) {
        self.vendor = vendor
        self.product = product
        self.revision = revision
        self.serialNumber = serialNumber
        self.naa = naa
    }
}

/// Designation descriptors of the Device Identification VPD page (SPC-5 clause 7.7.6).
public enum DesignationDescriptor {
    /// The NAA designator of the logical unit, binary, association 0.
    public static func naa(_ identifier: UInt64) -> [UInt8] {
        var bytes: [UInt8] = [0x01, 0x03, 0x00, 0x08]
        bytes.appendBE64(identifier)
        return bytes
    }

    /// The T10 vendor ID based designator of the logical unit, ASCII: vendor, product and serial number.
    public static func t10VendorID(_ identity: DeviceIdentity) -> [UInt8] {
        var text: [UInt8] = []
        text.appendASCII(identity.vendor, count: 8)
        text.appendASCII(identity.product, count: 16)
        text.append(contentsOf: identity.serialNumber.utf8)
        return [0x02, 0x01, 0x00, UInt8(text.count)] + text
    }

    /// The relative target port identifier of a port of that PROTOCOL IDENTIFIER, binary, association 1.
    public static func relativeTargetPort(_ identifier: UInt16, _ transport: UInt8) -> [UInt8] {
        var bytes: [UInt8] = [transport << 4 | 0x01, 0x94, 0x00, 0x04, 0x00, 0x00]
        bytes.appendBE16(identifier)
        return bytes
    }

    /// The target port group of a port of that PROTOCOL IDENTIFIER, binary, association 1.
    public static func targetPortGroup(_ group: UInt16, _ transport: UInt8) -> [UInt8] {
        var bytes: [UInt8] = [transport << 4 | 0x01, 0x95, 0x00, 0x04, 0x00, 0x00]
        bytes.appendBE16(group)
        return bytes
    }

    /// A SCSI name string (UTF-8, NUL-ended, padded to a multiple of four) with an association: 0 logical unit,
    /// 1 target port, 2 target device; the latter two with the PROTOCOL IDENTIFIER of their transport.
    public static func nameString(_ name: String, association: UInt8, _ transport: UInt8) -> [UInt8] {
        var text = Array(name.utf8)
        text.append(0)
        while text.count % 4 != 0 { text.append(0) }
        // PIV and the protocol identifier are for ports and devices only.
        let head: [UInt8] = association == 0 ? [0x03, 0x08] : [transport << 4 | 0x03, 0x80 | association << 4 | 0x08]
        return head + [0x00, UInt8(truncatingIfNeeded: text.count)] + text
    }
}
