import Catalog
import ChangerDevice
import Dispatch
import Foundation
import Resources

/// The catalog as the changer of one library sees it: a move is durable there before it counts.
final class CatalogInventory: LibraryInventory {
    private let catalog: Catalog
    private let library: Int64
    /// Off the reactor: a transaction waits for the storage device.
    private let queue = DispatchQueue(label: "carousel.moves")

    /// The inventory of the library with the key `library`.
    init(_ catalog: Catalog, library: Int64) {
        self.catalog = catalog
        self.library = library
    }

    /// The part of an iSCSI port's name that is the name of the initiator (RFC 7143 section 4.2.7.1).
    static func initiatorName(ofPort name: String) -> String {
        name.range(of: ",i,0x").map { String(name[..<$0.lowerBound]) } ?? name
    }

    func commit(
        _ moves: [MediumMove], by requester: MoveRequester, completion: @escaping @Sendable (String?) -> Void
    ) {
        let (cause, actor): (MoveCause, EventActor) =
            switch requester {
            case .initiator(let port): (.initiator, .initiator(Self.initiatorName(ofPort: port), user: nil))
            case .operatorPanel(let actor): (.command, actor as? EventActor ?? .daemon)
            }
        queue.async { [catalog, library] in
            do {
                try catalog.apply(
                    moves.map(CartridgeMove.init), library: library, cause: cause, actor: actor, time: Date())
                completion(nil)
            } catch {
                completion("\(error)")
            }
        }
    }
}

extension CartridgeMove {
    /// The catalog's form of a changer's move.
    init(_ move: MediumMove) {
        self.init(
            barcode: move.barcode, origin: CartridgeLocation(move.origin),
            destination: CartridgeLocation(move.destination))
    }
}

extension CartridgeLocation {
    /// The catalog's form of a changer's place. What is outside the library is in the vault.
    init(_ place: MediumPlace) {
        switch place {
        case .element(let element): self = .element(ElementAddress(element))
        case .outside: self = .vault
        }
    }

    /// The changer's form.
    var place: MediumPlace {
        switch self {
        case .element(let address): .element(address.libraryElement)
        case .vault: .outside
        }
    }
}

extension ElementAddress {
    init(_ element: LibraryElement) {
        let kind: ElementKind =
            switch element.type {
            case .storage: .slot
            case .importExport: .mail
            case .dataTransfer: .drive
            case .mediumTransport: preconditionFailure("no cartridge rests in the robot's hand")
            }
        self.init(kind: kind, number: element.number)
    }

    /// The changer's form.
    var libraryElement: LibraryElement {
        let type: ElementType =
            switch kind {
            case .slot: .storage
            case .mail: .importExport
            case .drive: .dataTransfer
            }
        return LibraryElement(type, number)
    }
}
