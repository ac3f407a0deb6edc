internal import Bytes
internal import Encryption
internal import Foundation
internal import Media
internal import Platform

/// Makes the disks that are compared, in a folder of their own.
struct ImageDisks {
    /// The capacity of each: the journal of a disk with snapshots is a part of it. Only the span of the jobs is used.
    static let capacity: Int64 = 32 << 30
    static let blockSize = 512
    /// What fills a disk is written in pieces of that many bytes.
    private static let fillLength = 1 << 20
    /// The least number of blocks that are written between two snapshots.
    private static let leastBetween = 4

    let folder: String
    let reactors: ImageReactors
    /// The bytes from the beginning of each disk on that are filled.
    let span: Int

    /// A plain disk, filled.
    func plain(_ name: String) async throws -> RawDiskImage {
        let disk = try RawDiskImage.create(
            path: "\(folder)/\(name).raw", capacity: Self.capacity, blockSize: Self.blockSize, engine: reactors.engine)
        try await fill(disk)
        return disk
    }

    /// A disk with snapshots, filled, and none made yet; with checksums of data or without, encrypted or not. With a
    /// level of compression what fills it is compressible.
    func family(
        _ name: String, capacity: Int64 = capacity, checksums: Bool = false, compression: Int? = nil,
        isEncrypted: Bool = false, isCompressible: Bool = false
    ) async throws -> EpochDiskImage {
        let key = isEncrypted ? try UserKey(SecretBytes(count: UserKey.randomLength)) : nil
        let file = try FamilyFile.create(
            path: "\(folder)/\(name).carousel", capacity: capacity, blockSize: Self.blockSize, name: name,
            time: CalendarTime.current(), uuid: (0..<16).map { _ in .random(in: 1...255) }, checksums: checksums,
            compression: compression, userKey: key)
        guard let node = file.nodes.first,
            let disk = EpochDiskImage(file: file, node: node.number, engine: reactors.engine)
        else { throw Complaint("\(name) has no head") }
        try await fill(disk, isCompressible: isCompressible)
        return disk
    }

    /// Writes the span once, in order.
    func fill(_ disk: any DiskImage, isCompressible: Bool = false) async throws {
        try await run(
            disk,
            ImagePlan(
                operation: .write, blockLength: Self.fillLength, pattern: .sequential, span: span,
                limit: .commands(span / Self.fillLength), flushesAtEnd: true, isCompressible: isCompressible))
    }

    /// Makes snapshots, with about a quarter of the span written between them in all, in places far apart.
    func deepen(_ disk: EpochDiskImage, by depth: Int) async throws {
        let between = max(Self.leastBetween, span / 4096 / 4 / max(depth, 1))
        for index in 0..<depth {
            _ = try disk.file.snapshot([disk.node], names: ["\(index)"], time: CalendarTime.current())
            try await run(
                disk,
                ImagePlan(
                    operation: .write, blockLength: 4096, pattern: .random, span: span, limit: .commands(between),
                    seed: UInt64(index + 1)))
        }
        if let failure = disk.synchronize() { throw Complaint("\(failure)") }
        // What is unconfirmed after the first is not after the second.
        if let failure = disk.synchronize() { throw Complaint("\(failure)") }
    }

    private func run(_ disk: any DiskImage, _ plan: ImagePlan) async throws {
        _ = try await reactors.run(plan, on: disk)
    }
}

/// What this process has handed to system calls that write, in bytes, so far; nil where the system does not say.
func writtenBytes() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/io", encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("wchar:") {
        return Int(line.dropFirst("wchar:".count).drop { $0 == " " })
    }
    return nil
}
