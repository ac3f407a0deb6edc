import Catalog
public import Foundation
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

    func status() async -> NameServiceStatus {
        let status = await client.status
        return NameServiceStatus(
            server: record.text, accessControl: record.controlsAccess, entity: record.entityIdentifier,
            isRegistered: status.isRegistered,
            registeredSince: status.isRegistered ? registeredSince ?? Date() : nil,
            targets: status.isRegistered ? status.targets : 0, portals: status.isRegistered ? status.portals : 0,
            lastError: status.lastError)
    }
}

extension NameServerRecord {
    /// `host:port`, an IPv6 address in brackets.
    var text: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// The iSNS server to register with.
public struct NameServiceSetting: Codable, Hashable, Sendable {
    /// `host`, `host:port`, or an IPv6 address in brackets with a port.
    public var server: String
    /// Whether discovery domains decide who gets in; as before when nil, and not at first.
    public var accessControl: Bool?

    public init(server: String, accessControl: Bool? = nil) {
        self.server = server
        self.accessControl = accessControl
    }
}

/// The state of the registration with an iSNS server.
public struct NameServiceStatus: Codable, Hashable, Sendable {
    /// The server, `host:port`; nil when there is none.
    public var server: String?
    /// Whether discovery domains decide who gets in.
    public var accessControl = false
    /// What names this daemon at the server.
    public var entity: String?
    /// Whether everything is registered.
    public var isRegistered = false
    /// The time since which it is registered.
    public var registeredSince: Date?
    /// How many targets are registered.
    public var targets = 0
    /// How many portals are registered.
    public var portals = 0
    /// What went wrong last, if it has not come right since.
    public var lastError: String?
}
