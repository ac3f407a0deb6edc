import Catalog
import DiskDevice
import Logging
import Resources
import SCSI

/// The catalog as what keeps the type of protection information of one disk, which FORMAT UNIT changes.
final class CatalogProtection: DiskProtectionKeeper {
    private let keeping: DiskKeeping

    /// That of the disk `name` with the key `disk`.
    init(_ catalog: Catalog, disk: Int64, name: String, logger: Logger) {
        keeping = DiskKeeping(
            catalog, disk: disk, name: name, logger: logger,
            sentence: """
                a format operation has failed, for the catalog does not keep which protection information the disk \
                has now: it is to be formatted again
                """,
            further: """
                further format operations have failed, for the catalog does not keep which protection information the \
                disk has
                """)
    }

    func keep(protection: ProtectionType?, initiatorPort: String?) -> Bool {
        keeping.keep { () throws(CatalogError) in try store(protection, initiatorPort: initiatorPort) }
    }

    /// Stores the type, and tells of it.
    func store(_ protection: ProtectionType?, initiatorPort: String?) throws(CatalogError) {
        let type = Int(protection?.rawValue ?? 0)
        let former = try keeping.catalog.disk(named: keeping.name)?.spec.protection ?? 0
        guard former != type else { return }
        try keeping.catalog.setProtection(
            type, disk: keeping.disk,
            event: keeping.event("format", by: initiatorPort, old: Self.state(former), new: Self.state(type)))
        keeping.logger.notice(
            "disk was formatted to other protection information",
            metadata: ["disk": "\(keeping.name)", "former": "\(former)", "protection": "\(type)"])
    }

    /// Tells that so many blocks of the disk have lost their protection information.
    func tellForgotten(_ count: Int) {
        let details: Logger.Metadata = ["disk": "\(keeping.name)", "blocks": "\(count)"]
        keeping.logger.warning(
            """
            blocks were being written when the end came, or data were lost: they have no protection information any \
            more, and nothing of them is checked until they are written again
            """, metadata: details)
        do throws(CatalogError) {
            try keeping.catalog.record(
                keeping.event("forget", by: nil, new: ["blocksWithoutProtection": .integer(Int64(count))]))
        } catch {
            keeping.logger.error("an event was not recorded", metadata: details.merging(["reason": "\(error)"]) { $1 })
        }
    }

    private static func state(_ type: Int) -> JSONValue { ["protection": .integer(Int64(type))] }
}
