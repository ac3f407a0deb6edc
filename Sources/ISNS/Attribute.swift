internal import Bytes

/// The tag of an attribute (RFC 4171 section 6.1).
public struct AttributeTag: RawRepresentable, Hashable, Sendable {
    /// The 32 bits of the Attribute Tag field.
    public let rawValue: UInt32

    /// The tag with that number, known or not.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The Delimiter: between the message key and the operating attributes.
    public static let delimiter = AttributeTag(rawValue: 0)
    /// The Entity Identifier, the key of a Network Entity.
    public static let entityIdentifier = AttributeTag(rawValue: 1)
    /// The Entity Protocol: 2 is iSCSI.
    public static let entityProtocol = AttributeTag(rawValue: 2)
    /// The Timestamp of an ESI message or an SCN, in seconds since 1970.
    public static let timestamp = AttributeTag(rawValue: 4)
    /// The seconds for which the server keeps the entity without hearing from it.
    public static let registrationPeriod = AttributeTag(rawValue: 6)
    /// The IPv6 or IPv4-mapped address of a portal.
    public static let portalAddress = AttributeTag(rawValue: 16)
    /// The TCP or UDP port of a portal.
    public static let portalPort = AttributeTag(rawValue: 17)
    /// The seconds between two questions of the server whether the portal is there.
    public static let statusInquiryInterval = AttributeTag(rawValue: 19)
    /// The ESI Port: where Entity Status Inquiries are answered.
    public static let statusInquiryPort = AttributeTag(rawValue: 20)
    /// The SCN Port: where State Change Notifications are taken.
    public static let notificationPort = AttributeTag(rawValue: 23)
    /// The iSCSI name of a storage node.
    public static let iscsiName = AttributeTag(rawValue: 32)
    /// Whether the node is a target, an initiator or a control node.
    public static let iscsiNodeType = AttributeTag(rawValue: 33)
    /// The iSCSI Alias of a storage node.
    public static let iscsiAlias = AttributeTag(rawValue: 34)
    /// The iSCSI SCN Bitmap: of which changes the node is notified.
    public static let iscsiNotificationBitmap = AttributeTag(rawValue: 35)
    /// The iSCSI name of the node of a portal group.
    public static let portalGroupName = AttributeTag(rawValue: 48)
    /// The Portal Group's portal: its IP Address.
    public static let portalGroupAddress = AttributeTag(rawValue: 49)
    /// The Portal Group's portal: its TCP port.
    public static let portalGroupPort = AttributeTag(rawValue: 50)
    /// The portal group tag; empty where the node is not reached through the portal.
    public static let portalGroupTag = AttributeTag(rawValue: 51)
}

/// An attribute: a tag and its value (RFC 4171 section 5.3).
public struct Attribute: Hashable, Sendable {
    /// What the value means.
    public let tag: AttributeTag
    /// The value, without what pads it to a multiple of four bytes if this side made it.
    public let value: [UInt8]

    public init(_ tag: AttributeTag, _ value: [UInt8] = []) {
        self.tag = tag
        self.value = value
    }

    /// A number of 32 bits.
    public init(_ tag: AttributeTag, _ number: UInt32) {
        var value: [UInt8] = []
        value.appendBE32(number)
        self.init(tag, value)
    }

    /// A text, ended by a zero byte.
    public init(_ tag: AttributeTag, _ text: String) {
        self.init(tag, Array(text.utf8) + [0])
    }

    /// The Delimiter, which has no value.
    public static let delimiter = Attribute(.delimiter)

    /// The value as a number; nil when it does not have four bytes.
    public var number: UInt32? {
        value.count == 4 ? value.rawSpan.loadBE32(at: 0) : nil
    }

    /// The value as a text up to its first zero byte; nil when it is empty or no UTF-8.
    public var text: String? {
        let bytes = value.prefix { $0 != 0 }
        return bytes.isEmpty ? nil : String(validating: bytes, as: UTF8.self)
    }

    /// The bytes it takes in a message: tag, length, and the value padded to a multiple of four.
    public var encodedLength: Int { 8 + (value.count + 3) & ~3 }

    /// Appends tag, length and padded value.
    func encode(into bytes: inout [UInt8]) {
        let padding = (4 - value.count & 3) & 3
        bytes.appendBE32(tag.rawValue)
        bytes.appendBE32(UInt32(value.count + padding))
        bytes.append(contentsOf: value)
        bytes.append(contentsOf: repeatElement(0, count: padding))
    }
}
