import Catalog
import Resources

extension ControlPlane {
    /// The sessions that are logged in, by TSIH.
    func sessions() -> [Resource<Session>] {
        assembly.sessions().sorted { Session.description.naming.precedes($0.name, $1.name) }
    }

    /// The session with that TSIH.
    func session(_ name: String) throws(ManagementError) -> Resource<Session> {
        guard let session = assembly.sessions().first(where: { $0.name == name }) else {
            throw ManagementError(
                .notFound, "there is no session \(name); 'carousel session list' shows those there are")
        }
        return session
    }

    /// Asks initiators to log out, and closes their sessions after the time: the one with that TSIH, or without one
    /// those that `arguments` select. Gives the sessions that it closes.
    func closeSessions(
        _ name: String?, _ arguments: Session.Close.Arguments
    ) throws(ManagementError) -> [Resource<Session>] {
        let meant: [Resource<Session>]
        switch (name, arguments.initiator) {
        case (let name?, nil):
            guard arguments.target == nil else {
                throw ManagementError(.invalid, "a TSIH is one session already; leave out the target", field: "target")
            }
            meant = [try session(name)]
        case (nil, let initiator?):
            let target = try arguments.target.map { name throws(ManagementError) in try targetRecord(name).name }
            meant = sessions().filter {
                $0.status.initiator == initiator && (target == nil || $0.status.target == target)
            }
            guard !meant.isEmpty else {
                throw ManagementError(
                    .notFound, "'\(initiator)' has no such session; 'carousel session list' shows those there are")
            }
        default:
            throw ManagementError(.invalid, "name the sessions to close: a TSIH, or an initiator")
        }
        for session in meant {
            assembly.closeSession(session.name, seconds: arguments.seconds)
            record(
                event(
                    "close", "session", session.name,
                    old: ["initiator": .text(session.status.initiator), "target": .text(session.status.target)]))
        }
        return meant
    }
}
