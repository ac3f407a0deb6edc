import Catalog
import Dispatch
import Logging
import TargetCore

/// The catalog as what keeps the parameters of one logical unit.
final class CatalogParameters: ParameterKeeper {
    /// Off the reactors: a transaction waits for the storage device. One after another, as the protocol promises.
    private static let queue = DispatchQueue(label: "carousel.parameters")

    let kept: [KeptParameter: [UInt8]]
    let isReadable: Bool
    private let catalog: Catalog
    private let unit: Int64
    private let logger: Logger
    /// An initiator may ask again and again.
    private let pace: NoticePace

    /// Those of the unit with the key `unit`, as they are in the catalog. Kinds that a later version keeps are left
    /// where they are.
    init(_ catalog: Catalog, unit: Int64, logger: Logger) {
        self.catalog = catalog
        self.unit = unit
        self.logger = logger
        pace = NoticePace { suppressed in
            logger.error(
                "further parameters were refused, for they cannot be kept",
                metadata: ["unit": "\(unit)", "count": "\(suppressed)"])
        }
        var kept: [KeptParameter: [UInt8]] = [:]
        var isReadable = true
        do throws(CatalogError) {
            for record in try catalog.parameters(ofUnit: unit) {
                guard let kind = KeptParameter.Kind(rawValue: record.kind) else { continue }
                kept[KeptParameter(kind, record.number)] = record.value
            }
        } catch {
            logger.error(
                "kept parameters cannot be read, and none are taken; restart the daemon when the catalog can be read",
                metadata: ["unit": "\(unit)", "reason": "\(error)"])
            kept = [:]
            isReadable = false
        }
        self.kept = kept
        self.isReadable = isReadable
    }

    func keep(_ values: [KeptParameter: [UInt8]], completion: @escaping @Sendable (Bool) -> Void) {
        let records = values.map { parameter, value in
            UnitParameterRecord(kind: parameter.kind.rawValue, number: parameter.number, value: value)
        }
        Self.queue.async { [catalog, unit, logger, pace, isReadable] in
            // What was not read is not written over.
            guard isReadable else {
                if pace.admits() {
                    logger.error(
                        "a parameter is refused, for those that are kept could not be read",
                        metadata: ["unit": "\(unit)"])
                }
                return completion(false)
            }
            do throws(CatalogError) {
                try catalog.keep(records, ofUnit: unit)
                completion(true)
            } catch {
                if pace.admits() {
                    logger.error(
                        "a parameter is refused, for it cannot be kept",
                        metadata: ["unit": "\(unit)", "reason": "\(error)"])
                }
                completion(false)
            }
        }
    }
}
