import DiskDevice
public import Media
import Platform
public import Resources

/// What takes the content of a delta stream, on threads that may wait.
public protocol DeltaTarget {
    /// Writes whole blocks from that byte on.
    func write(_ bytes: [UInt8], _ offset: Int64) throws(ManagementError)
    /// Makes whole blocks zeros.
    func erase(_ range: Range<Int64>) throws(ManagementError)
    /// Makes durable what was written, and then that it is called `name`.
    func keep(as name: String) throws(ManagementError)
}

// What delta streams bring.
extension LocalDevices {
    public func receive(
        inImage path: String, base: String, work: String, size: Int64,
        _ body: (any DeltaTarget) throws(ManagementError) -> Void
    ) throws(ManagementError) {
        try withImage(path) { file in
            let present = file.nodes.first { $0.name == work && !$0.isBeingDeleted }
            let node =
                try present?.number
                ?? file.clone(try Self.node(base, of: file).number, name: work, time: CalendarTime.current())
            guard let image = EpochDiskImage(file: file, node: node, engine: fileEngine) else {
                throw ManagementError(.conflict, "image \(path) has '\(work)' in use already")
            }
            do {
                if size > image.capacity { try image.resize(to: size) }
                try body(ReceivingImage(image: image))
                if let failure = image.synchronize() { throw ReceivingImage.unwritten(path, failure) }
            } catch {
                _ = image.close()
                throw error
            }
            if let failure = image.close() { throw ReceivingImage.unwritten(path, failure) }
        }
    }

    public func keepReceived(
        _ work: String, inImage path: String, as name: String, _ identity: SnapshotIdentity
    ) throws(ManagementError) {
        try withImage(path) { file in
            _ = try file.snapshot(try Self.node(work, of: file).number, name: name, as: identity)
        }
    }
}

private struct ReceivingImage: DeltaTarget {
    let image: EpochDiskImage

    static func unwritten(_ path: String, _ failure: MediaFailure) -> ManagementError {
        ManagementError(.system, "\(path) cannot be written: \(failure)")
    }

    func write(_ bytes: [UInt8], _ offset: Int64) throws(ManagementError) {
        let first = try LocalDevices.firstBlock(
            of: bytes.count, at: offset, blockSize: image.blockSize, capacity: image.capacity)
        if let failure = image.fill(first: first, with: bytes) { throw Self.unwritten(image.path, failure) }
    }

    func erase(_ range: Range<Int64>) throws(ManagementError) {
        let block = Int64(image.blockSize)
        var first = UInt64(range.lowerBound / block)
        let end = UInt64(min(range.upperBound, image.capacity) / block)
        while first < end {
            let count = min(end - first, image.maximumDeallocation)
            if let failure = image.erase(first: first, blocks: count) { throw Self.unwritten(image.path, failure) }
            first += count
        }
    }

    func keep(as name: String) throws(ManagementError) {
        if let failure = image.synchronize() { throw Self.unwritten(image.path, failure) }
        do {
            try image.file.rename(image.node, to: name)
        } catch {
            throw ManagementError(.system, "\(image.path) cannot be written: \(error)")
        }
    }
}
