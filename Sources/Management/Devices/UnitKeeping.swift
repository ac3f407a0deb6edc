import Catalog
import Dispatch
import Logging

/// The way into the catalog of what one logical unit keeps: off the reactors, one transaction after another, and with a
/// sentence in the log when something cannot be kept.
final class UnitKeeping: Sendable {
    /// A transaction waits for the storage device. They are written one at a time anyhow, and what a unit keeps is kept
    /// in the order of the calls, as the keepers of all kinds promise.
    private static let queue = DispatchQueue(label: "carousel.unit-keeping")

    private let one: String
    private let unit: Int64
    private let logger: Logger
    /// An initiator may ask again and again.
    private let pace: NoticePace

    /// For the unit with the key `unit`; what is kept is `one` ("a reservation") in a sentence, or `many`.
    init(one: String, many: String, ofUnit unit: Int64, logger: Logger) {
        self.one = one
        self.unit = unit
        self.logger = logger
        pace = NoticePace { suppressed in
            logger.error(
                "further \(many) were refused, for they cannot be kept",
                metadata: ["unit": "\(unit)", "count": "\(suppressed)"])
        }
    }

    /// Has `keep` keep something, unless what is kept already could not be read: that is not written over. Calls
    /// `completion` with whether it is durable.
    func keep(
        isReadable: Bool = true, _ keep: @escaping @Sendable () throws(CatalogError) -> Void,
        completion: @escaping @Sendable (Bool) -> Void
    ) {
        Self.queue.async { [self] in
            guard isReadable else {
                tellRefusal("those that are kept could not be read", nil)
                return completion(false)
            }
            do throws(CatalogError) {
                try keep()
            } catch {
                tellRefusal("it cannot be kept", error)
                return completion(false)
            }
            completion(true)
        }
    }

    private func tellRefusal(_ cause: String, _ reason: CatalogError?) {
        guard pace.admits() else { return }
        var metadata: Logger.Metadata = ["unit": "\(unit)"]
        if let reason { metadata["reason"] = "\(reason)" }
        logger.error("\(one) is refused, for \(cause)", metadata: metadata)
    }
}
