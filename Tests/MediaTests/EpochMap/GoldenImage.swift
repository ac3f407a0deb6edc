import Bytes
import Foundation
import Platform
import TestSupport

@testable import Media

/// An image as text, with what its nodes hold: units that are not zero as runs of equal words of 8 bytes.
///
///     length 1310720
///     unit 80
///     words 0 64 e90c4a0000000001
///     node 1 2 head 4800 disk
///     blocks 0 8 e90c4a0000000001
///
/// `words`: the first word of the unit, how many, and what they are. `node`: number, parent, kind, capacity in blocks,
/// and name. `blocks`: likewise the blocks of the node before, each full of that word; others are zeros.
struct GoldenImage {
    struct Node {
        let number: UInt32
        let parent: UInt32
        let isHead: Bool
        let capacity: Int
        let name: String
        var blocks: [UInt64]

        var line: String { "node \(number) \(parent) \(isHead ? "head" : "snapshot") \(capacity) \(name)" }
    }

    private(set) var image = SparseImage()
    private(set) var nodes: [Node] = []

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "../../../Media/golden").standardizedFileURL

    /// What the file `name` has.
    init(name: String) throws {
        let text = try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
        var unit = 0
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 5).map(String.init)
            guard let numbers = Self.numbers(words) else { throw ProofFailure("\(name): \(line)") }
            switch words[0] {
            case "length": image.truncate(to: numbers[0])
            case "unit": unit = numbers[0]
            case "words":
                let word = UInt64(words[3], radix: 16) ?? 0
                let single = (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
                let bytes = (0..<numbers[1]).flatMap { _ in single }
                image.write(
                    bytes, from: 0, to: bytes.count, at: unit * SparseImage.pageLength + 8 * numbers[0])
            case "node":
                guard words.count == 6, let capacity = Int(words[4]) else { throw ProofFailure("\(name): \(line)") }
                nodes.append(
                    Node(
                        number: UInt32(numbers[0]), parent: UInt32(numbers[1]), isHead: words[3] == "head",
                        capacity: capacity, name: words[5], blocks: [UInt64](repeating: 0, count: capacity)))
            case "blocks":
                let word = UInt64(words[3], radix: 16) ?? 0
                nodes[nodes.count - 1].blocks.replaceSubrange(
                    numbers[0]..<numbers[0] + numbers[1], with: repeatElement(word, count: numbers[1]))
            default: throw ProofFailure("\(name): \(line)")
            }
        }
    }

    private static func numbers(_ words: [String]) -> [Int]? {
        guard words.count >= 2, let first = Int(words[1]) else { return nil }
        guard words.count > 2 else { return [first] }
        return Int(words[2]).map { [first, $0] }
    }

    /// What there is in an open family, of disks that are windows of their own.
    static func nodes(of family: DiskFamily, _ layout: DiskLayout) -> [Node] {
        let found = FamilyInspection(family, layout)
        return found.nodes.map { node in
            let capacity = Int(node.capacity) / DiskLayout.blockLength
            return Node(
                number: node.number, parent: node.parent, isHead: node.kind == .head, capacity: capacity,
                name: node.name,
                blocks: (found.contents[node.number] ?? []).prefix(capacity).map { $0.bigEndian })
        }
        .sorted { $0.number < $1.number }
    }

    /// The text of an image.
    static func text(_ image: SparseImage, _ nodes: [Node]) -> String {
        var lines = ["length \(image.length)"]
        for unit in 0..<image.length / SparseImage.pageLength {
            var bytes = [UInt8](repeating: 0, count: SparseImage.pageLength)
            bytes.modifyBytes { span in _ = image.read(into: &span, at: unit * SparseImage.pageLength) }
            let words = (0..<512).map { bytes.rawSpan.loadBE64(at: 8 * $0) }
            let runs = runs(words)
            guard !runs.isEmpty else { continue }
            lines.append("unit \(unit)")
            lines += runs.map { "words \($0.first) \($0.count) \(String($0.word, radix: 16))" }
        }
        for node in nodes {
            lines.append(node.line)
            lines += runs(node.blocks).map { "blocks \($0.first) \($0.count) \(String($0.word, radix: 16))" }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Runs of equal words that are not zero.
    private static func runs(_ words: [UInt64]) -> [(first: Int, count: Int, word: UInt64)] {
        var runs: [(first: Int, count: Int, word: UInt64)] = []
        for (place, word) in words.enumerated() where word != 0 {
            if let last = runs.last, last.word == word, last.first + last.count == place {
                runs[runs.count - 1].count += 1
            } else {
                runs.append((place, 1, word))
            }
        }
        return runs
    }
}
