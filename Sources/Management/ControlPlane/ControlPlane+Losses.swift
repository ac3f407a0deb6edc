import Catalog
import Foundation
import Logging
import Resources

// Losses of written data: who says that they are known, and the words in which they are shown.
extension ControlPlane {
    /// Says that the loss of written data on the disk `name` is known: it can be written again.
    func acknowledgeLoss(ofDisk name: String) throws(ManagementError) {
        let disk = try diskRecord(name)
        if assembly.loss(ofDisk: disk) != nil { try Effect.begin() }
        guard try assembly.acknowledgeLoss(ofDisk: disk) else {
            throw ManagementError(.conflict, "disk '\(name)' has lost nothing; there is nothing to acknowledge")
        }
        record(event("acknowledge-loss", "disk", name))
        logger.notice("loss of data acknowledged", metadata: ["disk": "\(name)"])
    }

    /// Says that the loss of written data on the cartridge is known: it ends where durability ended, and can be written
    /// again from there on.
    func acknowledgeLoss(ofCartridge barcode: String, library name: String) throws(ManagementError) {
        let library = try servedLibrary(name)
        let cartridge = try cartridgeRecord(barcode, library: library)
        let path = folder.libraryPath(name)
        let nothing = ManagementError(
            .conflict, "cartridge '\(barcode)' has lost nothing; there is nothing to acknowledge")
        let findings = assembly.examine([cartridge], of: library, in: path)
        guard findings.losses[barcode] != nil || findings.problems[barcode] != nil else { throw nothing }
        try Effect.begin()
        guard try assembly.acknowledgeLoss(of: cartridge, in: library, folder: path) else { throw nothing }
        record(event("acknowledge-loss", "cartridge", "\(name)/\(barcode)"))
        logger.notice("loss of data acknowledged", metadata: ["library": "\(name)", "cartridge": "\(barcode)"])
    }

    /// What an operator is told of a disk that has lost written data.
    static func sentence(_ loss: LossSummary, ofDisk name: String) -> String {
        "disk '\(name)': data that were written to it were lost\(details(loss)); it refuses writes until you have "
            + "checked or restored its content and say so with 'carousel disk acknowledge-loss \(name)'"
    }

    /// What an operator is told of a disk with an operation on all blocks that has failed.
    static func sentence(failed operation: OperationSummary, ofDisk name: String) -> String {
        operation.method == .format
            ? "disk '\(name)': FORMAT UNIT has failed or was broken off, so its blocks cannot be used; have an "
                + "initiator format it again ('sg_format --format')"
            : "disk '\(name)': SANITIZE (\(operation.method.rawValue)) has failed, so some of its blocks may still "
                + "have their data, and it does nothing else; have an initiator sanitize it again ('sg_sanitize')"
    }

    /// What an operator is told of a cartridge that has lost written data, without the cartridge's name.
    static func sentence(_ loss: LossSummary, ofCartridge barcode: String, library name: String) -> String {
        "data that were written to it last were lost\(details(loss)); it ends before them and refuses writes until you "
            + "say that you know, with 'carousel tape acknowledge-loss \(name) \(barcode)'"
    }

    private static func details(_ loss: LossSummary) -> String {
        let time = loss.since.map { " at \($0.formatted(.iso8601))" } ?? ""
        return "\(time) (\(loss.reason))"
    }
}
