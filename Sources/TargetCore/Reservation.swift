internal import Synchronization

/// The reservation of a logical unit by RESERVE and RELEASE (SPC-2 clauses 7.15 to 7.22).
///
/// The data path reads one atomic flag; who holds the reservation is looked up only when there is one.
final class Reservation: Sendable {
    private let holder = Mutex<WeakNexus>(WeakNexus())
    private let isHeld = Atomic<Bool>(false)

    private struct WeakNexus {
        weak var nexus: ITLNexus?
    }

    /// Whether another nexus than `nexus` holds the reservation.
    func conflicts(with nexus: ITLNexus) -> Bool {
        guard isHeld.load(ordering: .acquiring) else { return false }
        return holder.withLock { $0.nexus.map { $0 !== nexus } ?? false }
    }

    /// Reserves for `nexus`; false when another one holds the reservation.
    func reserve(by nexus: ITLNexus) -> Bool {
        holder.withLock { holder in
            if let current = holder.nexus, current !== nexus { return false }
            holder.nexus = nexus
            isHeld.store(true, ordering: .releasing)
            return true
        }
    }

    /// Releases when `nexus` is the holder; else nothing happens, which is no error (SPC-2 clause 7.17).
    func release(by nexus: ITLNexus) {
        holder.withLock { holder in
            guard holder.nexus === nexus else { return }
            holder.nexus = nil
            isHeld.store(false, ordering: .releasing)
        }
    }

    /// Releases whoever holds it (a reset).
    func clear() {
        holder.withLock { holder in
            holder.nexus = nil
            isHeld.store(false, ordering: .releasing)
        }
    }
}
