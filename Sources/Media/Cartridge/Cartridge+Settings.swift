/// What changes during a cartridge's life besides its data: write protection, load count and attributes.
///
/// Tab and load count are handed to the index's writer at once and are durable when `close` succeeds. Attributes are
/// medium auxiliary memory, which hosts rely on as non-volatile: they change in memory only after they are durable.
extension Cartridge {
    /// The write-protect tab: nothing can be written while it is set.
    public var isWriteProtected: Bool {
        get { settings.isWriteProtected }
        set {
            settings.isWriteProtected = newValue
            writer.submit(settings.header)
        }
    }

    /// How often the cartridge has been loaded (MAM attribute 0003h).
    public var loadCount: UInt64 { settings.loadCount }

    /// Counts one more loading.
    public func countLoad() {
        settings.loadCount = min(settings.loadCount + 1, CartridgeSettings.maximumLoadCount)
        writer.submit(settings.header)
    }

    /// The attribute of that identifier, or nil.
    public func attribute(_ identifier: UInt16, partition: UInt8 = 0) -> MediumAttribute? {
        settings.attributes[.init(partition: partition, identifier: identifier)]
    }

    /// All attributes, by partition and identifier.
    public var attributes: [MediumAttribute] {
        settings.attributes.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Whether so many attributes are no more than `MediumAttribute.countLimit` when these changes are made.
    public func hasRoom(for changes: [AttributeChange]) -> Bool {
        var attributes = settings.attributes
        for change in changes { change.apply(to: &attributes) }
        return attributes.count <= MediumAttribute.countLimit
    }

    /// Makes the changes, all or none, durably. Waits for the device. On failure none is made, although they may be
    /// found after a crash.
    public func commit(_ changes: [AttributeChange]) -> WriteFailure? {
        if let reason = writer.commit(changes) { return .auxiliaryMemory(reason) }
        for change in changes { change.apply(to: &settings.attributes) }
        return nil
    }
}

/// One attribute that is added, replaced or removed.
public struct AttributeChange: Equatable, Sendable {
    let key: CartridgeSettings.AttributeKey
    /// Nil removes the attribute, if there is one.
    let attribute: MediumAttribute?

    /// Adds an attribute, or replaces the one with its identifier.
    public static func set(_ attribute: MediumAttribute) -> Self {
        Self(key: .init(partition: attribute.partition, identifier: attribute.identifier), attribute: attribute)
    }

    /// Removes the attribute of that identifier, if there is one.
    public static func remove(_ identifier: UInt16, partition: UInt8 = 0) -> Self {
        Self(key: .init(partition: partition, identifier: identifier), attribute: nil)
    }

    func apply(to attributes: inout [CartridgeSettings.AttributeKey: MediumAttribute]) {
        attributes[key] = attribute
    }
}
