import Catalog
import Foundation
import Logging
import Platform
import Resources

// Checks of what the daemon keeps. They run beside everything else; one at a time.
extension ControlPlane {
    /// Begins a check, as a job of `jobs`; there may be none under way.
    func startCheck(_ request: CheckRequest, _ jobs: JobRegistry) throws(ManagementError) -> Job {
        if let check, check.isRunning {
            throw ManagementError(
                .conflict,
                "a check is under way already, job \(check.status.job); wait for its end with 'carousel job wait "
                    + "\(check.status.job)', or cancel it")
        }
        let names = request.names
        let subjects = try checkSubjects(names, repairs: request.repairs)
        let subject = Job.Subject(
            verb: "check", kind: names.isEmpty ? "everything" : "media", name: names.joined(separator: ", "),
            unit: JobSummary.bytes)
        let check = Check(subjects, repairs: request.repairs)
        // It only waits: a check has threads of its own.
        let job = try jobs.start(subject, total: 0) { job async throws(ManagementError) in
            await check.finished()
            if check.status.isCancelled { try job.check() }
        }
        check.begin(as: job)
        self.check = check
        logger.info("check begun", metadata: ["subjects": "\(subjects.count)", "job": "\(job.id)"])
        return job
    }

    /// How far the last check is, and what it has found.
    func checkStatus() throws(ManagementError) -> CheckStatus {
        guard let check else {
            throw ManagementError(.notFound, "nothing was checked since the daemon started; 'carousel check' does")
        }
        return check.status
    }

    /// What those names mean: the catalog and everything when there are none.
    private func checkSubjects(_ names: [String], repairs: Bool) throws(ManagementError) -> [CheckSubject] {
        var subjects: [CheckSubject] = []
        if names.isEmpty {
            subjects.append(catalogSubject())
            for disk in try query({ () throws(CatalogError) in try catalog.disks() }) { subjects.append(subject(disk)) }
            for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
                subjects += try cartridgeRecords(library).map { subject($0, library, repairs) }
            }
        }
        // What is named twice is checked once.
        var known: Set<String> = []
        func add(_ cartridge: CartridgeRecord, _ library: LibraryRecord) {
            guard known.insert("\(library.name)/\(cartridge.barcode)").inserted else { return }
            subjects.append(subject(cartridge, library, repairs))
        }
        for name in names {
            let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts.count == 2 {
                let library = try libraryRecord(parts[0])
                add(try cartridgeRecord(parts[1], library: library), library)
            } else if let disk = try query({ () throws(CatalogError) in try catalog.disk(named: name) }) {
                if known.insert(disk.name).inserted { subjects.append(subject(disk)) }
            } else if let library = try query({ () throws(CatalogError) in try catalog.library(named: name) }) {
                for cartridge in try cartridgeRecords(library) { add(cartridge, library) }
            } else {
                throw ManagementError(
                    .notFound, "there is no disk and no library '\(name)'; a cartridge is written LIBRARY/BARCODE")
            }
        }
        return subjects
    }

    private func catalogSubject() -> CheckSubject {
        let (catalog, path) = (catalog, folder.catalogPath)
        let unclaimed = unclaimed
        return CheckSubject(
            length: { (try? FileStatus.of(path).length) ?? 0 },
            check: { _ in
                let strangers = unclaimed.map { Finding(.catalog, path, .note, "it does not know \($0)") }
                do throws(CatalogError) {
                    return try catalog.check().map {
                        Finding(.catalog, path, .error, "\($0); put it back from a backup with 'carousel restore'")
                    } + strangers
                } catch {
                    if case .full(let reason) = error {
                        let sentence = "it cannot be checked now: \(reason); make room, and check it again then"
                        return [Finding(.catalog, path, .warning, sentence)] + strangers
                    }
                    return [Finding(.catalog, path, .error, "it cannot be read: \(error)")] + strangers
                }
            })
    }

    private func subject(_ disk: DiskRecord) -> CheckSubject {
        guard disk.phase == .complete else {
            return note(.disk, disk.name, "it is not there any more, but not all of it is removed")
        }
        let path = folder.imagePath(disk.image)
        let loss = assembly.loss(ofDisk: disk).map { Self.sentence($0, ofDisk: disk.name) }
        let assembly = assembly
        return CheckSubject(
            length: { (try? FileStatus.of(path).length) ?? 0 },
            check: { observer in
                ImageCheck.findings(of: disk, path: path, loss: loss, observer)
                    + (disk.node == nil ? [] : Self.findings(ofNodesOf: disk, path, assembly))
            })
    }

    /// What is wrong with the maps and snapshots in the image of `disk`.
    private static func findings(
        ofNodesOf disk: DiskRecord, _ path: String, _ assembly: any DeviceAssembly
    ) -> [Finding] {
        do throws(ManagementError) {
            let found = try assembly.check(image: path)
            let hasNode = try assembly.nodes(inImage: path).contains { $0.name == disk.node }
            let missing = hasNode ? [] : ["it does not have '\(disk.node ?? disk.name)', and is that of another disk"]
            return (missing + found).map { Finding(.disk, disk.name, .error, "its image \(path): \($0)") }
        } catch {
            return [Finding(.disk, disk.name, .error, error.message)]
        }
    }

    private func subject(_ cartridge: CartridgeRecord, _ library: LibraryRecord, _ repairs: Bool) -> CheckSubject {
        let name = "\(library.name)/\(cartridge.barcode)"
        guard cartridge.phase == .complete, library.phase == .complete else {
            return note(.cartridge, name, "it is not complete, or being deleted")
        }
        if let element = cartridge.location.element, element.kind == .drive {
            return note(.cartridge, name, "it is in \(element) and was not checked")
        }
        let (assembly, path) = (assembly, folder.libraryPath(library.name))
        let data = folder.cartridgePath(cartridge.barcode, library: library.name) + "/partition0.data"
        return CheckSubject(
            length: { (try? FileStatus.of(data).length) ?? 0 },
            check: { assembly.check(cartridge, of: library, in: path, repairs: repairs, observer: $0) })
    }

    private func note(_ kind: Finding.Kind, _ name: String, _ sentence: String) -> CheckSubject {
        CheckSubject(length: { 0 }, check: { _ in [Finding(kind, name, .note, sentence)] })
    }
}
