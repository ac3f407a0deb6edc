import Catalog
import Logging
public import Resources

// What is there and unknown, what may be damaged, and profiles.
extension Controller {
    // MARK: Adoption

    /// Makes a disk of an image that no disk has; its serial number and its NAA designator are new.
    @discardableResult
    public func adoptDisk(_ request: DiskAdoption) async throws(ManagementError) -> Resource<Disk> {
        var named = request
        // Where a link leads, the disk is called so, and what is called so is held.
        if request.name == nil {
            named.name = try await query(in: .long) { plane throws(ManagementError) in plane.diskName(request) }
        }
        let asked = named
        let keys = ChangeKey.device(asked.name ?? "").union([.externalImages])
        return try await change(keys) { plane throws(ManagementError) in
            try plane.adoptDisk(asked)
        }
    }

    /// Takes a cartridge that the catalog does not know into the vault of a library.
    @discardableResult
    public func adoptCartridge(
        library name: String, _ request: CartridgeAdoption
    ) async throws(ManagementError) -> Resource<Cartridge> {
        try await change(ChangeKey.device(name).union([.strayCartridges])) { plane throws(ManagementError) in
            try plane.adoptCartridge(library: name, request)
        }
    }

    /// Makes a library of a folder of cartridges that no library has.
    @discardableResult
    public func adoptLibrary(
        _ request: LibraryAdoption
    ) async throws(ManagementError) -> LibraryAdoptionResult {
        let keys = ChangeKey.device(request.name).union([.strayCartridges])
        return try await change(keys, in: .long) { plane throws(ManagementError) in
            try plane.adoptLibrary(request)
        }
    }

    // MARK: Checks

    /// Begins a check, and gives the job that does it; there may be none under way.
    public func startCheck(_ request: CheckRequest) async throws(ManagementError) -> JobSummary {
        var keys: Set<ChangeKey> = [.check]
        if request.repairs {
            // What is being copied is not repaired behind the copy's back. Images that nobody names are not repaired.
            let names =
                request.names.isEmpty
                ? try await query { plane throws(ManagementError) in
                    try plane.query { () throws(CatalogError) in try plane.catalog.libraries() }.map(\.name)
                } : request.names
            keys.formUnion(names.map { ChangeKey.media(of: $0) })
        }
        return try await change(keys) { [jobs] plane throws(ManagementError) in
            try plane.startCheck(request, jobs).summary
        }
    }

    /// The same, and waits for its end as `patience` says.
    public func check(
        _ request: CheckRequest, _ patience: Patience
    ) async throws(ManagementError) -> RequestOutcome {
        let job = try await startCheck(request).id
        return try await finish(job, patience) ? .done(nil) : .started(try self.job(job).resource.json)
    }

    /// How far the last check is, and what it has found.
    public func checkStatus() async throws(ManagementError) -> CheckStatus {
        try await query { plane throws(ManagementError) in try plane.checkStatus() }
    }

    // MARK: Profiles

    /// The profiles that can be used, libraries first; their files are read again.
    public func profileSummaries() async throws(ManagementError) -> [ProfileSummary] {
        try await query(in: .long) { plane throws(ManagementError) in try plane.profileSummaries() }
    }

    /// The profile `name` with what it decides.
    public func profile(_ name: String) async throws(ManagementError) -> ProfileDetail {
        try await query(in: .long) { plane throws(ManagementError) in try plane.profile(name) }
    }

    /// Puts a profile into the state folder, if nothing is wrong with it.
    @discardableResult
    public func addProfile(_ request: ProfileAddition) async throws(ManagementError) -> ProfileSummary {
        try await change([.profiles]) { plane throws(ManagementError) in try plane.addProfile(request) }
    }

    // MARK: Reloading

    /// Reads again what the daemon reads from files when it starts: the CHAP secrets, the tokens, and the media of
    /// disks and libraries that it could not serve, which it then serves; and opens portals that it could not open. The
    /// log says what was done, and why something was not.
    public func reload() async {
        do throws(ManagementError) {
            try await change([.access]) { plane throws(ManagementError) in try plane.reloadSecrets() }
        } catch {
            plane.logger.error("the CHAP secrets stay as they were", metadata: ["reason": "\(error.message)"])
        }
        do throws(ManagementError) {
            try await change([.tokens]) { plane throws(ManagementError) in plane.reloadTokens() }
        } catch {
            plane.logger.error("the tokens stay as they were", metadata: ["reason": "\(error.message)"])
        }
        do throws(ManagementError) {
            _ = try await change([.access, .portals]) { plane throws(ManagementError) in plane.openAgain() }
        } catch {
            plane.logger.error("portals were not tried again", metadata: ["reason": "\(error.message)"])
        }
        let (served, missed) = await reconcile()
        plane.logger.notice("reloaded", metadata: ["newly served": "\(served)", "not served": "\(missed)"])
    }

    // MARK: Reconciling

    /// One round: notes what is not where it should be, and tries again to serve what is not served, and to remove what
    /// is unfinished. How many things are as they should be now, and how many still are not.
    @discardableResult
    func reconcile() async -> (done: Int, missed: Int) {
        var (done, missed) = (0, 0)
        let names: [String]
        do throws(ManagementError) {
            names = try await query(in: .long) { plane throws(ManagementError) in try plane.observeAll() }
        } catch {
            plane.logger.error("what is not served was not tried again", metadata: ["reason": "\(error.message)"])
            return (0, 0)
        }
        do throws(ManagementError) {
            try await query(in: .long) { plane throws(ManagementError) in plane.observeThresholds() }
        } catch {
            plane.logger.error("thresholds were not looked at", metadata: ["reason": "\(error.message)"])
        }
        let ownFiles = KnownOwnFiles(of: folder, plane.looks)
        for name in names {
            var isDone = false
            do throws(ManagementError) {
                isDone = try await change(
                    ChangeKey.device(name), in: .long, patience: Limit.patience, beginning: Limit.roundPatience,
                    waitsForCopies: true
                ) { plane throws(ManagementError) in try plane.reconcile(name, ownFiles) }
            } catch KeyedQueue<ChangeKey>.isLate {
                // Perhaps for hours. The next round comes soon.
                plane.logger.info("not tried again, for others are at work at it", metadata: ["name": "\(name)"])
            } catch {
                // What is wrong with one keeps no other from its turn.
                plane.logger.error("not tried again", metadata: ["name": "\(name)", "reason": "\(error.message)"])
            }
            if isDone { done += 1 } else { missed += 1 }
        }
        return (done, missed)
    }
}
