import Catalog
import Foundation
import Logging
import Resources

/// The way into the catalog of what initiators change of one disk, on threads that may wait: the event with who has
/// asked for it, and a sentence in the log where it cannot be kept.
final class DiskKeeping: Sendable {
    let catalog: Catalog
    /// The key of the disk.
    let disk: Int64
    let name: String
    let logger: Logger
    private let sentence: Logger.Message
    /// An initiator may ask again and again.
    private let pace: NoticePace

    /// For the disk `name` with the key `disk`. `sentence` says what becomes of what cannot be kept, and `further`
    /// what becomes of more of the same.
    init(
        _ catalog: Catalog, disk: Int64, name: String, logger: Logger, sentence: Logger.Message,
        further: Logger.Message
    ) {
        self.catalog = catalog
        self.disk = disk
        self.name = name
        self.logger = logger
        self.sentence = sentence
        pace = NoticePace { suppressed in
            logger.error(further, metadata: ["disk": "\(name)", "count": "\(suppressed)"])
        }
    }

    /// Has `keep` keep something. Whether it is durable.
    func keep(_ keep: () throws(CatalogError) -> Void) -> Bool {
        do throws(CatalogError) {
            try keep()
            return true
        } catch {
            if pace.admits() { logger.error(sentence, metadata: ["disk": "\(name)", "reason": "\(error)"]) }
            return false
        }
    }

    /// The event that an initiator port has done that to the disk; the daemon, where no port is known.
    func event(_ verb: String, by port: String?, old: JSONValue? = nil, new: JSONValue? = nil) -> NewEvent {
        let actor = port.map { EventActor.initiator(CatalogInventory.initiatorName(ofPort: $0), user: nil) }
        return NewEvent(
            time: Date(), actor: actor ?? .daemon, kind: "disk", name: name, verb: verb, old: old?.serialized,
            new: new?.serialized)
    }
}
