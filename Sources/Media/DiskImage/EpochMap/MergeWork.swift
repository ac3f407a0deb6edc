/// Nodes that may have a step to do, so that the next one is found at once however many are being deleted.
struct MergeWork {
    /// Node numbers in ascending order, each once.
    private struct Numbers {
        private var list: [UInt32] = []

        var first: UInt32? { list.first }

        mutating func insert(_ number: UInt32) {
            var (low, high) = (0, list.count)
            while low < high {
                let middle = (low + high) / 2
                if list[middle] < number { low = middle + 1 } else { high = middle }
            }
            if low == list.count || list[low] != number { list.insert(number, at: low) }
        }

        mutating func removeFirst() { list.removeFirst() }
    }

    private var merging = Numbers()
    private var beginning = Numbers()

    /// A node may be one that can be merged, or whose deletion can begin.
    mutating func add(_ node: TreeNode) {
        if node.record.isBeingDeleted {
            merging.insert(node.number)
        } else if node.record.isNameless {
            beginning.insert(node.number)
        }
    }

    /// The first node, in the order of the numbers, so that the same operations make the same image, of which
    /// `mayMerge` is true. Those before are given up, until they are added again.
    mutating func nextToMerge(_ mayMerge: (UInt32) -> Bool) -> UInt32? { Self.next(&merging, mayMerge) }

    /// The same of nodes whose deletion is to begin.
    mutating func nextToBegin(_ mayBegin: (UInt32) -> Bool) -> UInt32? { Self.next(&beginning, mayBegin) }

    private static func next(_ numbers: inout Numbers, _ isReady: (UInt32) -> Bool) -> UInt32? {
        while let number = numbers.first {
            if isReady(number) { return number }
            numbers.removeFirst()
        }
        return nil
    }
}
