import Bytes
import DeviceTestSupport
import Foundation
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Delta streams")
struct DeltaStreamTests {
    private static let capacity: Int64 = (8 << 20) - 512

    /// A file that goes when it is closed.
    private static func file() throws -> File {
        let path = NSTemporaryDirectory() + "delta-\(UUID().uuidString)"
        let file = try File.open(path: path, [.readWrite, .create, .exclusive])
        try File.remove(path)
        return file
    }

    private static func version(_ byte: UInt8, _ name: String, _ capacity: Int64 = capacity) throws
        -> DeltaHeader.Version
    {
        DeltaHeader.Version(
            identity: SnapshotIdentity(
                uuid: [UInt8](repeating: byte, count: 16), time: try #require(CalendarTime(seconds: 1_700_000_000))),
            name: name, capacity: capacity)
    }

    private static func header(isWhole: Bool = false, uuid: UInt8 = 9) throws -> DeltaHeader {
        DeltaHeader(
            uuid: [UInt8](repeating: uuid, count: 16), target: try version(2, "a@b"),
            origin: isWhole ? nil : try version(1, "a@a"), blockSize: 512, length: 100)
    }

    private static var records: [DeltaRecord] {
        [
            .data(0, [UInt8](repeating: 7, count: 8192)), .nothing(8192..<1 << 20),
            .data(1 << 20, [UInt8](repeating: 8, count: 1 << 20)), .nothing(4 << 20..<5 << 20),
            .data(capacity - 3584, [UInt8](repeating: 9, count: 3584)),
        ]
    }

    private static func write(_ records: ArraySlice<DeltaRecord>, _ writer: inout DeltaWriter) throws {
        for record in records {
            switch record {
            case .data(let offset, let bytes): try writer.append(bytes, at: offset)
            case .nothing(let range): try writer.append(nothing: range)
            case .end: try writer.finish()
            }
        }
    }

    private static func stream(_ header: DeltaHeader) throws -> File {
        let file = try file()
        var writer = try DeltaWriter(file, header)
        try write((records + [.end])[...], &writer)
        return file
    }

    private static func read(_ file: File, from position: DeltaPosition? = nil) throws -> [DeltaRecord] {
        var reader = try DeltaReader(file, from: position)
        var found: [DeltaRecord] = []
        while found.last != .end { found.append(try reader.next()) }
        return found
    }

    private static func bytes(_ file: File) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(try file.size()))
        #expect(bytes.modifyBytes { file.read(into: &$0, fileOffset: 0) } == .done(bytes.count))
        return bytes
    }

    private static func file(_ bytes: some Collection<UInt8>) throws -> File {
        let file = try file()
        #expect(file.write(Array(bytes).rawSpan, fileOffset: 0) == .done(bytes.count))
        return file
    }

    @Test("What was written is read, from the beginning and from every position", arguments: [true, false])
    func life(isWhole: Bool) throws {
        let header = try Self.header(isWhole: isWhole)
        let file = try Self.stream(header)
        #expect(try Self.read(file) == Self.records + [.end])
        var reader = try DeltaReader(file)
        #expect(reader.header == header)
        for index in Self.records.indices {
            let text = reader.position.text
            #expect(text.utf8.count == DeltaPosition.textLength)
            let position = try #require(DeltaPosition(text: text))
            #expect(position == reader.position)
            #expect(try Self.read(file, from: position) == Array(Self.records[index...]) + [.end])
            _ = try reader.next()
        }
        for text in ["", String(repeating: "x", count: 50), String(repeating: "0", count: 50)] {
            #expect(DeltaPosition(text: text) == nil)
        }
    }

    @Test("A stream that is cut anywhere is told, never taken for whole, and gone on with")
    func cuts() throws {
        let header = try Self.header()
        let whole = try Self.bytes(Self.stream(header))
        let near = [0, 1, 8, 4095, 4096, 4097, 4135, 4136, 4137]
        var random = SeededRandom(seed: 1)
        let cuts = near + (0..<60).map { _ in Int.random(in: 0..<whole.count, using: &random) } + [whole.count - 1]
        for cut in cuts {
            let file = try Self.file(whole[..<cut])
            #expect(throws: DeltaError.self) { try Self.read(file) }
            // Whoever writes it goes on behind the last whole record.
            let continued = try Self.goOn(with: file, header)
            #expect(continued == (cut >= DeltaHeader.byteCount), "cut at \(cut)")
            if continued { #expect(try Self.bytes(file) == whole) }
        }
        #expect(
            try !Self.goOn(
                with: try Self.file(whole),
                DeltaHeader(
                    uuid: header.uuid, target: header.target, origin: nil, blockSize: 512, length: 0)))
        let longer = try Self.file(whole + [0])
        #expect(throws: DeltaError.tooLong(at: Int64(whole.count))) { try Self.read(longer) }
    }

    /// Goes on with a stream; false when it is none.
    private static func goOn(with file: File, _ header: DeltaHeader) throws -> Bool {
        guard var writer = try DeltaWriter.continuing(file, as: header) else { return false }
        let done = Int(writer.position.record)
        try write((records + [.end])[done...], &writer)
        return true
    }

    @Test("A flipped bit anywhere is found before anything wrong is given")
    func flips() throws {
        let whole = try Self.bytes(Self.stream(try Self.header()))
        var random = SeededRandom(seed: 2)
        let places =
            Array(0..<448) + Array(4092..<4136) + (0..<150).map { _ in Int.random(in: 0..<whole.count, using: &random) }
            + Array(whole.count - 40..<whole.count)
        for place in places {
            var bytes = whole
            bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            let file = try Self.file(bytes)
            var found: [DeltaRecord] = []
            #expect(throws: DeltaError.self, "byte \(place)") {
                var reader = try DeltaReader(file)
                while found.last != .end { found.append(try reader.next()) }
            }
            #expect(found == Array(Self.records.prefix(found.count)), "byte \(place)")
        }
    }

    @Test("Records of another stream, in another order or twice are refused")
    func splices() throws {
        let first = try Self.bytes(Self.stream(try Self.header()))
        let second = try Self.bytes(Self.stream(try Self.header(uuid: 10)))
        let mixed = try Self.file(first[..<4096] + second[4096...])
        #expect(throws: DeltaError.damaged(record: 0, at: 4096)) { try Self.read(mixed) }
        let record = 4096..<4096 + 40 + 8192
        let twice = try Self.file(
            Array(first[..<record.upperBound]) + Array(first[record]) + first[record.upperBound...])
        #expect(throws: DeltaError.damaged(record: 1, at: Int64(record.upperBound))) { try Self.read(twice) }
        let missing = try Self.file(Array(first[..<record.lowerBound]) + first[record.upperBound...])
        #expect(throws: DeltaError.damaged(record: 0, at: 4096)) { try Self.read(missing) }
    }

    @Test("What is not possible is refused, also with right checksums")
    func hostile() throws {
        let header = try Self.header()
        let bad: [[DeltaRecord]] = [
            [.data(512, [1, 2, 3])], [.data(0, [UInt8](repeating: 1, count: 512))],
            [.nothing(0..<Self.capacity + 4096)], [.nothing(4096..<8192), .nothing(0..<4096)],
            [.nothing(0..<8192), .nothing(4096..<12288)], [.nothing(1 << 60..<(1 << 60) + 4096)],
        ]
        for records in bad {
            let file = try Self.file()
            var writer = try DeltaWriter(file, header)
            try Self.write((records + [.end])[...], &writer)
            #expect(throws: DeltaError.self, "\(records.count) records") { try Self.read(file) }
        }
        let early = try Self.file()
        var writer = try DeltaWriter(early, header)
        try Self.write([.end], &writer)
        #expect(try Self.read(early) == [.end])
        #expect(throws: DeltaError.noStream) { _ = try DeltaReader(try Self.file([1, 2, 3])) }
        for (place, value) in [(11, UInt8(2)), (15, 1)] {
            var bytes = header.encoded().bytes
            bytes[place] = value
            let checksum = CRC32C.checksum(bytes.rawSpan.extracting(0..<4092))
            bytes.modifyBytes { $0.storeBE32(checksum, at: 4092) }
            let file = try Self.file(bytes)
            #expect {
                _ = try DeltaReader(file)
            } throws: {
                if case DeltaError.newer = $0 { true } else { false }
            }
        }
        for (place, value) in [(80, UInt8(0xFF)), (99, 1), (103, 200), (128, 0xFF), (95, 3), (48, 0xFF)] {
            var bytes = header.encoded().bytes
            bytes[place] = value
            let checksum = CRC32C.checksum(bytes.rawSpan.extracting(0..<4092))
            bytes.modifyBytes { $0.storeBE32(checksum, at: 4092) }
            let file = try Self.file(bytes)
            #expect(throws: DeltaError.damagedHeader, "byte \(place)") { _ = try DeltaReader(file) }
        }
    }

    @Test("A snapshot has the identity of what it was made of, over openings")
    func identity() throws {
        let store = SimulatedStore()
        let file = try FamilyDisk.file(store)
        let disk = try #require(FamilyDisk(file))
        let other = SnapshotIdentity(
            uuid: [UInt8](repeating: 5, count: 16), time: try #require(CalendarTime(seconds: 77)))
        let number = try file.snapshot(1, name: "a@b", as: other)
        try file.rename(number, to: "a@c")
        #expect(disk.image.close() == nil)
        let opened = try DiskFamily.open(store)
        let node = try #require(opened.nodes.first { $0.number == number })
        #expect(node.identity == other && node.name == "a@c" && opened.check() == [])
    }
}
