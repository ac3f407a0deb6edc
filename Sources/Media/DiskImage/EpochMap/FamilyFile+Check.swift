internal import Platform

extension FamilyFile {
    /// The most sentences of a check.
    public static let findingLimit = 20

    /// Reads all that the file's last state refers to, beside everything else, and compares it with its checksums and
    /// with what is free: a sentence for what is wrong, none when all is well. It waits, and so do commits meanwhile.
    public func check() -> [String] {
        let findings = withFamily { $0.check() }
        let sentences = findings.prefix(Self.findingLimit).map { "\($0)" }
        return findings.count > sentences.count
            ? sentences + ["and \(findings.count - sentences.count) more"] : sentences
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
