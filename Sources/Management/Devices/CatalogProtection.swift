import Catalog
import DiskDevice
import Foundation
import Logging
import Resources
import SCSI

/// The catalog as what keeps the type of protection information of one disk, which FORMAT UNIT changes.
final class CatalogProtection: DiskProtectionKeeper {
    private let catalog: Catalog
    private let disk: Int64
    private let name: String
    private let logger: Logger

    /// That of the disk `name` with the key `disk`.
    init(_ catalog: Catalog, disk: Int64, name: String, logger: Logger) {
        self.catalog = catalog
        self.disk = disk
        self.name = name
        self.logger = logger
    }

    func keep(protection: ProtectionType?, initiatorPort: String?) -> Bool {
        do throws(CatalogError) {
            try store(protection, initiatorPort: initiatorPort)
            return true
        } catch {
            logger.error(
                """
                a format operation has failed, for the catalog does not keep which protection information the disk \
                has now: it is to be formatted again
                """, metadata: ["disk": "\(name)", "reason": "\(error)"])
            return false
        }
    }

    /// Stores the type, and tells of it.
    func store(_ protection: ProtectionType?, initiatorPort: String?) throws(CatalogError) {
        let type = Int(protection?.rawValue ?? 0)
        let former = try catalog.disk(named: name)?.spec.protection ?? 0
        guard former != type else { return }
        let actor = initiatorPort.map { port in
            EventActor.initiator(CatalogInventory.initiatorName(ofPort: port), user: nil)
        }
        try catalog.setProtection(
            type, disk: disk,
            event: NewEvent(
                time: Date(), actor: actor ?? .daemon, kind: "disk", name: name, verb: "format",
                old: Self.state(former), new: Self.state(type)))
        logger.notice(
            "disk was formatted to other protection information",
            metadata: ["disk": "\(name)", "former": "\(former)", "protection": "\(type)"])
    }

    /// Tells that so many blocks of the disk have lost their protection information.
    func tellForgotten(_ count: Int) {
        let details: Logger.Metadata = ["disk": "\(name)", "blocks": "\(count)"]
        logger.warning(
            """
            blocks were being written when the end came, or data were lost: they have no protection information any \
            more, and nothing of them is checked until they are written again
            """, metadata: details)
        do throws(CatalogError) {
            try catalog.record(
                NewEvent(
                    time: Date(), actor: .daemon, kind: "disk", name: name, verb: "forget",
                    new: JSONValue.object(["blocksWithoutProtection": .integer(Int64(count))]).serialized))
        } catch {
            logger.error("an event was not recorded", metadata: details.merging(["reason": "\(error)"]) { $1 })
        }
    }

    private static func state(_ type: Int) -> String? {
        JSONValue.object(["protection": .integer(Int64(type))]).serialized
    }
}
