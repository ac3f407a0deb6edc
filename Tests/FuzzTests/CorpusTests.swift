import Foundation
import FuzzTargets
import Testing

/// What the fuzzers have found interesting goes through the same functions again, without libFuzzer.
@Suite("Fuzz corpora", .serialized)
struct CorpusTests {
    static let corpora = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fuzz/Corpora")

    /// The most files of a corpus, and the most bytes of one of them.
    static let fileLimit = 250
    static let lengthLimit = 4096

    @Test("Every file keeps the promises of its target", arguments: FuzzTarget.allCases)
    func files(target: FuzzTarget) throws {
        let folder = Self.corpora.appending(path: target.rawValue)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path(percentEncoded: false)).sorted()
        #expect(!names.isEmpty && names.count <= Self.fileLimit, "\(names.count) files")
        for name in names {
            let input = try Data(contentsOf: folder.appending(path: name))
            #expect(input.count <= Self.lengthLimit, "\(name) is too long")
            expectKept(target, Array(input), name)
        }
    }

    @Test("Every seed keeps the promises of its target", arguments: FuzzTarget.allCases)
    func seeds(target: FuzzTarget) {
        #expect(!target.seeds.isEmpty)
        for (number, seed) in target.seeds.enumerated() {
            expectKept(target, seed, "seed \(number)")
            // Cut short, and with one byte changed.
            expectKept(target, Array(seed.dropLast(1 + seed.count / 3)), "seed \(number), cut")
            for position in stride(from: number % 7, to: seed.count, by: 7) {
                var changed = seed
                changed[position] ^= UInt8(truncatingIfNeeded: 1 << (position % 8))
                expectKept(target, changed, "seed \(number), byte \(position) changed")
            }
        }
    }

    @Test("The seeds of logins get in, with proof where it is asked for")
    func promises() {
        // A seed that is refused would not reach what lies behind a login.
        for seed in FuzzTarget.loginText.seeds.prefix(3) {
            #expect(throws: FuzzFinding.self) { try FuzzTarget.expectRefusal(ofLogin: seed) }
        }
    }

    private func expectKept(_ target: FuzzTarget, _ input: [UInt8], _ name: String) {
        do throws(FuzzFinding) {
            try target.run(input)
        } catch {
            Issue.record("\(target.rawValue), \(name): \(error)")
        }
    }
}
