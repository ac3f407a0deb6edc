import Catalog
import Logging
import Platform
import Resources

// The one loop: at the start over all rows, later over those that are not as they should be, again and again.
extension ControlPlane {
    /// How many things are tried again in one round; the others have their turn in the next ones.
    static let triedAgainAtMost = 64

    // MARK: The start

    /// Ends what is unfinished, serves what is complete, and notes what cannot be; everything else goes on, beside what
    /// does not answer too.
    ///
    /// - Parameter isStrict: Whether to refuse when something cannot be served.
    func reconcileAll(isStrict: Bool) throws(ManagementError) {
        // The files that are the daemon's own are looked at once for all disks.
        let ownFiles = KnownOwnFiles(of: folder, looks)
        let disks = DiskReconciliation(plane: self, ownFiles: { ownFiles.files })
        let libraries = LibraryReconciliation(plane: self)
        let answering = disks.answering(try disks.rows(), self)
            .union(libraries.answering(try libraries.rows(), self))
        try finalizeAll(disks, answering)
        try finalizeAll(libraries, answering)
        noteUnclaimedFiles(try unclaimedFiles(answering))
        let rows = try disks.rows()
        try convergeAll(disks, rows.filter { !$0.spec.isEncrypted }, answering, isStrict)
        try convergeAll(libraries, try libraries.rows(), answering, isStrict)
        // Their keys may come from somewhere that does not answer: nothing else waits for that.
        let encrypted = rows.filter { $0.spec.isEncrypted && disks.observe($0) == .unserved }
        for first in stride(from: 0, to: encrypted.count, by: UserKeySource.sideBySide) {
            let some = Array(encrypted[first..<min(first + UserKeySource.sideBySide, encrypted.count)])
            var disks = disks
            disks.keys = userKeys(
                of: some.filter { answering.contains($0.name) }.map { (name: $0.name, spec: $0.spec) })
            try convergeAll(disks, some, answering, isStrict)
        }
    }

    private func finalizeAll<Kind: Reconciliation>(_ kind: Kind, _ answering: Set<String>) throws(ManagementError) {
        for row in try kind.rows() {
            let name = kind.name(of: row)
            guard kind.observe(row) == .unfinished else {
                if answering.contains(name) { try kind.finalizeParts(of: row) }
                continue
            }
            do throws(ManagementError) {
                guard answering.contains(name) else { throw kind.silence(row, looks) }
                try kind.finalize(row)
                logger.notice("what was interrupted is removed", metadata: [Kind.kind: "\(name)"])
            } catch {
                noteRemains(of: name, Kind.kind, error)
            }
        }
    }

    private func convergeAll<Kind: Reconciliation>(
        _ kind: Kind, _ rows: [Kind.Row], _ answering: Set<String>, _ isStrict: Bool
    ) throws(ManagementError) {
        for row in rows where kind.observe(row) == .unserved {
            let name = kind.name(of: row)
            do throws(ManagementError) {
                guard answering.contains(name) else { throw kind.silence(row, looks) }
                try kind.converge(row)
            } catch {
                guard !isStrict else {
                    // What the catalog asks for makes no sense to this program: that is no mistake of the command line.
                    throw ManagementError(
                        error.code == .system || error.code == .internal ? error.code : .damaged,
                        "\(error.message); repair it, or start without --strict to serve everything else")
                }
                noteUnserved(name, Kind.kind, error)
            }
        }
    }

    // MARK: Later

    /// Looks where the files of all that runs should be, and notes what is not there any more. Gives the names of what
    /// does not run or is unfinished, for `reconcile(_:)`, at most `triedAgainAtMost` of them. Beside all changes.
    func observeAll() throws(ManagementError) -> [String] {
        let storage = storageProblems()
        if areNew(storageProblems: storage) {
            for problem in storage { logger.error("\(problem)") }
            if storage.isEmpty { logger.notice("changes are possible again") }
        }
        let names =
            try observe(DiskReconciliation(plane: self, ownFiles: { OwnFiles() }))
            + observe(LibraryReconciliation(plane: self))
        return turn(of: names)
    }

    private func observe<Kind: Reconciliation>(_ kind: Kind) throws(ManagementError) -> [String] {
        var names: [String] = []
        let rows = try kind.rows()
        // From which file each was served comes first: what is found out later is of that one.
        let served = Dictionary(
            rows.map { (kind.name(of: $0), servedFile(of: kind.name(of: $0))) }, uniquingKeysWith: { first, _ in first }
        )
        let observations = looks.look(at: rows.map { (name: kind.name(of: $0), item: $0) }) { kind.observe($0) }
        for row in rows {
            let name = kind.name(of: row)
            let served = served[name] ?? nil
            switch observations[name] {
            case nil:
                // Where too many others hang, nobody has asked.
                if looks.hangs(name) { noteDetached(kind.silence(row, looks).message, name, Kind.kind, since: served) }
                if served == nil, problems[name] != nil { names.append(name) }
            // Another thread may be making or deleting it just now; what nobody works on has a problem.
            case .unserved, .unfinished: if problems[name] != nil { names.append(name) }
            case .served: noteDetached(nil, name, Kind.kind, since: served)
            case .detached(let sentence): noteDetached(sentence, name, Kind.kind, since: served)
            }
        }
        return names
    }

    /// Has the disk or library `name`, which nobody changes meanwhile, become what its row asks for. True when it is,
    /// or has gone. `ownFiles` are those of the round.
    func reconcile(_ name: String, _ ownFiles: KnownOwnFiles) throws(ManagementError) -> Bool {
        guard problems[name] != nil else { return true }
        let disks = DiskReconciliation(plane: self, ownFiles: { ownFiles.files })
        var isDone = try reconcile(name, disks)
        if isDone == nil { isDone = try reconcile(name, LibraryReconciliation(plane: self)) }
        guard let isDone else {
            setProblem(nil, of: name)
            return true
        }
        return isDone
    }

    /// Nil when there is none of that name.
    private func reconcile<Kind: Reconciliation>(_ name: String, _ kind: Kind) throws(ManagementError) -> Bool? {
        guard let row = try kind.row(name) else { return nil }
        // What is served already, or hangs, is not touched.
        let isDue = servedFile(of: name) == nil
        let isSilent = isDue && kind.answering([row], self).isEmpty
        switch isDue ? kind.observe(row) : .served {
        case .served, .detached: break
        case .unserved:
            do throws(ManagementError) {
                guard !isSilent else { throw kind.silence(row, looks) }
                try kind.converge(row)
            } catch {
                noteUnserved(name, Kind.kind, error)
                return false
            }
            logger.notice("served", metadata: [Kind.kind: "\(name)"])
        case .unfinished:
            do throws(ManagementError) {
                guard !isSilent else { throw kind.silence(row, looks) }
                try kind.finalize(row)
            } catch {
                noteRemains(of: name, Kind.kind, error)
                return false
            }
            logger.notice("what was interrupted is removed", metadata: [Kind.kind: "\(name)"])
        }
        setProblem(nil, of: name)
        return true
    }

    // MARK: Notes

    /// Says why something is not served, and logs it unless it was said before.
    private func noteUnserved(_ name: String, _ kind: String, _ error: ManagementError) {
        guard problems[name] != error.message else { return }
        setProblem(error.message, of: name)
        logger.error("not served", metadata: [kind: "\(name)", "reason": "\(error.message)"])
    }

    private func noteDetached(_ sentence: String?, _ name: String, _ kind: String, since served: FileStatus.Identity?) {
        guard let served, setDetachment(sentence, of: name, servedFrom: served) else { return }
        if let sentence {
            logger.error("files are not in their place", metadata: [kind: "\(name)", "reason": "\(sentence)"])
        } else {
            logger.notice("files are in their place again", metadata: [kind: "\(name)"])
        }
    }
}
