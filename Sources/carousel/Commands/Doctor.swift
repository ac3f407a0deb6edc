import ArgumentParser
import Console
import Foundation
import Glibc
import Management
import Resources

/// `carousel doctor`
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find out what keeps things from working, and say what to do.",
        discussion: """
            It looks from outside: at the state folder, the daemon and its portals, the catalog when no daemon has it, \
            and at what the machine gives. It changes nothing, and works without a daemon and as another user, who \
            sees less. Exit code 1 means that there is a problem.
            """)

    @OptionGroup var state: FolderOption
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let folder = FolderExamination(
            path: state.folder,
            origin: FolderExamination.origin(
                option: state.path, environment: ProcessInfo.processInfo.environment, isRoot: geteuid() == 0))
        let daemon = ControlClient(stateFolder: state.folder)
        let findings = folder.findings() + (await DaemonExamination(folder: folder, daemon: daemon).findings())
        try output.show(findings) { findings in
            findings.map { "\(Self.column($0.level)) \($0.subject): \(PrintableText.escaped($0.sentence))" }
                .joined(separator: "\n")
        }
        guard !findings.contains(where: { $0.level == .problem }) else {
            throw ExitCode(ExitStatus.refused.rawValue)
        }
    }

    private static func column(_ level: DoctorFinding.Level) -> String {
        level.rawValue
            + String(repeating: " ", count: DoctorFinding.Level.problem.rawValue.count - level.rawValue.count)
    }
}
