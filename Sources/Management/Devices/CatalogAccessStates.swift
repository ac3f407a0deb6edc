import Catalog
import Foundation
import Logging
import TargetCore

/// The catalog as what keeps the access states of one logical unit.
final class CatalogAccessStates: AccessStateKeeper {
    let kept: [AccessStateRecord]
    let isReadable: Bool
    private let catalog: Catalog
    private let unit: Int64
    private let keeping: UnitKeeping

    /// Those of the unit with the key `unit`, as they are in the catalog.
    init(_ catalog: Catalog, unit: Int64, logger: Logger) {
        self.catalog = catalog
        self.unit = unit
        keeping = UnitKeeping(
            one: "a change of access states", many: "changes of access states", ofUnit: unit, logger: logger)
        do throws(CatalogError) {
            kept =
                try catalog.accessStates()[unit]?.map { state in
                    if state.state == nil {
                        logger.error(
                            "an access state cannot be read, and is taken for unavailable",
                            metadata: ["unit": "\(unit)", "group": "\(state.group)"])
                    }
                    return AccessStateRecord(state)
                } ?? []
            isReadable = true
        } catch {
            logger.error(
                "access states cannot be read, so all are unavailable; restart the daemon when the catalog can be read",
                metadata: ["unit": "\(unit)", "reason": "\(error)"])
            kept = []
            isReadable = false
        }
    }

    func keep(_ records: [AccessStateRecord], completion: @escaping @Sendable (Bool) -> Void) {
        keeping.keep(
            isReadable: isReadable,
            { [catalog, unit] () throws(CatalogError) in
                let time = Date()
                try catalog.keep(records.map { KeptAccessState($0, time: time) }, ofUnit: unit)
            }, completion: completion)
    }
}

extension AccessStateRecord {
    /// The device's form of what the catalog keeps. What cannot be read lets nobody in, as if the group were
    /// unavailable: somebody may have meant that.
    init(_ state: KeptAccessState) {
        self.init(
            group: state.group, state: state.state.flatMap { AsymmetricAccessState(rawValue: $0) } ?? .unavailable,
            isPreferred: state.isPreferred, transitionTime: state.transitionTime,
            cause: AccessStateCause(rawValue: state.cause) ?? .none)
    }
}

extension KeptAccessState {
    /// The catalog's form of what a device keeps; what is new in it is of `time`.
    init(_ record: AccessStateRecord, time: Date) {
        self.init(
            group: record.group, state: record.state.rawValue, isPreferred: record.isPreferred,
            transitionTime: record.transitionTime, cause: record.cause.rawValue, time: time)
    }
}
