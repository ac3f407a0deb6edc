public import Resources

// Targets, portals, groups, secrets, sessions and the name server.
extension Controller {
    // MARK: Targets

    /// The targets of the page, by name.
    public func targets(_ page: Page = .all) async throws(ManagementError) -> [Resource<ISCSITarget>] {
        try await query { plane throws(ManagementError) in try plane.targets(page) }
    }

    /// The target `name`, given as an iSCSI name or as the name of its disk or library.
    public func target(_ name: String) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await query { plane throws(ManagementError) in try plane.target(name) }
    }

    /// Makes a target without logical units.
    @discardableResult
    public func createTarget(
        _ name: String, _ spec: ISCSITarget.Spec = ISCSITarget.Spec()
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await change(Self.keys(ofUnitsIn: spec).union([.access, .portals, .thing(name)])) {
            plane throws(ManagementError) in
            try plane.createTarget(name, spec)
        }
    }

    /// Makes the target `name` what `spec` says. Where that may let somebody see more it has to be asked for:
    /// `mayWiden`.
    @discardableResult
    public func changeTarget(
        _ name: String, to spec: ISCSITarget.Spec, mayWiden: Bool = false
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await change(Self.keys(ofUnitsIn: spec).union([.access, .portals, .thing(name)])) {
            plane throws(ManagementError) in
            try plane.changeTarget(name, to: spec, mayWiden: mayWiden)
        }
    }

    /// The keys of the devices that `spec` shows: none may go away while it is given a number.
    private static func keys(ofUnitsIn spec: ISCSITarget.Spec) -> Set<ChangeKey> {
        let units = [spec.units] + spec.groups.values.map { $0.units ?? [:] }
        return Set(units.flatMap(\.values).map(ChangeKey.thing))
    }

    /// Deletes a target that was made for itself.
    public func deleteTarget(_ name: String) async throws(ManagementError) {
        try await change([.access, .thing(name)]) { plane throws(ManagementError) in try plane.deleteTarget(name) }
    }

    /// Shows logical units at a target, to everyone or to a group.
    @discardableResult
    public func map(
        target name: String, _ request: ISCSITarget.Map.Arguments
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        // No device may go away while it is given a number.
        let devices = request.units.values.map(ChangeKey.thing)
        return try await change(Set(devices).union([.access, .thing(name)])) { plane throws(ManagementError) in
            try plane.map(target: name, request)
        }
    }

    /// Takes logical units, or a group's access, from a target.
    @discardableResult
    public func unmap(
        target name: String, _ request: ISCSITarget.Unmap.Arguments
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await change([.access, .thing(name)]) { plane throws(ManagementError) in
            try plane.unmap(target: name, request)
        }
    }

    /// Sets who may log in to the target `name`.
    @discardableResult
    public func setAccess(
        ofTarget name: String, to level: AccessLevel, mayWiden: Bool = false
    ) async throws(ManagementError) -> Resource<ISCSITarget> {
        try await change([.access, .thing(name)]) { plane throws(ManagementError) in
            try plane.setAccess(ofTarget: name, to: level, mayWiden: mayWiden)
        }
    }

    // MARK: Groups

    /// The initiator groups, by rank.
    public func initiatorGroups() async throws(ManagementError) -> [Resource<InitiatorGroup>] {
        try await query { plane throws(ManagementError) in try plane.initiatorGroups() }
    }

    public func initiatorGroup(_ name: String) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await query { plane throws(ManagementError) in try plane.initiatorGroup(name) }
    }

    /// Makes a group.
    @discardableResult
    public func createInitiatorGroup(
        _ name: String, _ spec: InitiatorGroup.Spec
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await change([.access]) { plane throws(ManagementError) in try plane.createInitiatorGroup(name, spec) }
    }

    /// Makes a group what `spec` says. Where that may let somebody see more it has to be asked for: `mayWiden`.
    @discardableResult
    public func changeInitiatorGroup(
        _ name: String, to spec: InitiatorGroup.Spec, mayWiden: Bool = false
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await change([.access]) { plane throws(ManagementError) in
            try plane.changeInitiatorGroup(name, to: spec, mayWiden: mayWiden)
        }
    }

    /// Gives a group more members.
    @discardableResult
    public func extendInitiatorGroup(
        _ name: String, _ members: InitiatorGroup.Add.Arguments
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await change([.access]) { plane throws(ManagementError) in try plane.extendInitiatorGroup(name, members) }
    }

    /// Takes members from a group.
    @discardableResult
    public func reduceInitiatorGroup(
        _ name: String, _ members: InitiatorGroup.Remove.Arguments
    ) async throws(ManagementError) -> Resource<InitiatorGroup> {
        try await change([.access]) { plane throws(ManagementError) in try plane.reduceInitiatorGroup(name, members) }
    }

    /// Deletes a group that no target counts on.
    public func deleteInitiatorGroup(_ name: String) async throws(ManagementError) {
        try await change([.access]) { plane throws(ManagementError) in try plane.deleteInitiatorGroup(name) }
    }

    // MARK: Secrets

    /// The names and places for which there are secrets, by name; no secrets.
    public func credentials() async throws(ManagementError) -> [Resource<Credential>] {
        try await query { plane throws(ManagementError) in plane.credentials() }
    }

    /// The credential `PLACE/USER`.
    public func credential(_ name: String) async throws(ManagementError) -> Resource<Credential> {
        try await query { plane throws(ManagementError) in try plane.credential(name) }
    }

    /// Sets a name and its secret, and requires a proof at the place from now on.
    @discardableResult
    public func createCredential(
        _ name: String, _ spec: Credential.Spec
    ) async throws(ManagementError) -> Resource<Credential> {
        try await change(Self.keys(ofPlace: name)) { plane throws(ManagementError) in
            try plane.createCredential(name, spec)
        }
    }

    /// Gives a name another secret.
    @discardableResult
    public func changeCredential(
        _ present: Resource<Credential>, to spec: Credential.Spec
    ) async throws(ManagementError) -> Resource<Credential> {
        try await change(Self.keys(ofPlace: present.name)) { plane throws(ManagementError) in
            try plane.changeCredential(present, to: spec)
        }
    }

    /// Forgets a name with its secret.
    public func deleteCredential(_ name: String) async throws(ManagementError) {
        try await change(Self.keys(ofPlace: name)) { plane throws(ManagementError) in
            try plane.deleteCredential(name)
        }
    }

    /// Sets which algorithms are allowed at a place.
    @discardableResult
    public func allow(_ arguments: Credential.Allow.Arguments) async throws(ManagementError) -> [String] {
        try await change(Self.keys(ofPlace: arguments.place)) { plane throws(ManagementError) in
            try plane.allow(arguments)
        }
    }

    /// Requires no proof at a place any more.
    public func waive(_ arguments: Credential.Waive.Arguments) async throws(ManagementError) {
        try await change(Self.keys(ofPlace: arguments.place)) { plane throws(ManagementError) in
            try plane.waive(arguments)
        }
    }

    /// The keys of what is said about secrets at the place with which `text` begins, as the name of a credential does:
    /// its target may not go away meanwhile, for a secret that it leaves would count for the next of its name.
    private static func keys(ofPlace text: String) -> Set<ChangeKey> {
        let place = text.prefix { $0 != "/" }
        guard case .target(let name)? = try? CredentialPlace.parse(String(place)) else { return [.access] }
        return [.access, .thing(name)]
    }

    // MARK: Portals

    /// The portals, by address.
    public func allPortals() async throws(ManagementError) -> [Resource<Portal>] {
        try await query { plane throws(ManagementError) in try plane.allPortals() }
    }

    public func portal(_ name: String) async throws(ManagementError) -> Resource<Portal> {
        try await query { plane throws(ManagementError) in try plane.portal(name) }
    }

    /// Listens on one more portal, now and from the next start on.
    @discardableResult
    public func addPortal(
        _ name: String, _ spec: Portal.Spec
    ) async throws(ManagementError) -> Resource<Portal> {
        try await change([.portals]) { plane throws(ManagementError) in try plane.addPortal(name, spec) }
    }

    /// Listens no longer on a portal through which no session came.
    public func removePortal(_ text: String) async throws(ManagementError) {
        try await change([.access, .portals]) { plane throws(ManagementError) in try plane.removePortal(text) }
    }

    /// Frees a portal of its sessions.
    @discardableResult
    public func drainPortal(
        _ text: String, _ arguments: Portal.Drain.Arguments
    ) async throws(ManagementError) -> Resource<Portal> {
        try await change([.portals]) { plane throws(ManagementError) in try plane.drainPortal(text, arguments) }
    }

    /// Has a portal take logins again.
    @discardableResult
    public func resumePortal(_ text: String) async throws(ManagementError) -> Resource<Portal> {
        try await change([.portals]) { plane throws(ManagementError) in try plane.resumePortal(text) }
    }

    // MARK: Sessions

    /// The sessions that are logged in.
    public func sessions() async throws(ManagementError) -> [Resource<Session>] {
        try await query { plane throws(ManagementError) in plane.sessions() }
    }

    /// The session with the TSIH that `name` gives.
    public func session(_ name: String) async throws(ManagementError) -> Resource<Session> {
        try await query { plane throws(ManagementError) in try plane.session(name) }
    }

    /// Asks initiators to log out, and closes their sessions after the time: the one with that TSIH, or without one
    /// those that `arguments` select. Gives the sessions that it closes.
    @discardableResult
    public func closeSessions(
        _ name: String?, _ arguments: Session.Close.Arguments
    ) async throws(ManagementError) -> [Resource<Session>] {
        try await change([]) { plane throws(ManagementError) in try plane.closeSessions(name, arguments) }
    }

    // MARK: Reservations

    /// The devices that somebody has reserved, or is registered with.
    public func reservations() async throws(ManagementError) -> [Resource<Reservation>] {
        try await query { plane throws(ManagementError) in try plane.reservations() }
    }

    /// Who has reserved the device `name`: a disk, a library, or `LIBRARY/drive:N`.
    public func reservation(_ name: String) async throws(ManagementError) -> Resource<Reservation> {
        try await query { plane throws(ManagementError) in try plane.reservation(name) }
    }

    /// Ends the reservation of the device `name`, and all registrations.
    public func clearReservation(_ name: String) async throws(ManagementError) {
        try await change([.thing(name)]) { plane throws(ManagementError) in try plane.clearReservation(name) }
    }

    // MARK: Access states

    /// Through which portal groups the devices let themselves be used.
    public func accessStates() async throws(ManagementError) -> [Resource<AccessState>] {
        try await query { plane throws(ManagementError) in try plane.accessStates() }
    }

    /// The same of the device `name`: a disk, a library, or `LIBRARY/drive:N`.
    public func accessState(_ name: String) async throws(ManagementError) -> Resource<AccessState> {
        try await query { plane throws(ManagementError) in try plane.accessState(name) }
    }

    /// Changes the state of the device `name` in a portal group, and gives what is there then.
    @discardableResult
    public func setAccessState(
        _ name: String, _ arguments: AccessState.SetState.Arguments
    ) async throws(ManagementError) -> AccessState.Group {
        try await change([.thing(name)]) { plane throws(ManagementError) in
            try plane.setAccessState(name, arguments)
        }
    }

    // MARK: iSNS

    static var noNameServer: ManagementError { ControlPlane.noNameServer }

    /// Registers with an iSNS server, now and from the next start on.
    public func createNameServer(_ spec: NameServer.Spec) async throws(ManagementError) {
        try await change([.nameServer]) { plane throws(ManagementError) in try plane.createNameServer(spec) }
    }

    /// Registers with another iSNS server, or has other rules. Where that may let somebody see more it has to be asked
    /// for: `mayWiden`.
    public func changeNameServer(to spec: NameServer.Spec, mayWiden: Bool = false) async throws(ManagementError) {
        try await change([.nameServer]) { plane throws(ManagementError) in
            try plane.changeNameServer(to: spec, mayWiden: mayWiden)
        }
    }

    /// Withdraws the registration. Where that may let somebody see more it has to be asked for: `mayWiden`.
    public func clearNameServer(mayWiden: Bool = false) async throws(ManagementError) {
        try await change([.nameServer]) { plane throws(ManagementError) in
            try plane.clearNameServer(mayWiden: mayWiden)
        }
    }

    /// The iSNS server with the state of the registration; nil when none is set.
    public func nameServer() async throws(ManagementError) -> Resource<NameServer>? {
        let generation = try await query { plane throws(ManagementError) in try plane.nameServerGeneration() }
        var server = await plane.nameServer()
        server?.generation = generation
        return server
    }
}
