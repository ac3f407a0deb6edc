internal import Bytes

/// The state at the cut of a commit: what it writes while commands go on.
struct Capture {
    /// A closed layer that no commit has.
    struct Layer {
        let layer: MapLayer
        let protection: Protection
    }

    /// Layers, each after the one that it lies on.
    let layers: [Layer]
    /// Of nodes whose map they make, the layer.
    let nodes: [UInt32: MapLayer]
    let table: NodeTable
    let dirtyLeaves: Set<Int>
    let epoch: UInt32
    let nextNode: UInt32
    /// The last frame before the cut.
    let frame: UInt64
    /// How many units the reserve should have.
    let reserveUnits: UInt64
}

extension FamilyState {
    /// What protects the map of a node.
    private func protection(_ number: UInt32) -> Protection {
        var protection = Protection()
        var node = nodes[number]
        while let parent = nodes[node?.record.parent ?? 0] {
            let isMerging = parent.record.isBeingDeleted
            protection.add(done: isMerging ? parent.record.pagesDone : 0, epoch: parent.record.epoch)
            guard isMerging else { break }
            node = parent
        }
        return protection
    }

    /// Closes all layers, and gives what a commit has to write.
    func capture(frame: UInt64) -> Capture {
        var layers: [Capture.Layer] = []
        var known: Set<UInt64> = []
        var changed: [UInt32: MapLayer] = [:]
        // In the order of their numbers, so that the same operations make the same image.
        for node in nodes.values.sorted(by: { $0.number < $1.number }) {
            let closed = closeLayer(of: node)
            guard !closed.isCommitted else { continue }
            changed[node.number] = closed
            var chain: [MapLayer] = []
            var layer = closed
            while let below = layer.below, known.insert(layer.number).inserted {
                chain.append(layer)
                layer = below
            }
            for layer in chain.reversed() {
                layers.append(Capture.Layer(layer: layer, protection: protection(layer.owner)))
            }
        }
        let capture = Capture(
            layers: layers, nodes: changed, table: table, dirtyLeaves: table.dirtyLeaves, epoch: epoch,
            nextNode: nextNode, frame: frame, reserveUnits: reserveUnits)
        beginCommit()
        return capture
    }

    /// A commit has the layers with these roots.
    func finish(_ capture: Capture, roots: [UInt64: MapRoot]) {
        for captured in capture.layers {
            if let root = roots[captured.layer.number] { captured.layer.commit(root) }
        }
        for node in nodes.values {
            let closed = node.isWritable ? node.layer.below ?? node.layer : node.layer
            guard closed.isCommitted, node.record.map != closed.root.pointer else { continue }
            node.record.map = closed.root.pointer
            update(node)
        }
    }
}
