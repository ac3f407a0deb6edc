/// The copies that a network would make. Safe: every address was looked up in a region whose owner keeps it mapped.
extension LoopbackCore {
    /// Segment `index` of what a request gathers; nil when its memory is registered no more.
    func segment(
        _ number: Int, _ index: Int, _ send: LoopbackQueuePair.Send, of pair: LoopbackQueuePair
    ) -> (UnsafeMutableRawPointer, Int)? {
        if send.request.options.contains(.inline) { return unsafe (pair.inlineData(number), send.length) }
        let entry = pair.entry(number, index)
        guard entry.length > 0 else { return unsafe (pair.inlineData(number), 0) }
        guard let memory = unsafe localMemory(entry, of: pair, access: []) else { return nil }
        return unsafe (memory, Int(entry.length))
    }

    /// Puts what the peer's memory has from `source` on into the entries of a read; false when one of them is
    /// registered no more.
    func scatter(
        _ number: Int, _ send: LoopbackQueuePair.Send, of pair: LoopbackQueuePair,
        from source: UnsafeMutableRawPointer
    ) -> Bool {
        let access = devices[pair.device].readSinkAccess
        var offset = 0
        for index in 0..<Int(send.request.entryCount) {
            let entry = pair.entry(number, index)
            guard entry.length > 0 else { continue }
            guard let target = unsafe localMemory(entry, of: pair, access: access) else { return false }
            unsafe target.copyMemory(from: source + offset, byteCount: Int(entry.length))
            offset += Int(entry.length)
        }
        return true
    }

    /// Moves the message of a Send into a receive that has room for it. Nil when it is there; else what the receive
    /// ends with, `success` when the fault is the sender's own, and what the Send ends with.
    func move(
        _ number: Int, of pair: LoopbackQueuePair, to place: Int, of peer: LoopbackQueuePair
    ) -> (CompletionStatus, CompletionStatus)? {
        let send = unsafe pair.send(number).pointee
        let segments = send.request.options.contains(.inline) ? 1 : Int(send.request.entryCount)
        var targetIndex = 0
        var targetOffset = 0
        for index in 0..<segments {
            guard let (source, length) = unsafe segment(number, index, send, of: pair) else {
                return (.success, .localProtectionError)
            }
            var offset = 0
            while offset < length {
                let entry = peer.receiveEntry(place, targetIndex)
                let count = min(length - offset, Int(entry.length) - targetOffset)
                if count > 0 {
                    guard let target = unsafe localMemory(entry, of: peer, access: .localWrite) else {
                        return (.localProtectionError, .remoteOperationError)
                    }
                    unsafe (target + targetOffset).copyMemory(from: source + offset, byteCount: count)
                }
                offset += count
                targetOffset += count
                if targetOffset == Int(entry.length) {
                    targetIndex += 1
                    targetOffset = 0
                }
            }
        }
        return nil
    }
}
