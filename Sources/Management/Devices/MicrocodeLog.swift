import Catalog
import Dispatch
import Foundation
import Logging
import Resources
import TargetCore

/// Has an event, and a line of the log, tell of microcode that initiators have activated; of each device so much only
/// that one which does nothing else cannot fill the disk.
final class MicrocodeLog: Sendable {
    private let catalog: Catalog
    private let logger: Logger
    /// Off the reactors: a transaction waits for the storage device.
    private let queue = DispatchQueue(label: "carousel.microcode")

    init(_ catalog: Catalog, _ logger: Logger) {
        self.catalog = catalog
        self.logger = logger
    }

    /// What a logical unit calls for the device of that name: a library, or a drive of one.
    func note(of device: String, kind: String) -> @Sendable (MicrocodeChange) -> Void {
        let pace = NoticePace { [logger] suppressed in
            logger.notice("more microcode was activated", metadata: [kind: "\(device)", "suppressed": "\(suppressed)"])
        }
        return { [self] change in
            guard pace.admits() else { return }
            let actor: EventActor =
                change.initiator.map { .initiator(CatalogInventory.initiatorName(ofPort: $0), user: nil) } ?? .daemon
            logger.notice(
                "microcode activated",
                metadata: [
                    kind: "\(device)", "from": "\(change.old)", "to": "\(change.new)",
                    "by": "\(PrintableText.escaped(actor.description))",
                ])
            queue.async { [catalog, logger] in
                let event = NewEvent(
                    time: Date(), actor: actor, kind: kind, name: device, verb: "microcode",
                    old: Self.state(change.old), new: Self.state(change.new))
                do throws(CatalogError) {
                    try catalog.record(event)
                } catch {
                    logger.error("an event was not recorded", metadata: ["event": "\(event)", "reason": "\(error)"])
                }
            }
        }
    }

    private static func state(_ revision: String) -> String? {
        JSONValue.object(["revision": .text(revision)]).serialized
    }
}
