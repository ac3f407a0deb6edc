public import Catalog
import Dispatch
import Foundation
import Media
import Platform
import Profiles
public import Resources

/// Which cartridges of a running library cannot be used or have lost data. Any thread.
///
/// To find out about losses takes time, and a drive may tell of another one meanwhile, or an operator acknowledge it.
/// So whoever finds out asks for the epoch first and gives it with the result, which counts only for cartridges of
/// whose losses nobody has told anything since.
final class CartridgeRegister: Sendable {
    private struct State {
        /// What a look at the files has found.
        var examined = CartridgeFindings()
        /// What loading has found, which looks deeper, and what drives have told since.
        var loaded = CartridgeFindings()
        /// Counts what was told of losses.
        var epoch: UInt64 = 0
        /// The epoch that began with what was told last of a cartridge.
        var told: [String: UInt64] = [:]
        /// How many looks at the files are under way.
        var looks = 0
        /// The epoch that began when a cartridge went, of those that went while somebody looked.
        var gone: [String: UInt64] = [:]

        mutating func setLoss(_ loss: LossSummary?, _ barcode: String) {
            examined.losses[barcode] = nil
            loaded.losses[barcode] = loss
            epoch += 1
            told[barcode] = epoch
        }

        /// Whether nothing was told of the cartridge's losses since `epoch`.
        func isUntold(_ barcode: String, since epoch: UInt64) -> Bool { told[barcode, default: 0] <= epoch }
    }
    private let state = Lock(State())

    /// All of them.
    var findings: CartridgeFindings {
        state.withLock { state in
            CartridgeFindings(
                problems: state.examined.problems.merging(state.loaded.problems) { examined, loaded in
                    examined.state == .missing ? examined : loaded
                },
                // A drive knows of a loss that its host could not record with the files.
                losses: state.examined.losses.merging(state.loaded.losses) { _, loaded in loaded })
        }
    }

    /// The present epoch, for those who begin to find something out.
    var epoch: UInt64 { state.withLock { $0.epoch } }

    /// Begins a look at the files, which `setExamined` ends, and gives the present epoch.
    func beginLook() -> UInt64 {
        state.withLock { state in
            state.looks += 1
            return state.epoch
        }
    }

    /// Ends a look at the files of the cartridges `barcodes`, begun in `epoch`, with what it has found. The others keep
    /// what is known of them, and what has gone meanwhile is not noted.
    func setExamined(_ findings: CartridgeFindings, among barcodes: some Sequence<String>, since epoch: UInt64) {
        state.withLock { state in
            for barcode in barcodes where state.gone[barcode, default: 0] <= epoch {
                state.examined.problems[barcode] = findings.problems[barcode]
                guard state.isUntold(barcode, since: epoch) else { continue }
                state.examined.losses[barcode] = findings.losses[barcode]
            }
            state.looks -= 1
            if state.looks == 0 { state.gone = [:] }
        }
    }

    /// How a load of the cartridge, begun in `epoch`, has ended: nil when it could be used. Then `loss` is what was
    /// lost of it before.
    func setLoaded(_ problem: CartridgeProblem?, loss: LossSummary?, _ barcode: String, since epoch: UInt64) {
        state.withLock { state in
            state.loaded.problems[barcode] = problem
            guard problem == nil else { return }
            state.examined.problems[barcode] = nil
            if state.isUntold(barcode, since: epoch) { state.setLoss(loss, barcode) }
        }
    }

    /// The cartridge has lost data.
    func setLoss(_ loss: LossSummary, _ barcode: String) {
        state.withLock { $0.setLoss(loss, barcode) }
    }

    /// What was lost of the cartridge has been acknowledged, which began in `epoch`. False when no loss was known.
    @discardableResult
    func acknowledge(_ barcode: String, since epoch: UInt64) -> Bool {
        state.withLock { state in
            let isKnown = state.examined.losses[barcode] != nil || state.loaded.losses[barcode] != nil
            if state.isUntold(barcode, since: epoch) { state.setLoss(nil, barcode) }
            return isKnown
        }
    }

    /// Forgets a cartridge that has gone.
    func forget(_ barcode: String) {
        state.withLock { state in
            state.examined.problems[barcode] = nil
            state.loaded.problems[barcode] = nil
            state.setLoss(nil, barcode)
            state.told[barcode] = nil
            if state.looks > 0 { state.gone[barcode] = state.epoch }
        }
    }
}

extension LossSummary {
    /// What a device says of a loss.
    init(_ report: LossReport) {
        self.init(
            since: report.time.map { Date(timeIntervalSince1970: TimeInterval($0.seconds)) },
            reason: report.failure.description)
    }
}

extension CartridgeProblem {
    /// Why the files at `path`, where those of the cartridge should be, are not removed.
    func refusal(of barcode: String, at path: String) -> ManagementError {
        ManagementError(.conflict, "cartridge '\(barcode)' is not removed: \(reason); move \(path) away")
    }

    /// What an error of the files means.
    init(_ error: CartridgeError) {
        switch error {
        case .missing: self.init(.missing, "its files are missing")
        case .unavailable: self.init(.unavailable, "\(error)")
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
        try Self.each(cartridges, on: cartridgeThreads) { cartridge throws(ManagementError) in
            guard case .data(let density, let isWORM) = profile.medium(barcode: cartridge.barcode) else {
                throw ManagementError(.internal, "barcode '\(cartridge.barcode)' was not checked")
            }
            do throws(CartridgeError) {
                try CartridgeStore(directory: folder).create(
                    barcode: cartridge.barcode, capacity: cartridge.capacity, densityCode: density.code,
                    isWORM: isWORM, mediumSerialNumber: cartridge.serialNumber)
            } catch {
                throw ManagementError(.system, "cartridge '\(cartridge.barcode)' cannot be made: \(error)")
            }
        }
    }

    /// Reads the superblock.
    public func inspect(
        cartridge barcode: String, in folder: String, driveProfile: String
    ) throws(ManagementError) -> AdoptedCartridge {
        let store = CartridgeStore(directory: folder)
        let path = store.folder(of: barcode)
        let identity: CartridgeIdentity
        do throws(CartridgeError) {
            guard try !store.isInUse(barcode: barcode) else {
                throw CartridgeError.inUse(barcode: barcode)
            }
            identity = try store.inspect(barcode: barcode).identity
        } catch {
            switch error {
            case .inUse: throw ManagementError(.inUse, "\(path) is in use by another process; end that first")
            case .missing: throw ManagementError(.damaged, "\(path) is no cartridge: it has no data file")
            default: throw ManagementError(.damaged, "\(path) cannot be used: \(error)")
            }
        }
        let profile = try self.driveProfile(driveProfile)
        guard profile.density(code: identity.densityCode) != nil else {
            let code = String(identity.densityCode, radix: 16, uppercase: true)
            throw ManagementError(
                .invalid,
                "\(path) has a format (density 0x\(code)) that drives of profile '\(profile.name)' cannot use")
        }
        return AdoptedCartridge(
            barcode: identity.barcode, serialNumber: identity.mediumSerialNumber, capacity: identity.capacity)
    }

    /// Removes the files of cartridges, several at a time.
    public func deleteCartridges(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) throws(ManagementError) {
        let register = libraries.withLock { $0[library.identity.id] }?.register
        let checks = checks
        try Self.each(cartridges, on: cartridgeThreads) { cartridge throws(ManagementError) in
            let barcode = cartridge.barcode
            if let problem = Self.look(at: cartridge, in: folder).0, problem.isForeign {
                throw problem.refusal(of: barcode, at: CartridgeStore(directory: folder).folder(of: barcode))
            }
            checks.interrupt(CartridgeStore(directory: folder).folder(of: barcode))
            do throws(CartridgeError) {
                try CartridgeStore(directory: folder).delete(barcode: barcode)
            } catch {
                switch error {
                case .missing: break
                case .inUse: throw ManagementError(.inUse, "\(error) by a drive or another process; try again later")
                case .foreignFiles:
                    throw ManagementError(.conflict, "cartridge '\(barcode)' is not removed: \(error)")
                default:
                    throw ManagementError(.system, "the files of cartridge '\(barcode)' cannot be removed: \(error)")
                }
            }
            register?.forget(barcode)
        }
    }

    /// Reads the superblocks, several at a time.
    public func examine(
        _ cartridges: [CartridgeRecord], of library: LibraryRecord, in folder: String
    ) -> CartridgeFindings {
        let register = libraries.withLock { $0[library.identity.id] }?.register
        let epoch = register?.beginLook() ?? 0
        let found = Lock(CartridgeFindings())
        Self.each(cartridges) { cartridge in
            let (problem, loss) = Self.look(at: cartridge, in: folder)
            guard problem != nil || loss != nil else { return }
            found.withLock { findings in
                findings.problems[cartridge.barcode] = problem
                findings.losses[cartridge.barcode] = loss
            }
        }
        let examined = found.withLock { $0 }
        guard let register else { return examined }
        register.setExamined(examined, among: cartridges.lazy.map(\.barcode), since: epoch)
        return register.findings
    }

    public func cartridgeFindings(of library: LibraryRecord) -> CartridgeFindings {
        libraries.withLock { $0[library.identity.id] }?.register.findings ?? CartridgeFindings()
    }

    public func medium(of cartridge: CartridgeRecord, in folder: String, driveProfile: String) -> MediumSummary? {
        guard let summary = try? CartridgeStore(directory: folder).summary(barcode: cartridge.barcode) else {
            return nil
        }
        let code = summary.identity.densityCode
        let density = (try? self.driveProfile(driveProfile))?.density(code: code)
        let format = density?.description ?? "density 0x\(String(code, radix: 16, uppercase: true))"
        return MediumSummary(kind: format + (summary.identity.isWORM ? ", WORM" : ""), used: summary.usedBytes)
    }

    private static func look(at cartridge: CartridgeRecord, in folder: String) -> (CartridgeProblem?, LossSummary?) {
        do {
            let (identity, loss) = try CartridgeStore(directory: folder).inspect(barcode: cartridge.barcode)
            guard identity.barcode == cartridge.barcode, identity.mediumSerialNumber == cartridge.serialNumber else {
                let problem = CartridgeProblem(
                    .damaged,
                    "its files are those of cartridge '\(identity.barcode)' with serial number "
                        + "'\(identity.mediumSerialNumber)'", isForeign: true)
                return (problem, nil)
            }
            return (nil, loss.map { LossSummary($0) })
        } catch {
            return (CartridgeProblem(error), nil)
        }
    }

    /// Does `work` for all elements, several at a time, on `threads` where they are given; none is begun after one has
    /// failed.
    private static func each<Element: Sendable, Failure>(
        _ elements: [Element], on threads: WorkerThreads? = nil,
        _ work: @escaping @Sendable (Element) throws(Failure) -> Void
    ) throws(Failure) {
        let failure = Lock<Failure?>(nil)
        let group = DispatchGroup()
        let workers = min(threads == nil ? Limit.cartridgeExaminers : Limit.cartridgeWorkers, elements.count)
        for worker in 0..<workers {
            let part: @Sendable () -> Void = {
                for index in stride(from: worker, to: elements.count, by: workers) {
                    guard failure.withLock({ $0 == nil }) else { return }
                    do throws(Failure) {
                        try work(elements[index])
                    } catch {
                        failure.withLock { first in if first == nil { first = error } }
                    }
                }
            }
            guard let threads else {
                DispatchQueue.global().async(group: group, execute: part)
                continue
            }
            group.enter()
            threads.submit {
                part()
                group.leave()
            }
        }
        group.wait()
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}
