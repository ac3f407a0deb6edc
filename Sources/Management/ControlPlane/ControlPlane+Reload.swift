import Catalog
import Logging
import Resources

extension ControlPlane {
    /// Takes over the file of secrets as it is now. Where a place has no secrets any more nobody would get in, so that
    /// is refused: a start would keep them out too, but whoever edits the file may not mean it.
    func reloadSecrets() throws(ManagementError) {
        let new = try SecretStore(path: folder.secretsPath, isRemembered: true)
        let lost = secrets.entries.keys.count { new.entries[$0] == nil }
        guard lost == 0 else {
            throw ManagementError(
                .damaged,
                "\(folder.secretsPath) lacks those of \(Counted.text(lost, "place")), where nobody would get in then; "
                    + "put it back, or forget them with 'carousel chap delete'")
        }
        // Before they are in force, so that the loss of the file opens nothing later.
        try rememberAuthentication(of: new)
        secrets.replace(with: new)
        try configureFrontEnd()
    }

    /// The disks and libraries that could not be started, by name.
    func namesNotServed() throws(ManagementError) -> [String] {
        let disks = try query { () throws(CatalogError) in try catalog.disks() }.filter { $0.phase == .complete }
        let libraries = try query { () throws(CatalogError) in try catalog.libraries() }
            .filter { $0.phase == .complete }
        let problems = problems
        return (disks.map(\.name) + libraries.map(\.name)).filter { problems[$0] != nil }
    }

    /// Starts the disk or library `name` if it could not be started; false when it still cannot be.
    func serveAgain(_ name: String) throws(ManagementError) -> Bool {
        guard problems[name] != nil else { return true }
        let disk = try query { () throws(CatalogError) in try catalog.disk(named: name) }
        let library = try query { () throws(CatalogError) in try catalog.library(named: name) }
        do throws(ManagementError) {
            if let disk, disk.phase == .complete {
                try start(disk, OwnFiles(of: folder))
            } else if let library, library.phase == .complete {
                try start(library)
            } else {
                return true
            }
        } catch {
            setProblem(error.message, of: name)
            logger.error("not served", metadata: ["name": "\(name)", "reason": "\(error.message)"])
            return false
        }
        setProblem(nil, of: name)
        logger.notice("served", metadata: ["name": "\(name)"])
        try configureFrontEnd()
        return true
    }
}
