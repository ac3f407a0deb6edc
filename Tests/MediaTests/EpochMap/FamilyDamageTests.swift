import Bytes
import TestSupport
import Testing

@testable import Media

/// A small family in a file, and what each of its nodes holds.
struct DamageSample {
    let image: SparseImage
    let model: FamilyModel
    /// The model without what the last frame of the journal says: a damaged last frame is one that a crash has torn.
    let older: FamilyModel

    /// With `isClosed` there is nothing in the journal.
    init(isClosed: Bool, checksums: Bool = false) throws {
        let run = try FamilyRun(DiskLayout(units: 600).withChecksums(checksums), keepsHistory: false)
        for unit in 0..<20 { try run.write(run.head, 24 * unit, 8 + unit % 7) }
        let first = try run.snapshot(run.head)
        try run.write(run.head, 8 * 512, 80)
        for unit in 0..<10 { try run.write(run.head, 40 * unit, 11) }
        try run.checkpoint()
        let clone = try run.clone(first)
        try run.write(clone, 16, 64)
        let second = try run.snapshot(run.head)
        try run.write(run.head, 80, 40)
        try run.discard(run.head, 200, 40)
        try run.delete(second)
        try run.mergeStep()
        try run.checkpoint()
        for unit in 0..<6 {
            try run.write(run.head, 1000 + 16 * unit, 8)
            try run.write(clone, 2000 + 16 * unit, 8)
            try run.flush()
        }
        try run.snapshot(run.head)
        let before = run.model
        try run.write(run.head, 320, 8)
        try run.flush()
        older = before
        if isClosed {
            guard run.family.close() == 0 else { throw ProofFailure("it does not close") }
        }
        model = run.model
        image = run.store.content
    }

    /// Pages that are no data: what fills blocks tells.
    var metadataPages: [Int] { pages(areData: false) }

    /// Pages with bytes that are not zero, those of data or all others.
    func pages(areData: Bool) -> [Int] {
        (0..<image.length / SparseImage.pageLength).filter { page in
            var bytes = [UInt8](repeating: 0, count: SparseImage.pageLength)
            bytes.modifyBytes { span in _ = image.read(into: &span, at: page * SparseImage.pageLength) }
            guard !bytes.rawSpan.isAllZero else { return false }
            var tags = [UInt64](repeating: 0, count: 8)
            BlockTag.tags(bytes, count: 8, into: &tags, at: 0)
            return tags.allSatisfy { $0 == 0 || $0 >> 40 == BlockTag.mark } == areData
        }
    }

    /// Opens a damaged file. What is read is right, or fails to be read; and what fails is found by the check.
    func look(at damaged: SparseImage) throws {
        let store = RecordingStore(damaged, keepsHistory: false)
        let family: DiskFamily
        do {
            family = try DiskFamily.open(store)
        } catch {
            guard !"\(error)".isEmpty else { throw ProofFailure("it is not opened without a reason") }
            return
        }
        let found = FamilyInspection(family, model.layout, unread: Self.unread)
        let report = family.report()
        let findings = FamilyFile(store: store, family: family, path: "damaged").check()
        guard let difference = self.difference(model, found), let other = self.difference(older, found) else {
            let isUnread = found.contents.values.contains { $0.contains(Self.unread) }
            if isUnread, findings.isEmpty, report.losses.isEmpty {
                throw ProofFailure("what cannot be read is not found by the check")
            }
            return
        }
        throw ProofFailure("\(difference); or: \(other); check: \(findings.prefix(3))")
    }

    private static let unread = UInt64(0xDEAD)

    private func difference(_ model: FamilyModel, _ found: FamilyInspection) -> String? {
        model.difference(from: found.replacing(Self.unread, model.nodes.mapValues(\.current)), isLive: true)
    }
}

@Suite("Damaged disks with snapshots")
struct FamilyDamageTests {
    @Test("A bit of anything but data is turned over: found, or harmless", arguments: [true, false])
    func bits(isClosed: Bool) throws {
        let sample = try DamageSample(isClosed: isClosed)
        var random = SeededRandom(seed: 1)
        let pages = sample.metadataPages
        #expect(pages.count > 20)
        var places: [(page: Int, byte: Int)] = []
        for page in pages {
            // The beginning has what counts most of superblocks and frames.
            let step = Effort.isFull ? 8 : 1024
            for byte in 0..<SparseImage.pageLength where byte < (Effort.isFull ? 512 : 2) || byte % step == page % step
            {
                places.append((page, byte))
            }
        }
        for (page, byte) in places {
            var damaged = sample.image
            let bit = Int.random(in: 0..<8, using: &random)
            damaged.flip(bit: bit, ofByte: page * SparseImage.pageLength + byte)
            do {
                try sample.look(at: damaged)
            } catch {
                throw ProofFailure("bit \(bit) of byte \(byte) of unit \(page): \(error)")
            }
        }
    }

    @Test("A page that was not written, or is another one, is found", arguments: [true, false])
    func pages(isClosed: Bool) throws {
        let sample = try DamageSample(isClosed: isClosed)
        let pages = sample.metadataPages
        for page in pages {
            for other in [nil, pages[(page * 7) % pages.count], page] as [Int?] where other != page {
                var damaged = sample.image
                var bytes = [UInt8](repeating: 0, count: SparseImage.pageLength)
                if let other {
                    bytes.modifyBytes { span in _ = sample.image.read(into: &span, at: other * SparseImage.pageLength) }
                }
                damaged.write(bytes, from: 0, to: bytes.count, at: page * SparseImage.pageLength)
                do {
                    try sample.look(at: damaged)
                } catch {
                    throw ProofFailure("unit \(page) is \(other.map { "unit \($0)" } ?? "zeros"): \(error)")
                }
            }
        }
    }

    @Test("The file is cut at any length: what is left is right", arguments: [true, false])
    func cuts(isClosed: Bool) throws {
        let sample = try DamageSample(isClosed: isClosed)
        var random = SeededRandom(seed: 2)
        for unit in 0..<sample.image.length / SparseImage.pageLength {
            let inside = Int.random(in: 1..<SparseImage.pageLength, using: &random)
            for more in [0, 512, inside] {
                var damaged = sample.image
                damaged.truncate(to: unit * SparseImage.pageLength + more)
                do {
                    try sample.look(at: damaged)
                } catch {
                    throw ProofFailure("cut at unit \(unit) + \(more): \(error)")
                }
            }
        }
    }
}
