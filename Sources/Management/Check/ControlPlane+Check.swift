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

    /// What those names mean: the catalog and everything when there are none. Images are mended only for who names a
    /// disk that is in them; what is mended leaves an event on behalf of who asks now.
    func checkSubjects(_ names: [String], repairs: Bool) throws(ManagementError) -> [CheckSubject] {
        var subjects: [CheckSubject] = []
        // An image of several disks is read once, on behalf of one that is checked.
        var images: Set<String> = []
        func add(_ disk: DiskRecord) {
            let isReader =
                disk.phase == .complete
                && (disk.node == nil || images.insert(folder.imagePath(disk.image)).inserted)
            subjects.append(subject(disk, repairs: repairs && !names.isEmpty, isReader: isReader))
        }
        if names.isEmpty {
            subjects.append(catalogSubject())
            for disk in try query({ () throws(CatalogError) in try catalog.disks() }) { add(disk) }
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
                if known.insert(disk.name).inserted { add(disk) }
            } else if let library = try query({ () throws(CatalogError) in try catalog.library(named: name) }) {
                for cartridge in try cartridgeRecords(library) { add(cartridge, library) }
            } else {
                throw ManagementError(
                    .notFound, "there is no disk and no library '\(name)'; a cartridge is written LIBRARY/BARCODE")
            }
        }
        return repairs ? subjects.map { recordingRepairs($0) } : subjects
    }

    /// The subject; what is mended of it leaves an event on behalf of who asks now.
    private func recordingRepairs(_ subject: CheckSubject) -> CheckSubject {
        let actor = Requester.current
        return CheckSubject(
            length: subject.length,
            // The control plane has the check, and so what it runs.
            check: { [weak self] observer in
                let findings = subject.check(observer)
                self?.recordRepairs(findings, by: actor)
                return findings
            })
    }

    private func recordRepairs(_ findings: [Finding], by actor: EventActor) {
        let mended = findings.filter(\.isRepaired)
        guard let first = mended.first else { return }
        let new: JSONValue = ["mended": mended.map(\.sentence).json]
        record(
            NewEvent(
                time: Date(), actor: actor, kind: first.kind.rawValue, name: first.name, verb: "repair",
                new: new.serialized))
        logger.notice("repaired", metadata: ["kind": "\(first.kind.rawValue)", "name": "\(first.name)"])
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

    /// An image of several disks is read, and mended, by the first of them that is complete: `isReader`.
    private func subject(_ disk: DiskRecord, repairs: Bool, isReader: Bool) -> CheckSubject {
        guard disk.phase == .complete else {
            return note(.disk, disk.name, "it is not there any more, but not all of it is removed")
        }
        if disk.spec.isInMemory {
            return note(
                .disk, disk.name, "its content is in memory only, nothing of it is stored, and it was not checked")
        }
        let path = folder.imagePath(disk.image)
        let loss = assembly.loss(ofDisk: disk).map { Self.sentence($0, ofDisk: disk.name) }
        let assembly = assembly
        return CheckSubject(
            length: { isReader ? (try? FileStatus.of(path).length) ?? 0 : 0 },
            check: { observer in
                let findings = isReader ? ImageCheck.findings(of: disk, path: path, loss: loss, observer) : []
                guard let node = disk.node else { return findings }
                return findings
                    + Self.findings(
                        of: disk, node, path, assembly, repairs, isReader, observer)
            })
    }

    /// What is wrong with the maps and snapshots in the image of `disk`; another disk reads them unless `isReader`.
    private static func findings(
        of disk: DiskRecord, _ node: String, _ path: String, _ assembly: any DeviceAssembly, _ repairs: Bool,
        _ isReader: Bool, _ observer: (Int64) -> Bool
    ) -> [Finding] {
        func finding(_ severity: Finding.Severity, _ sentence: String, isRepaired: Bool = false) -> Finding {
            Finding(
                .disk, disk.name, severity, "its image \(path): \(sentence)", isRepairable: isRepaired,
                isRepaired: isRepaired)
        }
        var findings: [Finding] = []
        do throws(ManagementError) {
            if isReader, repairs {
                let repair = try assembly.repair(image: path)
                findings += repair.mended.map { finding(.error, $0, isRepaired: true) }
                findings += repair.unmended.map { finding(.error, $0) }
            }
            if isReader {
                // The bytes of the file are counted already.
                findings += try assembly.check(image: path) { _ in observer(0) }.map { finding(.error, $0) }
            }
            if try !assembly.has(node: node, inImage: path) {
                findings.append(finding(.error, "it does not have '\(node)', and is that of another disk"))
            }
        } catch {
            findings.append(Finding(.disk, disk.name, .error, error.message))
        }
        return findings
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
