internal import Bytes
internal import Fabric
internal import Platform
internal import SRP
internal import TargetCore

/// A listener on a reactor. It decides about logins, which costs no memory, and hands those that it admits to the
/// reactor of their nexus.
final class SRPPortal: @unchecked Sendable {
    let tag: UInt16
    let server: SRPServer
    let port: ReactorPort
    private var listener: FabricListener?

    init(tag: UInt16, server: SRPServer, port: ReactorPort) {
        self.tag = tag
        self.server = server
        self.port = port
    }

    /// Where it listens.
    var address: SocketAddress? { listener?.address }

    func listen(on address: SocketAddress, in context: FabricContext) throws(FabricError) {
        listener = try context.listen(on: address, handler: self)
    }

    func close() {
        listener?.close()
        listener = nil
    }
}

extension SRPPortal: ListenerHandler {
    func connectionRequested(_ request: ConnectionRequest) {
        let login: SRPLoginRequest
        let privateData = request.parameters.privateData
        do throws(SRPError) {
            login = try SRPLoginRequest(parsingPrivateData: privateData.rawSpan)
        } catch {
            guard case .loginReject(let reason) = error.remedy else { return refuse(request, nil, .unspecified) }
            return refuse(request, nil, reason)
        }
        guard let targetPort = server.targets.targetPort(login.targetPort, portal: tag) else {
            return refuse(request, login, .noNexus)
        }
        let limits = server.limits
        let offer = SRPTargetOffer(
            targetPort: targetPort.identifier, maximumLength: UInt32(clamping: limits.maximumLength),
            allowsMultipleChannels: limits.allowsMultipleChannels, allowsImmediateData: limits.allowsImmediateData)
        if let reason = offer.rejectReason(of: login) { return refuse(request, login, reason) }
        let access = SRPAccessRequest(
            initiatorPort: login.initiatorPort, peerAddress: request.addresses.peer,
            localAddress: request.addresses.local, portal: tag)
        let logicalUnits: LogicalUnitMap?
        switch server.targets.access(access, to: targetPort) {
        case .refused(let reason): return refuse(request, login, reason)
        case .granted(let map): logicalUnits = map
        }
        let key = NexusKey(
            initiatorPort: login.initiatorPort, target: targetPort.target.name, targetPort: targetPort.scsiPort)
        let verdict = server.registry.withLock {
            $0.admit(key, login.multiChannelAction, home: targetPort.target.homeReactor, limits)
        }
        switch verdict {
        case .refused(let reason): refuse(request, login, reason)
        case .admitted(let destination):
            let admitted = AdmittedLogin(
                request: request, login: login, access: access, key: key, targetPort: targetPort,
                logicalUnits: logicalUnits,
                immediateDataOffset: offer.immediateDataOffset(of: login))
            server.run(on: destination.reactor) { destination.accept(admitted) }
        }
    }

    func listenerEnded(_ listener: FabricListener) {
        self.listener = nil
        server.registry.withLock { registry in registry.listeners.removeAll { $0 === self } }
        server.portalEnded(tag)
    }

    private func refuse(_ request: ConnectionRequest, _ login: SRPLoginRequest?, _ reason: SRPLoginRejectReason) {
        server.refuse(request, login, reason, port.counters)
    }
}

extension SRPServer {
    /// Rejects a login with SRP_LOGIN_REJ.
    func refuse(
        _ request: ConnectionRequest, _ login: SRPLoginRequest?, _ reason: SRPLoginRejectReason,
        _ counters: PortCounters
    ) {
        let privateData = request.parameters.privateData
        // The tag comes first, in whatever is behind it.
        let tag = login?.tag ?? (privateData.count >= 8 ? privateData.rawSpan.loadBE64(at: 0) : 0)
        request.reject(privateData: SRPLoginReject(reason, tag: tag).encoded)
        counters.countRefusedLogin()
        loginRefused(
            SRPRefusedLogin(
                reason: reason, initiatorPort: login?.initiatorPort, targetPort: login?.targetPort,
                peerAddress: request.addresses.peer))
    }
}

extension SRPInformationUnit {
    /// The bytes, for private data.
    var encoded: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.modifyBytes { encode(into: &$0) }
        return bytes
    }
}

/// A login that nothing speaks against, on its way to the reactor of its nexus.
struct AdmittedLogin: Sendable {
    let request: ConnectionRequest
    let login: SRPLoginRequest
    let access: SRPAccessRequest
    let key: NexusKey
    let targetPort: SRPTargetPort
    let logicalUnits: LogicalUnitMap?
    let immediateDataOffset: Int?
}
