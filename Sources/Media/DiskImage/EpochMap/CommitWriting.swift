internal import Bytes
internal import Platform

extension CheckpointWriter {
    /// Writes the maps of a capture; their roots, by the numbers of the layers.
    mutating func writeMaps(_ capture: Capture) throws(EpochFault) -> [UInt64: MapRoot] {
        var roots: [UInt64: MapRoot] = [:]
        var page = [UInt8](repeating: 0, count: EpochFormat.unitLength)
        for captured in capture.layers {
            let layer = captured.layer
            guard let below = layer.below else { continue }
            let root = roots[below.number] ?? below.root
            let levels = NodeRecord.levels(capacity: layer.capacity)
            let pointer = try writeMap(
                root.pointer, levels: root.levels, newLevels: levels, birth: layer.birth,
                protection: captured.protection, units: EpochFormat.logicalUnits(capacity: layer.capacity)
            ) { writer, sink throws(EpochFault) in
                for (region, leaf) in layer.regions.sorted(by: { $0.key < $1.key }) {
                    switch leaf.summary(count: layer.unitsInRegion(region)) {
                    case .some(.nothing): try writer.put(region, .nothing, &sink)
                    case .some(.lost): try writer.put(region, .lost, &sink)
                    case .some(let first): try writer.put(region, .run(first.unit, birth: first.birth), &sink)
                    case nil:
                        page.modifyBytes { leaf.store(to: &$0) }
                        try writer.put(region, page: page.rawSpan, &sink)
                    }
                }
            }
            roots[layer.number] = MapRoot(pointer: pointer, levels: levels)
        }
        return roots
    }
}

extension Capture {
    /// The node table, with the roots of the maps that were written.
    func table(_ roots: [UInt64: MapRoot]) throws(EpochFault) -> NodeTable {
        var table = table
        for (number, layer) in nodes {
            guard var record = table[number], let root = roots[layer.number] else { continue }
            record.map = root.pointer
            try table.put(record)
        }
        return table
    }
}

extension Leaf {
    /// Writes the entries as a page of a map to `target`, a unit.
    @_lifetime(target: copy target)
    func store(to target: inout MutableRawSpan) {
        for index in 0..<Leaf.length {
            target.storeBE64(self[index].confirmed.rawValue, at: index * EpochFormat.entryLength)
        }
    }
}
