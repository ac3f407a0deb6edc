import GRDB

/// A change of who may use what, under way: whatever is done with it is one transaction. For use in the closure only.
public struct AccessChange {
    let database: Database
}

extension Catalog {
    /// Makes all of `body` and records `events`, or does nothing. What only takes away is not to fail because the file
    /// system is full: with `takesAway` room is made for it, and if that does not help, the events are left out.
    public func changeAccess(
        _ events: [NewEvent] = [], takesAway: Bool = false, _ body: (AccessChange) throws -> Void
    ) throws(CatalogError) {
        let transaction: (Database) throws -> Void = { try body(AccessChange(database: $0)) }
        if takesAway { try remove(events, transaction) } else { try write(events, transaction) }
    }
}
