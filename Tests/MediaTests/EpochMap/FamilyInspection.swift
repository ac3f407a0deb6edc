import Bytes
import Glibc
import Platform
import TestSupport

@testable import Media

/// The number that fills a block, or of a block of noise the one that all of its words follow from.
enum BlockTag {
    /// What the upper 24 bits of each are.
    static let mark: UInt64 = 0xE90C4A

    /// What tags of noise have.
    static let noise: UInt64 = 1 << 39

    static func tag(_ number: UInt64) -> UInt64 { mark << 40 | number }

    private static func isNoise(_ tag: UInt64) -> Bool { tag >> 39 == mark << 1 | 1 }

    /// The words of a block.
    private static func words(_ tag: UInt64) -> [UInt64] {
        let count = DiskLayout.blockLength / 8
        guard isNoise(tag) else { return [UInt64](repeating: tag, count: count) }
        var random = SeededRandom(seed: tag)
        return [tag] + (1..<count).map { _ in random.next() }
    }

    /// Blocks that are filled with `tags`.
    static func bytes(_ tags: [UInt64]) -> [UInt8] {
        let wordsOfBlock = DiskLayout.blockLength / 8
        var words = [UInt64](repeating: 0, count: tags.count * wordsOfBlock)
        for (number, tag) in tags.enumerated() where tag != 0 {
            words.replaceSubrange(number * wordsOfBlock..<(number + 1) * wordsOfBlock, with: Self.words(tag))
        }
        return unsafe words.withUnsafeBytes { unsafe [UInt8]($0) }
    }

    /// What fills each of the blocks in `bytes`.
    static func tags(_ bytes: [UInt8], count: Int, into tags: inout [UInt64], at place: Int) {
        unsafe bytes.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            unsafe tags.withUnsafeMutableBufferPointer { target in
                for number in 0..<count {
                    let block = unsafe start + number * DiskLayout.blockLength
                    let first = unsafe block.loadUnaligned(as: UInt64.self)
                    let isWhole =
                        unsafe isNoise(first)
                        ? words(first).enumerated().allSatisfy { index, word in
                            unsafe block.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) == word
                        } : memcmp(block, block + 8, DiskLayout.blockLength - 8) == 0
                    unsafe target[place + number] = isWhole ? first : FamilyInspection.mixed
                }
            }
        }
    }
}

/// What an open family shows: its nodes, and of each that is to be read all blocks.
struct FamilyInspection {
    /// What stands for a block that no single write has filled.
    static let mixed = UInt64.max

    let nodes: [FamilyNode]
    private(set) var contents: [UInt32: [UInt64]] = [:]
    /// What could not be read.
    private(set) var failure: String?

    /// With `toleratesFailures` a block that cannot be read counts as `unread`.
    init(_ family: DiskFamily, _ layout: DiskLayout, unread: UInt64? = nil) {
        nodes = family.nodes
        for node in nodes where !node.isBeingDeleted && !node.name.isEmpty {
            var tags = [UInt64](repeating: 0, count: layout.count)
            var place = 0
            for window in layout.windows {
                let end = min(window.upperBound, Int(node.capacity) / DiskLayout.blockLength)
                var block = window.lowerBound
                while block < end {
                    let count = min(unread == nil ? 256 : 8, end - block)
                    let result = Self.read(family, node.number, block, count, into: &tags, at: place)
                    if result != .done(count * DiskLayout.blockLength) {
                        if let unread {
                            for number in 0..<count { tags[place + number] = unread }
                        } else if failure == nil {
                            failure = "node \(node.number), block \(block): \(result)"
                        }
                    }
                    block += count
                    place += count
                }
                place += max(0, window.upperBound - max(window.lowerBound, end))
            }
            contents[node.number] = tags
        }
    }

    /// With what `contents` has in place of blocks that are `unread`.
    func replacing(_ unread: UInt64, _ expected: [UInt32: [UInt64]]) -> FamilyInspection {
        var copy = self
        for (node, tags) in contents {
            guard let expected = expected[node] else { continue }
            for place in tags.indices where tags[place] == unread { copy.contents[node]?[place] = expected[place] }
        }
        return copy
    }

    /// Reads `count` blocks.
    static func read(
        _ family: DiskFamily, _ node: UInt32, _ block: Int, _ count: Int, into tags: inout [UInt64], at place: Int
    ) -> FileResult {
        var bytes = [UInt8](repeating: 0xA5, count: count * DiskLayout.blockLength)
        var result = FileResult.done(0)
        bytes.modifyBytes { span in
            result = family.read(node, into: &span, at: Int64(block * DiskLayout.blockLength))
        }
        BlockTag.tags(bytes, count: count, into: &tags, at: place)
        return result
    }

    /// The nearest ancestor of a node of which `counts` is true; 0 without.
    func parent(of node: UInt32, counts: (UInt32) -> Bool) -> UInt32 {
        var number = nodes.first { $0.number == node }?.parent ?? 0
        for _ in nodes where number != 0 && !counts(number) {
            number = nodes.first { $0.number == number }?.parent ?? 0
        }
        return number
    }
}
