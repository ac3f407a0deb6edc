import Catalog
import Foundation
import Resources

/// A look at the catalog of a state folder without a daemon; nothing is changed.
public enum StoppedState: Sendable {
    /// There is no catalog.
    case none
    /// It cannot be used, and what to do, in a sentence.
    case failed(String)
    /// What is wrong with it, empty when nothing is, and the portals that it remembers.
    case read(damage: String, portals: [String])

    /// Looks at the catalog of the state folder at `path`.
    public static func examine(_ path: String) -> StoppedState {
        if let refusal = StateFolder.unfinishedRestore(in: path) { return .failed(refusal) }
        let catalog = path + "/catalog.sqlite"
        guard FileManager.default.fileExists(atPath: catalog) else { return .none }
        do throws(CatalogError) {
            let inspection = try CatalogInspection(path: catalog)
            let damage = inspection.damage.first.map {
                "\(catalog) is damaged: \($0); put it back from a backup with 'carousel restore'"
            }
            return .read(
                damage: damage ?? "",
                portals: inspection.portals.filter { $0.port != 0 }.map {
                    PortalAddress(address: $0.address, port: $0.port).description
                })
        } catch {
            return .failed(
                "\(catalog) cannot be read: \(error); see whose it is, or put it back from a backup with 'carousel "
                    + "restore'")
        }
    }
}
