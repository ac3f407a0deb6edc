import Conformance
import Platform
import Testing

@Suite("The conformance suite against Carousel's own server")
struct CarouselConformanceTests {
    @Test("Every test passes or is skipped for a reason that is expected")
    func open() throws {
        let disk = try ServedDisk()
        var target = ConformanceTarget(portal: disk.address, targetName: ServedDisk.targetName)
        target.allowsDataLoss = true
        let report = try ConformanceSuite.run(ConformanceSuite.tests, against: target)
        for entry in report.entries {
            switch entry.verdict {
            case .passed, .skipped: break
            case .failed(let reason), .inconclusive(let reason):
                Issue.record("\(entry.test.name) (\(entry.test.clause)): \(reason)")
            }
        }
        #expect(report.total.passed > 20)
    }
}

@Suite("The suite itself")
struct SuiteTests {
    @Test("Names are GROUP.SUBJECT.CASE and unique; clauses and rules are there")
    func names() {
        let names = ConformanceSuite.tests.map(\.name)
        #expect(Set(names).count == names.count)
        for test in ConformanceSuite.tests {
            #expect(test.name.split(separator: ".").count == 3, "\(test.name)")
            #expect(test.clause.hasPrefix("RFC 7"), "\(test.name)")
            #expect(test.rule.hasSuffix("."), "\(test.name)")
        }
    }

    @Test("Groups, subjects and names choose tests")
    func choice() throws {
        let first = try #require(ConformanceSuite.tests.first)
        #expect(ConformanceSuite.tests(names: [first.name]).map(\.name) == [first.name])
        #expect(
            ConformanceSuite.tests(groups: [first.group]).count > ConformanceSuite.tests(groups: [first.subject]).count)
        #expect(ConformanceSuite.tests(groups: ["Nothing"]).isEmpty)
    }

    @Test("A portal where nobody listens ends the run with a sentence")
    func nobody() throws {
        let address = try #require(SocketAddress("127.0.0.1:1"))
        let target = ConformanceTarget(portal: address, targetName: "iqn.2026-11.dev.carousel:nobody")
        #expect(throws: ConformanceSuite.Failure.self) {
            try ConformanceSuite.run(ConformanceSuite.tests, against: target)
        }
    }
}
