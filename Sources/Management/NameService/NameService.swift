import Catalog
import Foundation
import ISNS
import ISNSClient
import Logging
import Platform
import Resources

/// The daemon's side of iSNS: follows what the front end offers, and hands it what discovery domains say.
actor NameService {
    /// The time between two comparisons of what is offered with what is registered. Targets and portals come and go in
    /// many ways; comparing their names once a second misses none of them.
    private static let comparisonInterval = Duration.seconds(1)

    nonisolated let record: NameServerRecord
    private let assembly: any DeviceAssembly
    private let client: NameServiceClient
    private var follower: Task<Void, Never>?
    private var registeredSince: Date?
    private var hasStopped = false
    private let gate: Gate

    /// Open for what the server says as long as this service is the one in use.
    private final class Gate: Sendable {
        private let isOpen = Lock(true)
        private let assembly: any DeviceAssembly

        init(_ assembly: any DeviceAssembly) { self.assembly = assembly }

        func pass(_ change: DomainChange) { isOpen.withLock { if $0 { assembly.changeDomains(change) } } }

        func close() { isOpen.withLock { $0 = false } }
    }

    init(_ record: NameServerRecord, assembly: any DeviceAssembly, logger: Logger) {
        self.record = record
        self.assembly = assembly
        let gate = Gate(assembly)
        self.gate = gate
        client = NameServiceClient(
            host: record.host, port: UInt16(clamping: record.port),
            settings: Registrar.Settings(
                entityIdentifier: record.entityIdentifier, followsAccess: record.controlsAccess),
            logger: logger, addressBytes: { IPAddress($0)?.bytes },
            onInitiators: { gate.pass(.initiators(target: $0, $1)) })
    }

    /// Begins, after another one has ended.
    func start(after former: NameService?) async {
        await former?.stop()
        guard follower == nil, !hasStopped else { return }
        follower = Task { [weak self] in
            await self?.begin()
            while !Task.isCancelled, let self {
                await follow()
                try? await Task.sleep(for: Self.comparisonInterval)
            }
        }
    }

    /// From now on what the server says about discovery domains is not passed on.
    nonisolated func retire() { gate.close() }

    private func begin() async {
        await client.setOffer(assembly.offer())
        await client.start()
    }

    private func follow() async {
        await client.setOffer(assembly.offer())
        if await client.status.isRegistered {
            registeredSince = registeredSince ?? Date()
        } else {
            registeredSince = nil
        }
    }

    /// Withdraws the registration and ends.
    func stop() async {
        hasStopped = true
        let follower = follower
        follower?.cancel()
        await follower?.value
        await client.stop()
    }

    func status() async -> NameServer.Status {
        let client = await client.status
        var status = NameServer.Status()
        status.isRegistered = client.isRegistered
        status.registeredSince = client.isRegistered ? registeredSince ?? Date() : nil
        status.entity = record.entityIdentifier
        status.targets = client.isRegistered ? client.targets : 0
        status.portals = client.isRegistered ? client.portals : 0
        status.problem = client.lastError
        return status
    }
}

extension NameServerRecord {
    /// `host:port`, an IPv6 address in brackets.
    var text: String { NameServerAddress(host: host, port: port).description }

    var spec: NameServer.Spec { NameServer.Spec(server: text, accessControl: controlsAccess) }
}
