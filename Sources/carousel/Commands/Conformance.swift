import ArgumentParser
import Conformance
import Foundation
import ISCSI
import Initiator
import SCSI

/// `carousel conformance`
struct ConformanceRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conformance",
        abstract: "Test any iSCSI target against RFC 7143 and 7144, and its logical units against SAM, SPC and SBC.",
        discussion: """
            The target is named by a URL: iscsi://HOST:PORT/TARGET-NAME[/LUN]. It needs no daemon. A target that asks \
            for CHAP needs --chap-file: a file that only its owner may read, with USER%SECRET in its first line and, \
            to test mutual CHAP, the target's own USER%SECRET in the second.

            Without --data-loss nothing is written to the logical unit and nothing is reset; the tests that need it \
            are skipped. With it some blocks are overwritten; tests of SANITIZE and FORMAT UNIT, which destroy all \
            data, are skipped without --erase, too. The target should be idle: other initiators may disturb the \
            tests, and be disturbed.

            Exit codes: 0 every test passed or was skipped; 1 a test failed or found nothing out; 64 the command line \
            makes no sense; 69 the target cannot be tested at all.
            """)

    @Argument(help: "The logical unit to test; LUN 0 when none is named.")
    var url: String?
    @Option(
        name: .customLong("only"),
        help: ArgumentHelp(
            "Run only the tests below this name, as in CHAP or LOGIN.KEYS, or this one test; may be repeated.",
            valueName: "name"))
    var only: [String] = []
    @Option(
        help: ArgumentHelp(
            "The file with the CHAP names and secrets; - is standard input, or asks on the terminal.",
            valueName: "file"), completion: .file())
    var chapFile: String?
    @Flag(help: "Allow tests to overwrite the logical unit and to reset the target.")
    var dataLoss = false
    @Flag(help: "Allow tests to destroy all data on the logical unit, with SANITIZE and FORMAT UNIT, too.")
    var erase = false
    @Flag(help: "List the tests with the rules that they check, and run none.")
    var list = false
    @OptionGroup var output: OutputOptions

    func run() throws {
        let tests = try chosenTests()
        if list {
            try output.show(tests.map(ConformanceResult.init)) { _ in
                Output.table(["TEST", "CLAUSE", "RULE"], tests.map { [$0.name, $0.clause, $0.rule] }, empty: "")
            }
            return
        }
        let target = try target()
        let report: ConformanceReport
        do throws(ConformanceSuite.Failure) {
            report = try ConformanceSuite.run(tests, against: target) { entry in
                if !output.isJSON, let line = Self.line(entry) { Output.print(line) }
            }
        } catch {
            throw CommandFailure(.unavailable, error.description)
        }
        try output.show(ConformanceResults(report)) { _ in Self.summary(report) }
        guard report.isClean else {
            throw CommandFailure(
                .refused, "\(report.total.failed + report.total.inconclusive) of \(tests.count) tests did not pass")
        }
    }

    private func chosenTests() throws -> [ConformanceTest] {
        for name in only where ConformanceSuite.tests(groups: [name], names: [name]).isEmpty {
            throw CommandFailure(.usage, "there is no test '\(name)', and none below it; --list shows the tests")
        }
        return ConformanceSuite.tests(groups: only, names: only)
    }

    func validate() throws {
        guard !erase || dataLoss else {
            throw ValidationError("--erase destroys data, which --data-loss allows; give both")
        }
    }

    private func target() throws -> ConformanceTarget {
        guard let text = url else {
            throw CommandFailure(.usage, "which target? name it: iscsi://HOST:PORT/TARGET-NAME[/LUN]")
        }
        guard let url = ISCSIURL(text), let name = url.targetName else {
            throw CommandFailure(
                .usage,
                "'\(Self.withoutSecret(text))' names no target; write iscsi://HOST:PORT/TARGET-NAME[/LUN] with a "
                    + "numeric host"
            )
        }
        guard url.credential == nil else {
            throw CommandFailure(
                .usage,
                "everybody on this machine can read a secret on the command line; write USER%SECRET to a file that "
                    + "only you may read, and name it with --chap-file")
        }
        var target = ConformanceTarget(portal: url.portal, targetName: name)
        target.logicalUnitNumber = LogicalUnitNumber(url.logicalUnit ?? 0)
        target.allowsDataLoss = dataLoss
        target.allowsErasure = erase
        if let chapFile {
            let credentials = try CredentialFile(path: chapFile)
            target.credential = credentials.initiator
            target.mutualCredential = credentials.target
        }
        return target
    }

    /// The URL without what stands before an @.
    private static func withoutSecret(_ url: String) -> String {
        guard let start = url.range(of: "://")?.upperBound, let at = url.lastIndex(of: "@"), start < at else {
            return url
        }
        return String(url[..<start] + url[at...].dropFirst())
    }

    /// A line about a test that did not pass; nil for the others.
    private static func line(_ entry: ConformanceReport.Entry) -> String? {
        switch entry.verdict {
        case .passed, .skipped: nil
        case .failed(let reason): "FAILED \(entry.test.name) (\(entry.test.clause))\n       \(reason)"
        case .inconclusive(let reason): "OPEN   \(entry.test.name) (\(entry.test.clause))\n       \(reason)"
        }
    }

    private static func summary(_ report: ConformanceReport) -> String {
        let counts = report.subjects + [report.total]
        let table = Output.table(
            ["GROUP", "PASSED", "FAILED", "SKIPPED", "OPEN", "TOTAL"],
            counts.map {
                [$0.name, "\($0.passed)", "\($0.failed)", "\($0.skipped)", "\($0.inconclusive)", "\($0.total)"]
            }, empty: "no tests")
        let lines = report.survey.map { "target: \($0)" } + ["", table] + skipReasons(report)
        return lines.joined(separator: "\n")
    }

    /// How many reasons for skipping tests the text has; --json has one for each.
    private static let reasonLimit = 8

    /// Why tests were skipped: the reasons of the most tests first.
    private static func skipReasons(_ report: ConformanceReport) -> [String] {
        let counts = report.skipReasons
        guard !counts.isEmpty else { return [] }
        let lines = counts.prefix(reasonLimit).map { "skipped: \($0.count), as \($0.reason)" }
        let rest = counts.dropFirst(reasonLimit).reduce(0) { $0 + $1.count }
        return [""] + lines + (rest == 0 ? [] : ["skipped: \(rest), for other reasons, which --json has"])
    }
}

/// A test, and its verdict once it has run, as `--json` prints it.
private struct ConformanceResult: Encodable {
    let name: String
    let clause: String
    let rule: String
    var verdict: String?
    var reason: String?

    init(_ test: ConformanceTest) {
        name = test.name
        clause = test.clause
        rule = test.rule
    }

    init(_ entry: ConformanceReport.Entry) {
        self.init(entry.test)
        switch entry.verdict {
        case .passed: verdict = "passed"
        case .failed(let text): (verdict, reason) = ("failed", text)
        case .skipped(let text): (verdict, reason) = ("skipped", text)
        case .inconclusive(let text): (verdict, reason) = ("inconclusive", text)
        }
    }
}

/// A report as `--json` prints it.
private struct ConformanceResults: Encodable {
    struct Count: Encodable {
        let name: String
        let passed: Int
        let failed: Int
        let skipped: Int
        let inconclusive: Int

        init(_ count: ConformanceReport.Count) {
            name = count.name
            passed = count.passed
            failed = count.failed
            skipped = count.skipped
            inconclusive = count.inconclusive
        }
    }

    let survey: [String]
    let groups: [Count]
    let total: Count
    let tests: [ConformanceResult]

    init(_ report: ConformanceReport) {
        survey = report.survey
        groups = report.groups.map(Count.init)
        total = Count(report.total)
        tests = report.entries.map(ConformanceResult.init)
    }
}
