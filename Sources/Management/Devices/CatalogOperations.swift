import Catalog
import DiskDevice
import Dispatch
import Logging
import Platform
import Resources

/// Tells of what SANITIZE and FORMAT UNIT do to one disk: an event at the beginning, at the end and at a failure, with
/// who has asked for it, and a line in the log.
final class CatalogOperations: Sendable {
    /// How many events of a disk may wait for the catalog; what comes beyond them leaves none.
    static let waitingLimit = 16
    /// What happens to a disk is recorded in that order.
    private static let queue = DispatchQueue(label: "carousel.disk-operations")

    private let keeping: DiskKeeping
    private let waiting = Lock(0)
    private let lines: NoticePace

    /// Those of the disk `name` with the key `disk`.
    init(_ catalog: Catalog, disk: Int64, name: String, logger: Logger) {
        keeping = DiskKeeping(
            catalog, disk: disk, name: name, logger: logger,
            sentence: "an event of an operation on all blocks was not recorded",
            further: "further events of operations on all blocks were not recorded")
        lines = NoticePace { suppressed in
            logger.notice(
                "further operations on all blocks", metadata: ["disk": "\(name)", "count": "\(suppressed)"])
        }
    }

    /// On any thread, which it does not keep.
    func note(_ notice: DiskOperationNotice) {
        tell(notice)
        guard let verb = Self.verb(of: notice) else { return }
        let event = keeping.event(verb, by: notice.initiatorPort, new: Self.details(of: notice))
        let isRecorded = waiting.withLock { waiting in
            guard waiting < Self.waitingLimit else { return false }
            waiting += 1
            return true
        }
        guard isRecorded else {
            _ = keeping.keep { () throws(CatalogError) in throw .conflict("too many events wait for the catalog") }
            return
        }
        Self.queue.async { [self] in
            _ = keeping.keep { () throws(CatalogError) in try keeping.catalog.record(event) }
            waiting.withLock { $0 -= 1 }
        }
    }

    /// Nil where another event tells of it.
    private static func verb(of notice: DiskOperationNotice) -> String? {
        let command = notice.method == .format ? "format" : "sanitize"
        return switch notice.change {
        case .begun: "begin-\(command)"
        case .ended(changesProtection: true): nil
        case .ended: command
        case .failed: "fail-\(command)"
        case .exited: "exit-failure-mode"
        }
    }

    private static func details(of notice: DiskOperationNotice) -> JSONValue? {
        var details: [String: JSONValue] = [:]
        if notice.method != .format { details["method"] = .text(OperationMethod(notice.method).rawValue) }
        if case .failed(let failure) = notice.change { details["reason"] = .text("\(failure)") }
        return details.isEmpty ? nil : .object(details)
    }

    private func tell(_ notice: DiskOperationNotice) {
        guard lines.admits() else { return }
        var metadata: Logger.Metadata = [
            "disk": "\(keeping.name)", "operation": "\(OperationMethod(notice.method).rawValue)",
        ]
        if let port = notice.initiatorPort {
            metadata["initiator"] = "\(PrintableText.escaped(CatalogInventory.initiatorName(ofPort: port)))"
        }
        switch notice.change {
        case .begun: keeping.logger.notice("an operation on all blocks begins", metadata: metadata)
        case .ended: keeping.logger.notice("an operation on all blocks has ended", metadata: metadata)
        case .exited:
            keeping.logger.notice("the failure of an operation on all blocks was ended", metadata: metadata)
        case .failed(let failure):
            metadata["reason"] = "\(failure)"
            keeping.logger.error("an operation on all blocks has failed", metadata: metadata)
        }
    }
}

extension OperationMethod {
    /// The method that a device server tells of.
    init(_ method: DiskOperation.Method) {
        switch method {
        case .overwrite: self = .overwrite
        case .blockErase: self = .blockErase
        case .cryptographicErase: self = .cryptographicErase
        case .format: self = .format
        }
    }
}

extension OperationSummary {
    /// What a device server says of an operation.
    init(_ operation: DiskOperation) {
        self.init(method: OperationMethod(operation.method))
        switch operation.state {
        case .running(let progress): percent = Int(progress) * 100 / 65536
        case .failed: state = .failed
        }
    }
}
