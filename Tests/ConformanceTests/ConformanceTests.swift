import Authentication
import Conformance
import Encryption
import Foundation
import ISCSI
import Platform
import SCSI
import Testing

@Suite("The conformance suite against Carousel's own server")
struct CarouselConformanceTests {
    private func expectClean(_ report: ConformanceReport, passed: Int) {
        for entry in report.entries {
            switch entry.verdict {
            case .passed, .skipped: break
            case .failed(let reason), .inconclusive(let reason):
                Issue.record("\(entry.test.name) (\(entry.test.clause)): \(reason)")
            }
        }
        #expect(report.total.passed >= passed, "\(report.total)")
    }

    @Test("Without authentication, no test fails")
    func open() throws {
        let fixture = try ServerFixture()
        var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        target.allowsDataLoss = true
        target.allowsErasure = true
        target.silence = .milliseconds(10)
        let report = try ConformanceSuite.run(ConformanceSuite.tests, against: target)
        expectClean(report, passed: 440)
        for name in Self.ofType2 { expectSkipped(report, name) }
    }

    /// Those for disks with type 2 protection information alone.
    private static let ofType2 = [
        "SBC.Variable.Tags", "SBC.Variable.ReferenceTag", "SBC.Variable.Guard", "SBC.Variable.ShortForms",
    ]

    private func expectSkipped(_ report: ConformanceReport, _ name: String) {
        guard case .skipped = report.entries.first(where: { $0.test.name == name })?.verdict else {
            Issue.record("\(name) is not skipped")
            return
        }
    }

    @Test("With type 2 protection information, no test of disks and copies fails, and its own pass")
    func protected() throws {
        let fixture = try ServerFixture(protection: .type2)
        var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        target.allowsDataLoss = true
        target.allowsErasure = true
        target.silence = .milliseconds(10)
        let report = try ConformanceSuite.run(ConformanceSuite.tests(groups: ["SBC", "Copy"]), against: target)
        expectClean(report, passed: 80)
        for name in Self.ofType2 {
            #expect(report.entries.first { $0.test.name == name }?.verdict == .passed, "\(name)")
        }
    }

    @Test("Without permission nothing is erased, and nothing is copied")
    func unpermitted() throws {
        let fixture = try ServerFixture()
        var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        let erasures = ConformanceSuite.tests(groups: ["SBC.Sanitize", "SBC.Format"])
        #expect(erasures.count == 8)
        for allowsDataLoss in [false, true] {
            target.allowsDataLoss = allowsDataLoss
            let report = try ConformanceSuite.run(erasures, against: target)
            #expect(report.total.skipped == erasures.count)
        }
        target.allowsDataLoss = false
        target.allowsErasure = true
        let tests = erasures + ConformanceSuite.tests(groups: ["Copy.Segment"])
        #expect(try ConformanceSuite.run(tests, against: target).total.skipped == tests.count)
    }

    @Test("Of an encrypted disk CRYPTOGRAPHIC ERASE is tested, of others not")
    func encrypted() throws {
        let key = try UserKey(SecretBytes([UInt8](repeating: 7, count: UserKey.randomLength)))
        for isEncrypted in [false, true] {
            let fixture = try ServerFixture(userKey: isEncrypted ? key : nil)
            var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
            target.allowsDataLoss = true
            target.allowsErasure = true
            let report = try ConformanceSuite.run(
                ConformanceSuite.tests(groups: ["SBC.Sanitize", "SBC.Format"]), against: target)
            expectClean(report, passed: isEncrypted ? 8 : 7)
            if !isEncrypted { expectSkipped(report, "SBC.Sanitize.Cryptographic") }
        }
    }

    @Test("A disk that is too small is not written, and the reason says so")
    func small() throws {
        let fixture = try ServerFixture(capacity: 1 << 20)
        var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        target.allowsDataLoss = true
        target.allowsErasure = true
        let tests = ConformanceSuite.tests(groups: ["SBC.Sanitize", "SBC.Format"])
        let report = try ConformanceSuite.run(tests, against: target)
        let reason = "the disk has 2048 blocks, and the tests need 4096 of them (2 MiB)"
        #expect(report.skipReasons.map(\.reason) == [reason] && report.skipReasons.first?.count == tests.count)
        #expect(report.survey.contains("nothing is read or written: \(reason)"))
    }

    @Test("With CHAP both ways, no test of CHAP and login fails")
    func authenticated() throws {
        let initiator = CHAPCredential(name: "initiator", secret: Array("marlin-marlin-marlin".utf8))
        let own = CHAPCredential(name: "target", secret: Array("halibut-halibut".utf8))
        let fixture = try ServerFixture(
            authentication: .chap(initiators: [initiator], target: own, provider: .standard))
        var target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        target.credential = initiator
        target.mutualCredential = own
        let tests = ConformanceSuite.tests(groups: ["CHAP", "Login.Session", "Login.Stage", "Login.Key"])
        expectClean(try ConformanceSuite.run(tests, against: target), passed: 60)
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
            #expect(
                ["RFC 7", "SAM-5 clause ", "SPC-5 clause ", "SBC-4 clause "].contains { test.clause.hasPrefix($0) },
                "\(test.name)")
            #expect(test.rule.hasSuffix("."), "\(test.name)")
        }
    }

    @Test("The README says how many there are")
    func number() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        #expect(text.contains("ours or not: \(ConformanceSuite.tests.count) tests of its iSCSI"))
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

    @Test("A target that never answers ends the run in time")
    func silent() throws {
        let listener = try ListenSocket(listeningOn: #require(SocketAddress("127.0.0.1:0")))
        var target = ConformanceTarget(portal: listener.address, targetName: "iqn.2026-11.dev.carousel:silent")
        target.answerLimit = .milliseconds(50)
        #expect(throws: ConformanceSuite.Failure.self) {
            try ConformanceSuite.run(ConformanceSuite.tests, against: target)
        }
    }

    @Test("A test that the target gives no reason for is skipped, not passed")
    func skipped() throws {
        let fixture = try ServerFixture()
        let target = ConformanceTarget(portal: fixture.address, targetName: ServerFixture.targetName)
        let tests = ConformanceSuite.tests(groups: ["CHAP.Response", "FullFeature.DataOut"])
        let report = try ConformanceSuite.run(tests, against: target)
        #expect(report.isClean)
        #expect(report.total.skipped >= tests.count - 1)
    }
}
