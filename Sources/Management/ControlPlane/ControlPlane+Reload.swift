import Catalog
import Logging
import Resources

extension ControlPlane {
    /// Reads again what the daemon reads from files when it starts: the CHAP secrets, and the media of disks and
    /// libraries that it could not serve, which it then serves. Nothing that runs is touched. The log says what was
    /// done, and why something was not.
    func reload() {
        do {
            try reloadSecrets()
        } catch {
            logger.error("the CHAP secrets stay as they were", metadata: ["reason": "\(error.message)"])
        }
        do {
            let (served, missed) = try serveWhatWasNot()
            logger.notice("reloaded", metadata: ["newly served": "\(served)", "not served": "\(missed)"])
        } catch {
            logger.error("what is not served was not tried again", metadata: ["reason": "\(error.message)"])
        }
    }

    /// Takes over the file of secrets as it is now. Where a place has no secrets any more nobody would get in, so that
    /// is refused: a start would keep them out too, but whoever edits the file may not mean it.
    private func reloadSecrets() throws(ManagementError) {
        let new = try SecretStore(path: folder.secretsPath, isRemembered: true)
        let lost = secrets.entries.keys.count { new.entries[$0] == nil }
        guard lost == 0 else {
            throw ManagementError(
                .damaged,
                "\(folder.secretsPath) lacks those of \(Counted.text(lost, "place")), where nobody would get in then; "
                    + "put it back, or forget them with 'carousel chap delete'")
        }
        secrets.replace(with: new)
        try configureFrontEnd()
    }

    /// Starts the disks and libraries that could not be started: how many, and how many still cannot be.
    private func serveWhatWasNot() throws(ManagementError) -> (served: Int, missed: Int) {
        var counts = (served: 0, missed: 0)
        func tryAgain(_ name: String, _ kind: String, _ start: () throws(ManagementError) -> Void) {
            do {
                try start()
                setProblem(nil, of: name)
                counts.served += 1
                logger.notice("served", metadata: [kind: "\(name)"])
            } catch {
                setProblem(error.message, of: name)
                counts.missed += 1
                logger.error("not served", metadata: [kind: "\(name)", "reason": "\(error.message)"])
            }
        }
        let ownFiles = OwnFiles(of: folder)
        for disk in try query({ () throws(CatalogError) in try catalog.disks() })
        where disk.phase == .complete && problems[disk.name] != nil {
            tryAgain(disk.name, "disk") { () throws(ManagementError) in try start(disk, ownFiles) }
        }
        for library in try query({ () throws(CatalogError) in try catalog.libraries() })
        where library.phase == .complete && problems[library.name] != nil {
            tryAgain(library.name, "library") { () throws(ManagementError) in try start(library) }
        }
        if counts.served > 0 { try configureFrontEnd() }
        return counts
    }
}
