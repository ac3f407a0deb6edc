/// What changes during a cartridge's life besides its data: write protection, load count and attributes.
///
/// A change is handed to the index's writer at once and is durable when `close` or `commitSettings` returns.
extension Cartridge {
    /// The write-protect tab. The drive asks; writing here does not check it.
    public var isWriteProtected: Bool {
        get { settings.isWriteProtected }
        set {
            settings.isWriteProtected = newValue
            writer.submit(settings)
        }
    }

    /// How often the cartridge has been loaded (MAM attribute 0003h).
    public var loadCount: UInt64 { settings.loadCount }

    /// Counts one more loading.
    public func countLoad() {
        settings.loadCount += 1
        writer.submit(settings)
    }

    /// The attribute of that identifier, or nil.
    public func attribute(_ identifier: UInt16, partition: UInt8 = 0) -> MediumAttribute? {
        settings.attributes[.init(partition: partition, identifier: identifier)]
    }

    /// All attributes, by partition and identifier.
    public var attributes: [MediumAttribute] {
        settings.attributes.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Adds or replaces an attribute; false when `MediumAttribute.countLimit` is reached.
    public func setAttribute(_ attribute: MediumAttribute) -> Bool {
        let key = CartridgeSettings.AttributeKey(partition: attribute.partition, identifier: attribute.identifier)
        guard settings.attributes[key] != nil || settings.attributes.count < MediumAttribute.countLimit else {
            return false
        }
        settings.attributes[key] = attribute
        writer.submit(settings)
        return true
    }

    /// Removes the attribute of that identifier, if there is one.
    public func removeAttribute(_ identifier: UInt16, partition: UInt8 = 0) {
        settings.attributes[.init(partition: partition, identifier: identifier)] = nil
        writer.submit(settings)
    }

    /// Waits until all changes are written; false when the host could not. Waits for the device.
    public func commitSettings() -> Bool { writer.drain() }
}
