internal import Bytes
internal import ISCSI
internal import Platform

// Any PDU, with digests and padding.
extension StreamDatamover {
    /// The most bytes of a PDU's data that go out as a copy in the output queue; more goes out from a buffer of its
    /// own.
    private static let copyLimit = Connection.controlDataLimit

    @discardableResult
    func send(_ header: BasicHeaderSegment, data: RawSpan) -> Bool {
        if data.byteCount > Self.copyLimit { return sendLong(header, data) }
        let layout = sendFramer.layout(dataSegmentLength: data.byteCount)
        let isQueued = output.appendHeader(count: layout.totalLength) { bytes in
            bytes.store(header.bytes, at: 0)
            Self.storeHeaderDigest(layout, &bytes)
            guard layout.dataSegmentLength > 0 else { return }
            bytes.store(data, at: layout.dataOffset)
            bytes.fill(at: layout.dataOffset + data.byteCount, count: layout.padLength)
            guard layout.dataDigestLength > 0 else { return }
            let covered = layout.dataOffset..<layout.dataDigestOffset
            bytes.storeBE32(Digest.value(of: bytes.bytes.extracting(covered)), at: layout.dataDigestOffset)
        }
        return finishSending(isQueued)
    }

    /// Queues a PDU whose data has a buffer of its own.
    private func sendLong(_ header: BasicHeaderSegment, _ data: RawSpan) -> Bool {
        guard var lease = reactor.pool.lease(capacity: data.byteCount) else {
            connection.close(.outOfMemory)
            return false
        }
        lease.append(data)
        guard let payload = output.hold(lease) else { return finishSending(false) }
        return finishSending(append(header, payload, offset: 0, count: data.byteCount, releases: true))
    }

    private func finishSending(_ isQueued: Bool) -> Bool {
        if isQueued {
            scheduleTurnEnd()
        } else {
            connection.close(.answersNotTaken)
        }
        return isQueued
    }

    /// Queues a header, a part of a payload, and padding and digest.
    func append(
        _ header: BasicHeaderSegment, _ payload: OutputQueue.Payload, offset: Int, count: Int, releases: Bool
    ) -> Bool {
        let layout = sendFramer.layout(dataSegmentLength: count)
        let isHeaderQueued = output.appendHeader(count: layout.dataOffset) { bytes in
            bytes.store(header.bytes, at: 0)
            Self.storeHeaderDigest(layout, &bytes)
        }
        let trailerLength = layout.totalLength - layout.dataOffset - count
        guard trailerLength > 0 else {
            return isHeaderQueued && output.append(payload, offset: offset, count: count, release: releases)
        }
        var digest: UInt32 = 0
        if layout.dataDigestLength > 0 {
            let zeros = InlineArray<4, UInt8>(repeating: 0)
            let data = output.withBytes(of: payload, offset: offset, count: count) { CRC32C.checksum($0) }
            digest = CRC32C.checksum(zeros.rawSpan.extracting(0..<layout.padLength), previous: data).byteSwapped
        }
        return isHeaderQueued && output.append(payload, offset: offset, count: count, release: releases)
            && output.appendHeader(count: trailerLength) { bytes in
                bytes.fill(at: 0, count: trailerLength)
                if layout.dataDigestLength > 0 { bytes.storeBE32(digest, at: layout.padLength) }
            }
    }

    private static func storeHeaderDigest(_ layout: PDULayout, _ bytes: inout MutableRawSpan) {
        guard layout.headerDigestLength > 0 else { return }
        let digest = Digest.value(of: bytes.bytes.extracting(0..<layout.headerLength))
        bytes.storeBE32(digest, at: layout.headerLength)
    }
}
