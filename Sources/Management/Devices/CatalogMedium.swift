import Catalog
import DiskDevice
import Logging

/// The catalog as what keeps where the medium of one removable disk is.
final class CatalogMedium: DiskMediumKeeper {
    private let keeping: DiskKeeping

    /// That of the disk `name` with the key `disk`.
    init(_ catalog: Catalog, disk: Int64, name: String, logger: Logger) {
        keeping = DiskKeeping(
            catalog, disk: disk, name: name, logger: logger,
            sentence: "a medium stays where it is, for the catalog does not keep it",
            further: "further media stay where they are, for the catalog does not keep it")
    }

    func keep(isLoaded: Bool, initiatorPort: String) -> Bool {
        keeping.keep { () throws(CatalogError) in
            try keeping.catalog.setEjected(
                !isLoaded, disk: keeping.disk,
                event: keeping.event(isLoaded ? "load" : "eject", by: initiatorPort))
        }
    }
}
