import Catalog
import Logging
import Resources

// iSNS (RFC 4171): the server that targets and portals are registered with.
extension ControlPlane {
    /// Registers with an iSNS server, now and from the next start on.
    func createNameServer(_ spec: NameServer.Spec) throws(ManagementError) {
        if let present = nameService {
            throw ManagementError(
                .conflict,
                "iSNS server \(present.record.text) is set already; 'carousel isns set --server' sets another")
        }
        try setNameServer(spec, entityIdentifier: Self.newEntityIdentifier())
    }

    /// Registers with another iSNS server, or has other rules.
    ///
    /// Where discovery domains have decided who gets in and do not any more, somebody may see more: that has to be
    /// asked for.
    func changeNameServer(to spec: NameServer.Spec, mayWiden: Bool = false) throws(ManagementError) {
        guard let present = nameService?.record else { throw Self.noNameServer }
        guard present.spec != spec else { return }
        if !spec.accessControl { try Self.check(mayWiden, without: present) }
        try setNameServer(spec, entityIdentifier: present.entityIdentifier)
    }

    private func setNameServer(_ spec: NameServer.Spec, entityIdentifier: String) throws(ManagementError) {
        let address = try NameServerAddress.parse(spec.server)
        let record = NameServerRecord(
            host: address.host, port: address.port, controlsAccess: spec.accessControl,
            entityIdentifier: entityIdentifier)
        let note = AccessNote(
            "iSNS server set",
            ["server": record.text, "discovery domains": record.controlsAccess ? "decide" : "do not decide"])
        let events = events(of: [note])
        try query { () throws(CatalogError) in try catalog.setNameServer(record, events: events) }
        serve(record)
        tell([note])
    }

    /// Withdraws the registration; discovery domains decide nothing any more. Where they have decided who gets in, that
    /// has to be asked for.
    func clearNameServer(mayWiden: Bool = false) throws(ManagementError) {
        guard let former = nameService else { throw Self.noNameServer }
        try Self.check(mayWiden, without: former.record)
        let note = AccessNote("iSNS server cleared", ["server": former.record.text])
        let events = events(of: [note])
        try query { () throws(CatalogError) in try catalog.setNameServer(nil, events: events) }
        nameService = nil
        former.retire()
        assembly.changeDomains(.open)
        Task { await former.stop() }
        tell([note])
    }

    private static func check(_ mayWiden: Bool, without record: NameServerRecord) throws(ManagementError) {
        guard record.controlsAccess, !mayWiden else { return }
        throw ManagementError(
            .conflict,
            "the discovery domains of \(record.text) keep initiators out, which would get in without them; "
                + "say --open if that is meant")
    }

    /// The iSNS server with the state of the registration; nil when none is set. Suspends, and changes nothing.
    func nameServer() async -> Resource<NameServer>? {
        guard let service = nameService else { return nil }
        return Resource(
            name: NameServer.description.naming.onlyName ?? "", spec: service.record.spec,
            status: await service.status())
    }

    /// The generation of the iSNS server; nil when none is set.
    func nameServerGeneration() throws(ManagementError) -> Int64? {
        try query { () throws(CatalogError) in try catalog.nameServerGeneration() }
    }

    static let noNameServer = ManagementError(.notFound, "no iSNS server is set; 'carousel isns create' sets one")

    /// Begins with the server that the catalog has, if it has one; before the portals are open, so that nobody logs in
    /// earlier.
    func startNameService() throws(ManagementError) {
        guard let record = try query({ () throws(CatalogError) in try catalog.nameServer() }) else { return }
        serve(record)
    }

    private func serve(_ record: NameServerRecord) {
        let former = nameService
        let service = NameService(record, assembly: assembly, logger: logger)
        nameService = service
        former?.retire()
        assembly.changeDomains(record.controlsAccess ? .unknown : .open)
        Task { await service.start(after: former) }
    }

    /// A name that no other daemon has.
    private static func newEntityIdentifier() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return "carousel-" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}
