import Catalog
import DiskDevice
import Foundation
import Logging

/// The catalog as what keeps where the medium of one removable disk is.
final class CatalogMedium: DiskMediumKeeper {
    private let catalog: Catalog
    private let disk: Int64
    private let name: String
    private let logger: Logger
    /// An initiator may ask again and again.
    private let pace: NoticePace

    /// That of the disk `name` with the key `disk`.
    init(_ catalog: Catalog, disk: Int64, name: String, logger: Logger) {
        self.catalog = catalog
        self.disk = disk
        self.name = name
        self.logger = logger
        pace = NoticePace { suppressed in
            logger.error(
                "further media stay where they are, for the catalog does not keep it",
                metadata: ["disk": "\(name)", "count": "\(suppressed)"])
        }
    }

    func keep(isLoaded: Bool, initiatorPort: String) -> Bool {
        let initiator = CatalogInventory.initiatorName(ofPort: initiatorPort)
        do throws(CatalogError) {
            try catalog.setEjected(
                !isLoaded, disk: disk,
                event: NewEvent(
                    time: Date(), actor: .initiator(initiator, user: nil), kind: "disk", name: name,
                    verb: isLoaded ? "load" : "eject"))
            return true
        } catch {
            if pace.admits() {
                logger.error(
                    "a medium stays where it is, for the catalog does not keep it",
                    metadata: ["disk": "\(name)", "reason": "\(error)"])
            }
            return false
        }
    }
}
