internal import Initiator
internal import Platform

/// The suite: all tests, and running them one after another on the calling thread.
public enum ConformanceSuite {
    /// Why a run cannot begin.
    public enum Failure: Error, Sendable, CustomStringConvertible {
        /// The target cannot be reached, or does not let the suite in.
        case unusable(String)

        /// One sentence.
        public var description: String {
            switch self {
            case .unusable(let reason): reason
            }
        }
    }

    /// All tests, group by group.
    public static let tests: [ConformanceTest] = [
        LoginTests.all, LoginSessionTests.all, NumberKeyTests.all, KeyTests.all, DiscoveryTests.all, TextTests.all,
        NumberingTests.all, CommandFieldTests.all, DataInTests.all, DataOutTests.all, ControlTests.all,
        TaskManagementTests.all, PersistentReservationTests.all,
        SPCInquiryTests.all, SPCReportTests.all, SPCModeTests.all, SPCParameterTests.all,
        SBCRangeTests.all, SBCProvisioningTests.all, SBCCompareTests.all, SBCUnitTests.all,
        SBCVariableTests.all, CopyTests.all, TokenTests.all,
        SAMTests.all, ControlPageTests.all, ACATests.all, ALUATests.all, ALUAStateTests.all,
        DigestTests.all, CHAPTests.all, SNACKTests.all, ReassignTests.all, ConnectionTests.all,
        // Last, for they leave nothing of what others have written.
        SBCErasureTests.all,
    ].flatMap { $0 }

    /// The tests whose name is `name` or begins with one of `groups` (GROUP or GROUP.SUBJECT); all when nothing is
    /// chosen.
    public static func tests(groups: [String] = [], names: [String] = []) -> [ConformanceTest] {
        guard !groups.isEmpty || !names.isEmpty else { return tests }
        return tests.filter { test in
            names.contains(test.name) || groups.contains { test.group == $0 || test.subject == $0 }
        }
    }

    /// Runs `tests` against `target`; `progress` is called with each verdict.
    ///
    /// Every wait is bounded, so that a target that hangs costs `target.testLimit` a test.
    public static func run(
        _ tests: [ConformanceTest], against target: ConformanceTarget,
        progress: (ConformanceReport.Entry) -> Void = { _ in }
    ) throws(Failure) -> ConformanceReport {
        let survey = try Survey(of: target)
        var report = ConformanceReport(survey: survey.lines)
        for test in tests {
            let entry = ConformanceReport.Entry(test: test, verdict: verdict(test, target, survey))
            report.entries.append(entry)
            progress(entry)
        }
        return report
    }

    private static func verdict(
        _ test: ConformanceTest, _ target: ConformanceTarget, _ survey: Survey
    ) -> Verdict {
        for requirement in test.requirements {
            if let reason = survey.reasonAgainst(requirement, target) { return .skipped(reason) }
        }
        // Those that need a disk and may change it write to it.
        if survey.isWriteProtected, test.requirements.contains(.disk), test.requirements.contains(.dataLoss) {
            return .skipped("the medium is write-protected")
        }
        let bench = Bench(target: target, survey: survey)
        defer { bench.end() }
        do {
            try test.body(bench)
            return .passed
        } catch let end as TestEnd {
            return end.verdict
        } catch let refusal as LoginRefusal {
            return refusal.end.verdict
        } catch let error as InitiatorError {
            return .inconclusive(error.description)
        } catch {
            return .inconclusive("\(error)")
        }
    }
}
