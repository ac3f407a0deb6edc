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

    @Test("The seeds lead each command that has lists and forms of its own to GOOD")
    func commands() {
        for (number, seed) in FuzzTarget.cdb.seeds.enumerated() { expectKept(.cdb, seed, "seed \(number)") }
        let commands: [(code: UInt8, actions: [UInt8])] = [
            (0x7F, [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x12]), (0x83, [0x00, 0x01, 0x10, 0x11]),
            (0x84, [0x00, 0x03, 0x04, 0x05, 0x07]), (0x48, [0x01, 0x02]),
            (0x3B, [0x04, 0x05, 0x06, 0x07, 0x0A, 0x0D, 0x0E, 0x0F]), (0x3C, [0x03, 0x0A]),
        ]
        for (code, actions) in commands {
            for action in actions {
                #expect(FuzzTarget.hasSucceeded([code, action]), "\(String(code, radix: 16)) \(action)")
            }
        }
        for code: UInt8 in [0x04, 0x07, 0x3F, 0x41, 0x42, 0x93, 0x9C] {
            #expect(FuzzTarget.hasSucceeded([code]), "\(String(code, radix: 16))")
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
