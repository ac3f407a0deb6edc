public import Catalog
import Dispatch
import Media
import Platform
import Profiles

/// Which cartridges of a running library cannot be used. Any thread.
final class CartridgeProblems: Sendable {
    private struct State {
        /// Problems that examining the files has found.
        var examined: [String: CartridgeProblem] = [:]
        /// Problems that loading has found, which checks more.
        var loaded: [String: CartridgeProblem] = [:]
    }
    private let state = Lock(State())

    /// All of them by barcode.
    var all: [String: CartridgeProblem] {
        state.withLock { state in
            state.examined.merging(state.loaded) { examined, loaded in
                examined.state == .missing ? examined : loaded
            }
        }
    }

    /// Sets the problems that examining the files of the cartridges `barcodes` has found; the others keep theirs.
    func setExamined(_ problems: [String: CartridgeProblem], among barcodes: some Sequence<String>) {
        state.withLock { state in
            for barcode in barcodes { state.examined[barcode] = problems[barcode] }
        }
    }

    /// How the last load of the cartridge ended; nil when it could be used.
    func setLoaded(_ problem: CartridgeProblem?, _ barcode: String) {
        state.withLock { state in
            state.loaded[barcode] = problem
            if problem == nil { state.examined[barcode] = nil }
        }
    }

    /// Forgets a cartridge that has gone.
    func forget(_ barcode: String) {
        state.withLock { state in
            state.examined[barcode] = nil
            state.loaded[barcode] = nil
        }
    }
}

extension CartridgeProblem {
    /// What an error of the files means.
    init(_ error: CartridgeError) {
        switch error {
        case .missing: self.init(.missing, "its files are missing")
        default: self.init(.damaged, "\(error)")
        }
    }
}

extension LocalDevices {
    /// Makes empty cartridges of the formats that their labels mean, several at a time: making one waits for the
    /// storage device again and again.
    public func createCartridges(
        _ cartridges: [CartridgeRecord], in folder: String, driveProfile: String
    ) throws(ManagementError) {
        let profile = try self.driveProfile(driveProfile)
        try Self.each(cartridges) { cartridge throws(ManagementError) in
            let density = profile.density(barcode: cartridge.barcode) ?? profile.defaultDensity
            do throws(CartridgeError) {
                try CartridgeStore(directory: folder).create(
                    barcode: cartridge.barcode, capacity: cartridge.capacity, densityCode: density.code,
                    mediumSerialNumber: cartridge.serialNumber)
            } catch {
                throw ManagementError(.system, "cartridge '\(cartridge.barcode)' cannot be made: \(error)")
            }
        }
    }

    /// Removes the files of cartridges, several at a time.
    public func deleteCartridges(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) throws(ManagementError) {
        let problems = libraries.withLock { $0[library.identity.id] }?.problems
        try Self.each(cartridges) { cartridge throws(ManagementError) in
            let barcode = cartridge.barcode
            do throws(CartridgeError) {
                try CartridgeStore(directory: folder).delete(barcode: barcode)
            } catch {
                switch error {
                case .missing: break
                case .inUse: throw ManagementError(.inUse, "\(error) by a drive or another process; try again later")
                default:
                    throw ManagementError(.system, "the files of cartridge '\(barcode)' cannot be removed: \(error)")
                }
            }
            problems?.forget(barcode)
        }
    }

    /// Reads the superblocks, several at a time.
    public func examine(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) -> [String: CartridgeProblem] {
        let found = Lock<[String: CartridgeProblem]>([:])
        Self.each(cartridges) { cartridge in
            if let problem = Self.problem(of: cartridge, in: folder) {
                found.withLock { $0[cartridge.barcode] = problem }
            }
        }
        let examined = found.withLock { $0 }
        guard let running = libraries.withLock({ $0[library.identity.id] }) else { return examined }
        running.problems.setExamined(examined, among: cartridges.lazy.map(\.barcode))
        return running.problems.all
    }

    /// What is known of the cartridges.
    public func cartridgeProblems(of library: LibraryRecord) -> [String: CartridgeProblem] {
        libraries.withLock { $0[library.identity.id] }?.problems.all ?? [:]
    }

    /// What the cartridge's files say.
    public func usedCapacity(of cartridge: CartridgeRecord, in folder: String) -> Int64? {
        try? CartridgeStore(directory: folder).summary(barcode: cartridge.barcode).usedBytes
    }

    private static func problem(of cartridge: CartridgeRecord, in folder: String) -> CartridgeProblem? {
        do {
            let identity = try CartridgeStore(directory: folder).identity(barcode: cartridge.barcode)
            guard identity.barcode == cartridge.barcode, identity.mediumSerialNumber == cartridge.serialNumber else {
                return CartridgeProblem(
                    .damaged,
                    "its files are those of cartridge '\(identity.barcode)' with serial number "
                        + "'\(identity.mediumSerialNumber)'")
            }
            return nil
        } catch {
            return CartridgeProblem(error)
        }
    }

    /// Does `work` for all elements, several at a time; none is begun after one has failed.
    private static func each<Element: Sendable, Failure>(
        _ elements: [Element], _ work: @escaping @Sendable (Element) throws(Failure) -> Void
    ) throws(Failure) {
        let failure = Lock<Failure?>(nil)
        let group = DispatchGroup()
        let workers = min(Limit.cartridgeWorkers, elements.count)
        for worker in 0..<workers {
            DispatchQueue.global().async(group: group) {
                for index in stride(from: worker, to: elements.count, by: workers) {
                    guard failure.withLock({ $0 == nil }) else { return }
                    do throws(Failure) {
                        try work(elements[index])
                    } catch {
                        failure.withLock { first in if first == nil { first = error } }
                    }
                }
            }
        }
        group.wait()
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}
