import Catalog
import Foundation
import ISCSI
import Logging
public import Resources

extension Controller {
    /// The sessions that are logged in.
    public func sessions() -> [SessionSummary] {
        assembly.sessions().sorted { ($0.target, $0.initiator, $0.handle) < ($1.target, $1.initiator, $1.handle) }
    }

    /// The session with the TSIH that `text` gives.
    public func session(_ text: String) throws(ManagementError) -> SessionSummary {
        guard let handle = Int(text), (1...65535).contains(handle) else {
            throw ManagementError(
                .invalid, "'\(text)' is no session; give the number that 'carousel session list' shows as TSIH")
        }
        return try session(handle)
    }

    private func session(_ handle: Int) throws(ManagementError) -> SessionSummary {
        guard let session = assembly.sessions().first(where: { $0.handle == handle }) else {
            throw ManagementError(
                .notFound, "there is no session \(handle); 'carousel session list' shows those there are")
        }
        return session
    }

    /// Asks initiators to log out, and closes their sessions after the time. Gives the sessions that it closes.
    public func closeSessions(_ request: SessionClosing) throws(ManagementError) -> [SessionSummary] {
        try Self.checkGracePeriod(request.seconds)
        let meant: [SessionSummary]
        switch (request.handle, request.initiator) {
        case (let handle?, nil):
            guard request.target == nil else {
                throw ManagementError(.invalid, "a TSIH is one session already; leave out --target")
            }
            meant = [try session(handle)]
        case (nil, let initiator?):
            guard let name = ISCSIName.normalized(initiator) else {
                throw ManagementError(.invalid, "'\(initiator)' is no initiator's name; give its whole iSCSI name")
            }
            let target = try request.target.map { name throws(ManagementError) in try targetRecord(name).name }
            meant = sessions().filter { $0.initiator == name && (target == nil || $0.target == target) }
            guard !meant.isEmpty else {
                throw ManagementError(
                    .notFound, "'\(name)' has no such session; 'carousel session list' shows those there are")
            }
        default:
            throw ManagementError(.invalid, "name the sessions to close: a TSIH, or --initiator NAME")
        }
        for session in meant { assembly.closeSession(session.handle, seconds: request.seconds) }
        return meant
    }
}
