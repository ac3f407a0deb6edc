internal import Platform

extension FamilyFile {
    /// The most sentences of a check.
    public static let findingLimit = 20

    /// Reads all that the file's last state refers to, beside everything else, and compares it with its checksums and
    /// with what is free: a sentence for what is wrong, none when all is well. It waits, and so do commits meanwhile.
    /// Of an image with checksums it then reads all data as well, while commits go on; `observer` is told of the bytes
    /// that were read, and is false when that is to end.
    public func check(_ observer: (Int64) -> Bool = { _ in true }) -> [String] {
        checkPages() + checkData(observer)
    }

    private func checkPages() -> [String] {
        let (report, stuck) = withFamily { ($0.report(), $0.stuckDeletions) }
        var sentences = report.findings.map { "\($0)" }
        sentences += report.unreadable.map { "because of that \(describe($0)) cannot be read" }
        sentences += stuck.map { "the deletion of node \($0.node) does not go on: \($0.reason)" }
        if !sentences.isEmpty { sentences.append("'carousel check DISK --repair' mends what can be mended") }
        sentences += report.losses.map {
            "\(describe($0)) are lost, and of what shares them: reading them fails until they are written or discarded"
        }
        let shown = sentences.prefix(Self.findingLimit)
        return sentences.count > shown.count ? shown + ["and \(sentences.count - shown.count) more"] : Array(shown)
    }

    private func describe(_ lost: LostUnits) -> String {
        let name = node(lost.node)?.name ?? ""
        let shift = UInt64(EpochFormat.unitShift)
        return "bytes \(lost.units.lowerBound << shift) to \(lost.units.upperBound << shift - 1) of "
            + (name.isEmpty ? "node \(lost.node)" : "'\(name)'")
    }
}

extension EpochFinding: CustomStringConvertible {
    /// One sentence without a full stop.
    var description: String {
        switch self {
        case .damaged(let damage): damage.description
        case .unreadable(let code): SystemError(code: code, operation: "the host's storage has failed").description
        case .unknownFormat: "the image is of a newer version, or has features that are not known"
        case .superblockCopy(let copy): "copy \(copy) of the superblock is not valid"
        case .otherCommit: "the superblock in the file is not that of the last commit"
        case .ownedTwice(let unit): "unit \(unit) belongs to two"
        case .notCovered(let unit): "unit \(unit) is used, and is behind all that are known"
        case .wrongBirth(let node, let unit): "node \(node) has unit \(unit) of an epoch that is not its own"
        case .behindEnd(let node, let unit): "node \(node) has unit \(unit) behind its end"
        case .notInUse(let units): "units \(units.lowerBound) to \(units.upperBound - 1) are used, and are free"
        case .leaked(let units): "units \(units.lowerBound) to \(units.upperBound - 1) are nobody's, and are not free"
        }
    }
}
