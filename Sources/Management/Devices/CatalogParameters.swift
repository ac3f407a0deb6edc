import Catalog
import Logging
import TargetCore

/// The catalog as what keeps the parameters of one logical unit.
final class CatalogParameters: ParameterKeeper {
    let kept: [KeptParameter: [UInt8]]
    let isReadable: Bool
    private let catalog: Catalog
    private let unit: Int64
    private let keeping: UnitKeeping

    /// Those of the unit with the key `unit`, as they are in the catalog. Kinds that a later version keeps are left
    /// where they are.
    init(_ catalog: Catalog, unit: Int64, logger: Logger) {
        self.catalog = catalog
        self.unit = unit
        keeping = UnitKeeping(one: "a parameter", many: "parameters", ofUnit: unit, logger: logger)
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
        keeping.keep(
            isReadable: isReadable,
            { [catalog, unit] () throws(CatalogError) in try catalog.keep(records, ofUnit: unit) },
            completion: completion)
    }
}
