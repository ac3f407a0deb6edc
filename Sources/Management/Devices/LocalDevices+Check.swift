public import Catalog
import Dispatch
import Media
import Platform

/// A check of a cartridge that is under way. A drive or an operator that wants the cartridge ends it.
final class CartridgeCheck: Sendable {
    /// How long one waits at most for a check to let go of its cartridge: it does at its next read.
    static let patience = DispatchTimeInterval.seconds(30)

    private let isWanted = Lock(false)
    private let isOver = DispatchGroup()

    init() { isOver.enter() }

    /// Whether nobody wants the cartridge.
    var goesOn: Bool { !isWanted.withLock { $0 } }

    /// Says that it is over.
    func end() { isOver.leave() }

    /// Has it end, and waits until it has.
    func interrupt() {
        isWanted.withLock { $0 = true }
        _ = isOver.wait(timeout: .now() + Self.patience)
    }
}

/// The checks that are under way, by the folders of their cartridges. Any thread.
final class CartridgeChecks: Sendable {
    private let checks = Lock<[String: CartridgeCheck]>([:])

    /// Says that a check begins; false when there is one of that cartridge already.
    func begin(_ check: CartridgeCheck, _ folder: String) -> Bool {
        checks.withLock { checks in
            guard checks[folder] == nil else { return false }
            checks[folder] = check
            return true
        }
    }

    /// Says that it is over.
    func end(_ check: CartridgeCheck, _ folder: String) {
        checks.withLock { checks in if checks[folder] === check { checks[folder] = nil } }
        check.end()
    }

    /// Has the check of the cartridge end, if there is one, and waits for that.
    func interrupt(_ folder: String) {
        checks.withLock { $0[folder] }?.interrupt()
    }
}

extension LocalDevices {
    /// Reads all of a cartridge that no drive has. Whoever wants to load, delete or acknowledge it ends that.
    public func check(
        _ cartridge: CartridgeRecord, of library: LibraryRecord, in folder: String, repairs: Bool,
        observer: @escaping @Sendable (Int64) -> Bool
    ) -> [Finding] {
        let barcode = cartridge.barcode
        func finding(_ severity: Finding.Severity, _ sentence: String) -> Finding {
            Finding(.cartridge, "\(library.name)/\(barcode)", severity, sentence)
        }
        let store = CartridgeStore(directory: folder)
        let check = CartridgeCheck()
        guard checks.begin(check, store.folder(of: barcode)) else {
            return [finding(.note, "it is being checked already")]
        }
        defer { checks.end(check, store.folder(of: barcode)) }
        let register = libraries.withLock { $0[library.identity.id] }?.register
        let epoch = register?.epoch ?? 0
        let checker = CartridgeChecker(store) { observer($0) && check.goesOn }
        do {
            let report = try checker.check(barcode: barcode, repairing: repairs)
            if report.isIndexRebuilt { register?.setLoaded(nil, loss: nil, barcode, since: epoch) }
            return Self.findings(of: report, cartridge, finding)
        } catch {
            switch error {
            case .system(let error) where error.code == Errno.cancelled:
                return check.goesOn ? [] : [finding(.note, "somebody wanted it; check it again")]
            case .inUse: return [finding(.note, "it is in use and was not checked")]
            case .missing: return [finding(.error, "its files are missing")]
            case .system(let error) where error.isOfTheMoment:
                return [finding(.warning, "it cannot be checked now: \(error.reason); check it again then")]
            default: return [finding(.error, "\(error)")]
            }
        }
    }

    private static func findings(
        of report: CartridgeReport, _ cartridge: CartridgeRecord,
        _ finding: (Finding.Severity, String) -> Finding
    ) -> [Finding] {
        var findings: [Finding] = []
        if report.identity.barcode != cartridge.barcode || report.identity.mediumSerialNumber != cartridge.serialNumber
        {
            findings.append(
                finding(
                    .error,
                    "its files are those of cartridge '\(report.identity.barcode)' with serial number "
                        + "'\(report.identity.mediumSerialNumber)'"))
        } else if report.identity.capacity != cartridge.capacity {
            findings.append(
                finding(
                    .warning,
                    "its files have a capacity of \(report.identity.capacity) bytes, the catalog says "
                        + "\(cartridge.capacity)"))
        }
        for problem in report.problems {
            switch problem.kind {
            case .tail: findings.append(finding(.note, problem.sentence + "; the next load does that"))
            case .index:
                let words =
                    report.isIndexRebuilt
                    ? "; it was made anew from the data file, with the attributes that could still be read"
                    : report.isIndexRepairable ? "; --repair makes it anew from the data file" : ""
                var found = finding(.warning, problem.sentence + words)
                found.isRepairable = report.isIndexRepairable
                found.isRepaired = report.isIndexRebuilt
                findings.append(found)
            case .loss:
                findings.append(
                    finding(
                        .error,
                        problem.sentence + "; acknowledge it with 'carousel tape acknowledge-loss'"))
            case .noRoom:
                findings.append(
                    finding(.warning, problem.sentence + "; the data file was checked, and the index can be with room"))
            case .unreadIndex: findings.append(finding(.warning, problem.sentence))
            case .contradiction, .brokenBlock, .gap, .missingData:
                findings.append(finding(.error, problem.sentence))
            }
        }
        let more = report.problemCount - report.problems.count
        if more > 0 { findings.append(finding(.error, "and \(more) more")) }
        return findings
    }
}

extension SystemError {
    /// Whether the host has no means for it now, which says nothing of what it was about. A full file system is none of
    /// these: what cannot be written out for want of room is lost.
    fileprivate var isOfTheMoment: Bool {
        [Errno.tooManyOpenFiles, Errno.tooManyOpenFilesInSystem, Errno.noMemory].contains(code)
    }
}
