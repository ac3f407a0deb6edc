import ArgumentParser
import Foundation
import Testing

@testable import carousel_bench

@Suite("Images") struct ImagesTests {
    @Test("all jobs run, and those that have goals tell of them")
    func jobs() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "images-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let results = try await ImagesSubcommand.parse(["--quick"]).measure(in: folder.path)
        let jobs = Set(results.rows.map(\.job))
        for name in ImageJobs.names { #expect(jobs.contains { $0.hasPrefix(name) }, "\(name)") }
        for row in results.rows where row.note.isEmpty {
            #expect(row.figures.allSatisfy { $0 >= 0 }, "\(row.job), \(row.disk)")
            #expect(row.goal == .none || results.isReached(row) != nil, "\(row.job), \(row.disk)")
        }
        // What does not depend on the machine's speed.
        for row in results.rows where row.job == "bytes" { #expect(results.isReached(row) == true, "\(row.disk)") }
    }

    @Test("a ratio is the median of those of the rounds")
    func ratios() throws {
        var results = ImageComparison()
        for (plain, ours) in [(100.0, 90.0), (10.0, 20.0), (50.0, 50.0)] {
            results.add(plain, "IOPS", of: "job", on: "plain")
            results.add(ours, "IOPS", of: "job", on: "ours", over: "plain", goal: .atLeast(1))
            results.add(ours, "IOPS", of: "job", on: "more", over: "plain", goal: .atLeast(1.5))
        }
        results.skip("job", "absent", "there is no such tool")
        #expect(results.rows.map { results.found($0) } == [50, 1, 1, nil])
        #expect(results.rows.map { results.isReached($0) } == [nil, true, false, nil])
        let lines = results.lines(of: "job")
        #expect(lines[0].hasPrefix("job "))
        #expect(lines[1].contains("1.000 (0.90..2.00)") && lines[1].hasSuffix("reached"))
        #expect(lines[2].hasSuffix("MISSED"))
        #expect(lines[3].hasSuffix("there is no such tool"))
    }

    @Test("a stepping pattern comes to every block once", arguments: [1, 2, 64, 1024, 65536])
    func stepping(blocks: Int) {
        let step = ImagePlan.step(blocks: blocks)
        #expect(Set((0..<blocks).map { $0 * step % blocks }).count == blocks)
    }

    @Test(
        "what cannot be measured is refused",
        arguments: [["--depths", "1,8"], ["--depths", "x"], ["--span", "3MiB"], ["--rounds", "0"], ["nothing"]])
    func refusals(words: [String]) {
        #expect(throws: (any Error).self) { try ImagesSubcommand.parse(words) }
    }
}
