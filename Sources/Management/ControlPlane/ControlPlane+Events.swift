import Catalog
import Foundation
import Logging
import Resources

// Events: what was changed, by whom, when.
extension ControlPlane {
    func events(
        after id: Int64, kind: String?, name: String?, limit: Int
    ) throws(ManagementError) -> [EventSummary] {
        try query { () throws(CatalogError) in
            try catalog.events(after: id, kind: kind, name: name, limit: limit)
        }.map(EventSummary.init)
    }

    func lastEvents(kind: String?, name: String?, limit: Int) throws(ManagementError) -> [EventSummary] {
        try query { () throws(CatalogError) in try catalog.lastEvents(kind: kind, name: name, limit: limit) }
            .map(EventSummary.init)
    }

    // MARK: For the extensions by topic

    /// The event of a change that is made now on behalf of the present requester.
    func event(
        _ verb: String, _ kind: String, _ name: String, old: JSONValue? = nil, new: JSONValue? = nil
    ) -> NewEvent {
        NewEvent(
            time: Date(), actor: Requester.current, kind: kind, name: name, verb: verb, old: old?.serialized,
            new: new?.serialized)
    }

    /// Records an event that goes with no change of the catalog. The change is made, so a failure is only told of.
    func record(_ event: NewEvent) {
        do {
            try catalog.record(event)
        } catch {
            logger.error("an event was not recorded", metadata: ["event": "\(event)", "reason": "\(error)"])
        }
    }

    /// Records and tells of a change of access that goes with no change of the catalog.
    func record(_ note: AccessNote) {
        for event in events(of: [note]) { record(event) }
        tell([note])
    }

    /// The same for a change that gives something, which is to be taken back when this fails: nobody gets what no event
    /// tells of.
    func recordGrant(_ note: AccessNote) throws(ManagementError) {
        try storeAccess([note]) { _ in }
    }

    /// The same for a change that only takes away, which is made: with the room of the reserve, and a failure is only
    /// told of.
    func recordRemoval(_ note: AccessNote) {
        do {
            try storeAccess([note], takesAway: true) { _ in }
        } catch {
            logger.error("an event was not recorded", metadata: ["event": "\(note)", "reason": "\(error.message)"])
            tell([note])
        }
    }

    /// Removes files, or makes smaller what they let initiators do; once again with the room of the reserve when the
    /// system refuses.
    func removing(_ remove: () throws(ManagementError) -> Void) throws(ManagementError) {
        do {
            try remove()
        } catch {
            guard error.code == .system else { throw error }
            var second: Result<Void, ManagementError>?
            folder.reserve.lend { second = Result { () throws(ManagementError) in try remove() } }
            guard let second else { throw error }
            try second.get()
        }
    }
}
