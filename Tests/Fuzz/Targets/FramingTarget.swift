internal import Bytes
internal import ISCSI

/// The input is settings of a framer, how to cut, and a stream: raw, or described PDU by PDU so that its digests are
/// right.
enum FramingTarget {
    /// What the framer makes of a stream.
    private enum Event: Equatable {
        case unit(header: [UInt8], data: [UInt8], isDataValid: Bool)
        case failed(FramingError)

        var isFailure: Bool {
            if case .failed = self { return true }
            return false
        }
    }

    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let flags = reader.byte()
        let framer = PDUFramer(
            maximumDataSegmentLength: [0, 512, 8192, 0xFF_FFFF][Int(flags >> 3 & 3)],
            hasHeaderDigest: flags & 1 != 0, hasDataDigest: flags & 2 != 0)
        var cut = UInt32(reader.number16())
        let stream = flags & 4 != 0 ? reader.rest() : described(&reader, framer)

        var whole: [Event] = []
        let rest = try consume(stream, from: 0, framer, &whole)
        var pieces: [Event] = []
        var arrived: [UInt8] = []
        var offset = 0
        while arrived.count < stream.count, pieces.last?.isFailure != true {
            cut = cut &* 1_664_525 &+ 1_013_904_223
            let count = 1 + Int(cut >> 24)
            arrived += stream[arrived.count..<min(stream.count, arrived.count + count)]
            offset = try consume(arrived, from: offset, framer, &pieces)
        }
        try require(whole == pieces, "a stream gives the same PDUs however it is cut")
        try require(rest == offset, "the same bytes are left however the stream is cut")
    }

    /// Takes every complete PDU from `offset` on; gives where the rest starts.
    private static func consume(
        _ bytes: [UInt8], from start: Int, _ framer: PDUFramer, _ events: inout [Event]
    ) throws(FuzzFinding) -> Int {
        var offset = start
        while true {
            let available = bytes.rawSpan.extracting(offset..<bytes.count)
            switch framer.frame(available) {
            case .needsHeader(let more):
                try require(more > 0, "what is missing is at least a byte")
                return offset
            case .failed(let error):
                events.append(.failed(error))
                return offset
            case .header(let layout):
                try require(layout.totalLength % 4 == 0, "PDUs fill words")
                try require(
                    layout.dataSegmentLength <= framer.maximumDataSegmentLength
                        && layout.additionalHeaderLength <= PDUFramer.maximumAdditionalHeaderLength,
                    "lengths are within the limits")
                guard available.byteCount >= layout.totalLength else { return offset }
                let dataEnd = layout.dataOffset + layout.dataSegmentLength
                let data = available.extracting(layout.dataOffset..<dataEnd)
                let isValid =
                    layout.dataDigestLength == 0
                    || Digest.isValid(
                        available.loadBE32(at: layout.dataDigestOffset), data: data,
                        padding: available.extracting(dataEnd..<layout.dataDigestOffset))
                events.append(
                    .unit(
                        header: available.extracting(0..<layout.headerLength).copyToArray(),
                        data: data.copyToArray(), isDataValid: isValid))
                offset += layout.totalLength
            }
        }
    }

    private static func described(_ reader: inout FuzzReader, _ framer: PDUFramer) -> [UInt8] {
        var stream: [UInt8] = []
        while !reader.isAtEnd, stream.count < 1 << 13 {
            let additional = Int(reader.byte() % 10) * 4
            let length = reader.number16() % 2048
            let fault = reader.byte()
            var header = [UInt8](repeating: reader.byte(), count: BasicHeaderSegment.length + additional)
            header[0] &= 0x3F
            header[4] = UInt8(additional / 4)
            header.replaceSubrange(5..<8, with: [0, UInt8(length >> 8), UInt8(length & 0xFF)])
            let start = stream.count
            stream += header
            if framer.hasHeaderDigest { stream.appendBE32(Digest.value(of: header.rawSpan)) }
            if fault >= 200, fault < 220 { stream[stream.count - 1] ^= fault }
            if length > 0 {
                let data = (0..<(length + 3) & ~3).map { UInt8(truncatingIfNeeded: $0) }
                stream += data
                if framer.hasDataDigest { stream.appendBE32(Digest.value(of: data.rawSpan)) }
                if fault >= 220, fault < 240 { stream[stream.count - 1] ^= fault }
            }
            if fault >= 240 { stream.removeLast(min(Int(fault) - 239, stream.count - start)) }
        }
        return stream
    }
}
