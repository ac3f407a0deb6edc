import Console
import Foundation
import Management
import Platform
import Resources

/// The daemon of a state folder, or what keeps one from starting.
struct DaemonExamination {
    /// How long a portal may take to accept a connection.
    private static let connectTimeout = Duration.seconds(3)

    let folder: FolderExamination
    let daemon: ControlClient

    func findings() async -> [DoctorFinding] {
        do {
            let status: DaemonStatus = try await daemon.get("status")
            return running(status) + SystemExamination.findings(daemon: status.processID)
        } catch ControlClientError.unreachable(let sentence) {
            return stopped(sentence) + SystemExamination.findings(daemon: nil)
        } catch {
            return [
                .problem(
                    "daemon",
                    "it does not answer as this program expects; use programs of one version, and start the "
                        + "daemon again")
            ] + SystemExamination.findings(daemon: nil)
        }
    }

    // MARK: While it runs

    private func running(_ status: DaemonStatus) -> [DoctorFinding] {
        var findings = [DoctorFinding.ok("daemon", "process \(status.processID) serves, version \(status.version)")]
        if status.version != Controller.version {
            findings.append(
                .warning(
                    "daemon",
                    "it is of version \(status.version), and this program of \(Controller.version); start it "
                        + "again"))
        }
        if status.portals.isEmpty {
            findings.append(.problem("portals", "there is none; add one with 'carousel portal create'"))
        }
        findings += status.portals.map(Self.portal)
        findings += status.problems.map { .problem("status", $0) }
        findings += status.warnings.map { .warning("status", $0) }
        findings += status.unclaimed.map {
            .warning("status", "the catalog does not know \($0); take it up with 'carousel adopt', or remove it")
        }
        return findings
    }

    /// Whether a portal accepts connections from this machine.
    private static func portal(_ portal: String) -> DoctorFinding {
        let reachable = portal.replacing("0.0.0.0:", with: "127.0.0.1:").replacing("[::]:", with: "[::1]:")
        guard let address = SocketAddress(reachable) else { return .ok("portals", portal) }
        do {
            _ = try StreamSocket.connect(to: address, timeout: connectTimeout)
            return .ok("portals", "\(portal) accepts connections")
        } catch {
            return .problem(
                "portals",
                "\(portal) accepts no connection from here: \(error.reason); see firewall and addresses of this machine"
            )
        }
    }

    // MARK: While it does not

    private func stopped(_ sentence: String) -> [DoctorFinding] {
        if let owner = folder.owner {
            return [
                .problem(
                    "daemon",
                    "process \(owner) has the state folder, but does not answer on its control socket; see its log, "
                        + "and start it again")
            ]
        }
        var findings = [DoctorFinding.problem("daemon", sentence)]
        guard folder.exists else { return findings + [Self.listening("127.0.0.1:3260")] }
        if FileManager.default.fileExists(atPath: folder.path + "/apply.json") {
            findings.append(
                .warning(
                    "configuration", "a change of it was interrupted; the next start takes it back, or ends it"))
        }
        switch StoppedState.examine(folder.path) {
        case .none: findings.append(Self.listening("127.0.0.1:3260"))
        case .failed(let reason): findings.append(.problem("catalog", reason))
        case .read(let damage, let portals):
            findings.append(damage.isEmpty ? .ok("catalog", "nothing is wrong with it") : .problem("catalog", damage))
            findings += (portals.isEmpty ? ["127.0.0.1:3260"] : portals).map(Self.listening)
        }
        return findings
    }

    /// Whether a daemon could listen there.
    private static func listening(_ portal: String) -> DoctorFinding {
        guard let address = SocketAddress(portal) else { return .ok("portals", portal) }
        do {
            _ = try ListenSocket(listeningOn: address)
            return .ok("portals", "\(portal) is free for the daemon")
        } catch {
            return .problem(
                "portals",
                "the daemon could not listen on \(portal): \(error.reason); stop who does, or give another with "
                    + "--portal")
        }
    }
}
