import Dispatch

/// Runs `body` on `count` queues at a time and waits for all of them.
func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for index in 0..<count {
        DispatchQueue(label: "initiator \(index)").async(group: group) { body(index) }
    }
    group.wait()
}
