public import Catalog
import ChangerDevice
import Dispatch
import ISCSIPort
import Logging
import Media
import Platform
import Profiles
public import Resources
import TapeDevice
import TargetCore

/// A library that runs.
struct RunningLibrary {
    let name: String
    let changer: ChangerDeviceServer
    let drives: [LibraryDrive]
    let register: CartridgeRegister
}

extension LocalDevices {
    // MARK: Profiles

    /// Refuses unknown profiles and more elements than a profile has.
    public func check(_ library: NewLibrary) throws(ManagementError) {
        let profile = try libraryProfile(library.profile)
        _ = try driveProfile(library.driveProfile)
        func range(_ least: Int, _ most: Int64, _ elements: ElementRangeProfile) -> ClosedRange<Int> {
            least...min(Int(most), elements.maximumCount)
        }
        let counts = [
            ("drives", library.driveCount, range(1, Library.maximumDrives, profile.dataTransfer)),
            ("slots", library.slotCount, range(1, Library.maximumSlots, profile.storage)),
            ("mail slots", library.mailSlotCount, range(0, Library.maximumMailSlots, profile.importExport)),
        ]
        for (what, count, range) in counts where !range.contains(count) {
            throw ManagementError(
                .invalid,
                "\(what) \(count) is not possible in a library of profile '\(profile.name)'; "
                    + "give \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// Refuses labels that the library's scanner or its drives refuse.
    public func checkBarcode(
        _ barcode: String, libraryProfile: String, driveProfile: String
    ) throws(ManagementError) {
        let library = try self.libraryProfile(libraryProfile)
        if let problem = library.problem(withBarcode: barcode) {
            throw ManagementError(
                .invalid, "barcode '\(barcode)' \(problem) in a library of profile '\(library.name)'")
        }
        let drive = try self.driveProfile(driveProfile)
        switch drive.medium(barcode: barcode) {
        case .data: break
        case .cleaning:
            throw ManagementError(
                .invalid,
                "barcode '\(barcode)' is that of a cleaning cartridge, and virtual drives need none; choose another "
                    + "beginning")
        case .unusable:
            throw ManagementError(
                .invalid,
                "barcode '\(barcode)' is of a kind of cartridge that drives of profile '\(drive.name)' cannot use; "
                    + "choose another ending")
        }
    }

    /// The capacity of the format that the label means.
    public func nativeCapacity(barcode: String, driveProfile: String) -> Int64 {
        guard let profile = try? self.driveProfile(driveProfile),
            case .data(let density, _) = profile.medium(barcode: barcode)
        else { return 0 }
        return Int64(density.capacityMegabytes) * 1_000_000
    }

    /// That of the drive's own format.
    public func barcodeSuffix(driveProfile: String) -> String {
        (try? self.driveProfile(driveProfile))?.defaultDensity.barcodeSuffixes.first ?? ""
    }

    private func libraryProfile(_ name: String) throws(ManagementError) -> LibraryProfile {
        try profiles.library(named: name)
    }

    func driveProfile(_ name: String) throws(ManagementError) -> DriveProfile {
        try profiles.drive(named: name)
    }

    /// The profiles of a library that is to be started, by the drives' names.
    private func profiles(
        of library: LibraryRecord
    ) throws(ManagementError) -> (library: LibraryProfile, drives: [String: DriveProfile]) {
        do throws(ManagementError) {
            var drives: [String: DriveProfile] = [:]
            for drive in library.drives where drives[drive.profile] == nil {
                drives[drive.profile] = try driveProfile(drive.profile)
            }
            return (try libraryProfile(library.profile), drives)
        } catch {
            throw ManagementError(.damaged, "library '\(library.name)': \(error.message)")
        }
    }

    // MARK: Libraries

    /// Puts changer and drives on one reactor, loads what is in the drives, and offers the target, closed. Drives could
    /// live on different reactors; but then a session with several of them reaches some through a relay, which costs a
    /// copy and hand-overs between threads for each command.
    public func startLibrary(
        _ library: LibraryRecord, cartridges: [CartridgeRecord], cartridgeFolder: String, targetName: String
    ) throws(ManagementError) {
        let (profile, driveProfiles) = try profiles(of: library)
        guard library.drives.indices.allSatisfy({ library.drives[$0].number == $0 + 1 }) else {
            throw ManagementError(
                .damaged,
                "library '\(library.name)': its \(library.drives.count) drives in the catalog "
                    + "are not numbered from 1 on")
        }
        let home = reactors[libraries.withLock { $0.count } % reactors.count]
        let store = CartridgeStore(directory: cartridgeFolder)
        let register = CartridgeRegister()
        var drives: [LibraryDrive] = []
        for drive in library.drives {
            guard let driveProfile = driveProfiles[drive.profile] else { continue }
            let identity = TapeDeviceServer.identity(
                serialNumber: drive.identity.serialNumber, naa: drive.identity.naaIdentifier, profile: driveProfile)
            let server = TapeDeviceServer(identity: identity, profile: driveProfile, reactor: home)
            drives.append(
                LibraryDrive(
                    server, cartridges: store, register: register, checks: checks,
                    name: "drive:\(drive.number) of \(library.name)", failures: failures, logger: logger,
                    whenMicrocodeChanged: microcodeLog.note(
                        of: "\(library.name)/\(ElementAddress(kind: .drive, number: drive.number))", kind: "drive")))
        }
        let changer: ChangerDeviceServer
        do {
            changer = try ChangerDeviceServer(
                serialNumber: library.identity.serialNumber, naa: library.identity.naaIdentifier, profile: profile,
                reactor: home, drives: drives, slotCount: library.slotCount,
                mailSlotCount: library.mailSlotCount, contents: Self.contents(cartridges),
                inventory: CatalogInventory(catalog, library: library.identity.id))
        } catch {
            throw ManagementError(.damaged, "library '\(library.name)': \(error)")
        }
        let changerUnit = LogicalUnit(
            changer, whenFailed: failures.note(of: library.name, kind: "library"),
            whenMicrocodeChanged: microcodeLog.note(of: library.name, kind: "library"))
        let target = Target(
            name: targetName, alias: library.name, homeReactor: Self.home(of: [changerUnit] + drives.map(\.unit)))
        target.map(changerUnit, at: 0)
        for (index, drive) in drives.enumerated() { target.map(drive.unit, at: index + 1) }
        reload(cartridges, into: drives)
        let running = RunningLibrary(
            name: library.name, changer: changer, drives: drives, register: register)
        libraries.withLock { $0[library.identity.id] = running }
        var units = [library.identity.id: changerUnit]
        for (record, drive) in zip(library.drives, drives) { units[record.identity.id] = drive.unit }
        begin(target, units)
    }

    /// The reactor that is the home of all of `units` that have one; nil when they have several, or none. Sessions with
    /// these units run there, and on any reactor otherwise.
    static func home(of units: some Sequence<LogicalUnit>) -> Reactor? {
        let homes = units.compactMap(\.homeReactor)
        return homes.allSatisfy { $0 === homes[0] } ? homes.first : nil
    }

    /// Offers the library no longer, and closes its cartridges.
    public func stopLibrary(_ library: LibraryRecord, targetName: String) {
        end(targetName, [library.identity.id] + library.drives.map(\.identity.id))
        guard let running = libraries.withLock({ $0.removeValue(forKey: library.identity.id) }) else { return }
        close(running)
    }

    /// Has the robot move the cartridge; the catalog follows by `CatalogInventory`.
    public func move(
        _ move: CartridgeMove, of cartridge: CartridgeRecord, in library: LibraryRecord
    ) throws(ManagementError) {
        guard let running = libraries.withLock({ $0[library.identity.id] }) else {
            throw Self.unserved("library", library.name)
        }
        let outcome = Outcome<MoveRefusal?>()
        running.changer.relocate(
            move.barcode, from: move.origin.place, to: move.destination.place, context: Requester.current
        ) {
            outcome.set($0)
        }
        guard let result = outcome.wait(atMost: Limit.moveWait) else {
            throw ManagementError(
                .system, "the move of cartridge '\(move.barcode)' takes long; 'carousel tape show' tells where it gets")
        }
        guard let refusal = result else { return }
        let code: ManagementError.Code =
            switch refusal {
            case .removalPrevented: .inUse
            // All that can be said without the catalog was asked before.
            case .notCommitted: .system
            default: .conflict
            }
        throw ManagementError(
            code,
            "cartridge '\(move.barcode)' was not moved from \(move.origin) to \(move.destination): \(refusal)")
    }

    /// Closes the cartridges of a library, all drives at once; false when one could not be written out.
    @discardableResult
    func close(_ library: RunningLibrary) -> Bool {
        let outcomes = library.drives.map { drive in
            let outcome = Outcome<Bool>()
            drive.close { outcome.set($0) }
            return outcome
        }
        var isWritten = true
        for outcome in outcomes {
            let answer = outcome.wait(atMost: Limit.closeWait)
            if answer == nil {
                logger.error("a drive did not close its cartridge in time", metadata: ["library": "\(library.name)"])
            }
            if answer != true { isWritten = false }
        }
        return isWritten
    }

    /// Loads the cartridges that were in drives when the daemon ended, all at once.
    private func reload(_ cartridges: [CartridgeRecord], into drives: [LibraryDrive]) {
        var outcomes: [Outcome<Bool>] = []
        for cartridge in cartridges {
            guard let element = cartridge.location.element, element.kind == .drive else { continue }
            let outcome = Outcome<Bool>()
            drives[element.number - 1].load(cartridge.barcode) { outcome.set(true) }
            outcomes.append(outcome)
        }
        for outcome in outcomes where outcome.wait(atMost: Limit.moveWait) == nil {
            logger.error("a drive did not load its cartridge in time")
        }
    }

    private static func contents(_ cartridges: [CartridgeRecord]) -> [LibraryElement: ElementContent] {
        var contents: [LibraryElement: ElementContent] = [:]
        for cartridge in cartridges {
            guard let element = cartridge.location.element else { continue }
            contents[element.libraryElement] = ElementContent(
                barcode: cartridge.barcode, source: cartridge.source?.libraryElement,
                isImported: cartridge.isImported)
        }
        return contents
    }
}
