import Bytes
import Foundation
import TestSupport
import Testing

@testable import Media

/// The images that there are.
enum GoldenKind: String, CaseIterable {
    case closed, open, compressed
    case checksumsClosed = "checksums-closed"
    case checksumsOpen = "checksums-open"

    var name: String { "epoch-map-1-\(rawValue).txt" }
    var isClosed: Bool { self == .closed || self == .checksumsClosed }
    var hasChecksums: Bool { self == .checksumsClosed || self == .checksumsOpen }
    var compression: Int? { self == .compressed ? 3 : nil }
}

/// Images that former versions of the program have written, which every version reads: `Media/golden`. A new version of
/// the format gets new ones beside them, which `CAROUSEL_WRITE_GOLDEN=1` makes of the present program.
@Suite("Golden images of disks with snapshots")
struct GoldenImageTests {
    static let layout = DiskLayout(units: 100, growsTo: 600)
    static let writes = ProcessInfo.processInfo.environment["CAROUSEL_WRITE_GOLDEN"] != nil

    @Test(
        "Every golden image is read as it was written",
        arguments: GoldenKind.allCases)
    func read(kind: GoldenKind) throws {
        let golden = try GoldenImage(name: kind.name)
        let store = RecordingStore(golden.image, keepsHistory: false)
        let family = try DiskFamily.open(store)
        let found = GoldenImage.nodes(of: family, Self.layout)
        #expect(found.map(\.line) == golden.nodes.map(\.line))
        for (node, expected) in zip(found, golden.nodes) {
            let difference = node.blocks.indices.first { node.blocks[$0] != expected.blocks[$0] }
            #expect(difference == nil, "first block that differs of node \(node.number)")
        }
        #expect(FamilyFile(store: store, family: family, path: kind.name).check().isEmpty)
        #expect(family.compressionLevel == kind.compression)
        #expect(golden.nodes.count > 4)
        #expect(golden.nodes.contains { $0.blocks.contains { $0 != 0 } })
    }

    /// Writes `count` blocks that are all the same, so that the text is short.
    private func fill(_ run: FamilyRun, _ head: UInt32, _ first: Int, _ count: Int) throws {
        try run.write(head, first, [UInt64](repeating: run.newTags(1)[0] & ~BlockTag.noise, count: count))
    }

    @Test("Golden images are written", .enabled(if: writes))
    func write() throws {
        try FileManager.default.createDirectory(at: GoldenImage.folder, withIntermediateDirectories: true)
        for kind in GoldenKind.allCases {
            let isClosed = kind.isClosed
            let run = try FamilyRun(
                Self.layout.withChecksums(kind.hasChecksums), keepsHistory: false, compression: kind.compression)
            try fill(run, run.head, 0, 200)
            let first = try run.snapshot(run.head)
            for unit in 0..<8 { try fill(run, run.head, 24 * unit, 5 + unit) }
            try run.resize(run.head, 4800)
            // A region that is a run.
            try fill(run, run.head, 4096, 704)
            try run.checkpoint()
            let clone = try run.clone(first)
            try fill(run, clone, 16, 64)
            let second = try run.snapshot(run.head)
            try run.discard(run.head, 40, 24)
            let head = try run.rollBack(run.head, to: first)
            try fill(run, head, 300, 9)
            try run.snapshot([clone, head])
            try fill(run, clone, 20, 8)
            try fill(run, head, 20, 8)
            try run.delete(second)
            if isClosed { try run.drain() }
            try run.flush()
            try run.verify()
            let nodes = GoldenImage.nodes(of: run.family, Self.layout)
            if isClosed { try run.reopen() }
            if isClosed, run.family.close() != 0 { throw ProofFailure("it does not close") }
            let text = GoldenImage.text(run.store.content, nodes)
            try text.write(to: GoldenImage.folder.appending(path: kind.name), atomically: true, encoding: .utf8)
        }
    }
}
