internal import Bytes
internal import Platform

/// Data of an image with checksums: what is read is proved, what is written is summed.
extension DiskFamily {
    /// Reads bytes of the file, of units of data in succession, and proves all units that they are a part of.
    @_lifetime(bytes: copy bytes)
    func readProved(
        _ checksums: DataChecksums, from place: Int64, into bytes: inout MutableRawSpan, at start: Int, _ count: Int
    ) throws(EpochFault) {
        let length = EpochFormat.unitLength
        var done = 0
        while done < count {
            let position = UInt64(place) + UInt64(done)
            let unit = position >> UInt64(EpochFormat.unitShift)
            let inside = Int(position & UInt64(length - 1))
            if inside == 0, count - done >= length {
                let whole = (count - done) / length * length
                var target = bytes._mutatingExtracting(start + done..<start + done + whole)
                try fill(&target, from: unit)
                try checksums.verify(target.bytes, at: unit)
                done += whole
            } else {
                let part = min(length - inside, count - done)
                var content = [UInt8](repeating: 0, count: length)
                var elements = content.mutableSpan
                var target = unsafe elements.mutableBytes
                try fill(&target, from: unit)
                try checksums.verify(target.bytes, at: unit)
                bytes.store(target.bytes.extracting(inside..<inside + part), at: start + done)
                done += part
            }
        }
    }

    /// Reads whole units in succession.
    @_lifetime(bytes: copy bytes)
    private func fill(_ bytes: inout MutableRawSpan, from unit: UInt64) throws(EpochFault) {
        switch store.read(into: &bytes, offset: EpochFormat.offset(ofUnit: unit), mode: .blocking) {
        case .done(let count):
            guard count == bytes.byteCount else {
                throw .damaged(.truncated(unit: unit + UInt64(count) >> UInt64(EpochFormat.unitShift)))
            }
        case .wouldBlock: throw .device(Errno.wouldBlock)
        case .failed(let code): throw .device(code)
        }
    }
}
