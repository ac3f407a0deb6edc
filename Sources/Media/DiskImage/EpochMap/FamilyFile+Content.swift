internal import Platform

/// The content of a node as a whole, for those who copy it on threads that may wait.
extension FamilyFile {
    /// How many runs one question is about.
    private static let runLimit = 16

    /// The first bytes of a node from `offset` on that hold data, in whole units but at the end; nil when none do.
    public func nextContent(of node: UInt32, from offset: Int64) throws(FamilyError) -> Range<Int64>? {
        let length = Int64(EpochFormat.unitLength)
        guard let capacity = self.node(node)?.capacity else { throw .noNode(node) }
        var unit = UInt64(offset / length)
        while Int64(unit) * length < capacity {
            let first = unit
            let found = withFamily { family -> Result<[DiskFamily.UnitRun], FamilyError> in
                Result { () throws(FamilyError) in try family.runs(node, first: first, limit: Self.runLimit) }
            }
            var start = unit
            for run in try found.get() {
                if run.isMapped { return max(offset, Int64(start) * length)..<min(capacity, Int64(run.end) * length) }
                start = run.end
            }
            guard start > unit else { return nil }
            unit = start
        }
        return nil
    }

    /// Reads a node's bytes, whole blocks from `offset` on; nil, or why not.
    @_lifetime(bytes: copy bytes)
    public func readContent(of node: UInt32, into bytes: inout MutableRawSpan, at offset: Int64) -> MediaFailure? {
        switch withFamily({ $0.read(node, into: &bytes, at: offset) }) {
        case .done: nil
        case .wouldBlock: .device(Errno.wouldBlock)
        case .failed(let code): MediaFailure(errorNumber: code)
        }
    }
}
