internal import Bytes
internal import Platform

/// Events of endpoints, for one thread.
final class LoopbackChannel {
    let watched: LoopbackDescriptor
    var events: [ConnectionEvent] = []

    init(watched: LoopbackDescriptor) {
        self.watched = watched
    }
}

/// An endpoint of the connection manager.
final class LoopbackEndpoint {
    enum State {
        case listening
        case resolving
        case resolved
        /// Asked for a connection, not answered.
        case connecting
        /// Asked by a peer.
        case requested
        case accepted
        case connected
        case disconnected
    }

    var state: State
    var channel: SlotName
    var context: UInt64
    /// -1 while it is not known, or for a listener on all.
    var device: Int
    var local: SocketAddress
    var remote: SocketAddress?
    var peer: SlotName?
    var pair: SlotName?
    /// Of a listener: how many requests may wait, and how many do.
    var backlog = 0
    var waiting = 0
    /// Of a request that waits: its listener.
    var listener: SlotName?
    var parameters = ConnectionParameters(responderResources: 0, initiatorDepth: 0)

    init(state: State, channel: SlotName, context: UInt64, device: Int, local: SocketAddress) {
        self.state = state
        self.channel = channel
        self.context = context
        self.device = device
        self.local = local
    }
}

/// What connection managers tell each other, and themselves later.
struct LoopbackMessage {
    enum Kind {
        case resolved
        case notResolved(Int32)
        /// From an endpoint that connects to the address.
        case request
        case reply(ConnectionParameters)
        case ready
        case reject(reason: Int32, privateData: [UInt8])
        case unreachable
        case disconnect
        case disconnected
        case removed
    }

    var target: SlotName
    var kind: Kind
}

extension LoopbackCore {
    private func tell(_ target: SlotName, _ kind: LoopbackMessage.Kind) {
        messages.append(LoopbackMessage(target: target, kind: kind))
    }

    private func raise(
        _ kind: ConnectionEvent.Kind, _ name: SlotName, _ endpoint: LoopbackEndpoint,
        _ parameters: ConnectionParameters = ConnectionParameters(responderResources: 0, initiatorDepth: 0)
    ) {
        guard let channel = channels[endpoint.channel] else { return }
        channel.events.append(
            ConnectionEvent(
                kind: kind, endpoint: FabricHandle(word: name.word), context: endpoint.context,
                parameters: parameters, device: endpoint.device < 0 ? "" : devices[endpoint.device].name))
        channel.watched.signal()
    }

    // MARK: Channels

    func openChannel() throws(FabricError) -> WatchedHandle {
        let watched = try LoopbackDescriptor()
        guard let slot = channels.insert(LoopbackChannel(watched: watched)) else {
            throw .limitReached("event channels")
        }
        usage.channels += 1
        return WatchedHandle(handle: FabricHandle(word: slot.word), fileDescriptor: watched.fileDescriptor)
    }

    func closeChannel(_ name: SlotName) {
        if channels.remove(name) != nil { usage.channels -= 1 }
    }

    func nextEvent(of name: SlotName) -> ConnectionEvent? {
        guard let channel = channels[name] else { return nil }
        if channel.events.isEmpty {
            channel.watched.clear()
            return nil
        }
        return channel.events.removeFirst()
    }

    func move(_ name: SlotName, to channel: SlotName, context: UInt64) throws(FabricError) {
        guard let endpoint = endpoints[name], channels[channel] != nil else {
            throw .wrongState("there is no such endpoint or event channel")
        }
        let handle = FabricHandle(word: name.word)
        // Events that wait go with it.
        var moved: [ConnectionEvent] = []
        channels[endpoint.channel]?.events.removeAll { event in
            // A request names the new endpoint, but is its listener's.
            guard event.endpoint == handle, event.kind != .requested else { return false }
            moved.append(event)
            return true
        }
        endpoint.channel = channel
        endpoint.context = context
        for var event in moved {
            event.context = context
            channels[channel]?.events.append(event)
        }
        if !moved.isEmpty { channels[channel]?.watched.signal() }
    }

    // MARK: Addresses

    private func device(owning host: String) -> Int? {
        hosts.indices.first { hosts[$0].contains(host) && !removed.contains($0) }
    }

    private static func address(_ host: String, _ port: UInt16) -> SocketAddress? {
        SocketAddress(host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)")
    }

    private func freePort() -> UInt16 {
        var port = nextPort
        while true {
            nextPort = nextPort == .max ? 49_152 : nextPort + 1
            var isTaken = false
            endpoints.forEach { if $0.state == .listening, $0.local.port == port { isTaken = true } }
            if !isTaken { return port }
            port = nextPort
        }
    }

    func listen(
        on wanted: SocketAddress, backlog: Int, channel: SlotName, context: UInt64
    ) throws(FabricError) -> (endpoint: FabricHandle, address: SocketAddress) {
        let operation = "listen on \(wanted)"
        guard let port = wanted.port else {
            throw .failed(operation: operation, reason: "Invalid argument", code: Errno.invalidArgument)
        }
        var device = -1
        if !wanted.isWildcard {
            guard let owner = self.device(owning: wanted.host) else {
                throw .failed(operation: operation, reason: "No such device", code: 19)
            }
            device = owner
        }
        guard let address = Self.address(wanted.host, port == 0 ? freePort() : port) else {
            throw .failed(operation: operation, reason: "Invalid argument", code: Errno.invalidArgument)
        }
        if listener(at: address) != nil {
            throw .failed(operation: operation, reason: "Address already in use", code: Errno.addressInUse)
        }
        let endpoint = LoopbackEndpoint(
            state: .listening, channel: channel, context: context, device: device, local: address)
        endpoint.backlog = backlog
        let name = try insert(endpoint)
        return (FabricHandle(word: name.word), address)
    }

    private func insert(_ endpoint: LoopbackEndpoint) throws(FabricError) -> SlotName {
        guard let name = endpoints.insert(endpoint) else { throw .limitReached("endpoints") }
        usage.endpoints += 1
        return name
    }

    /// Who listens at an address.
    private func listener(at address: SocketAddress) -> SlotName? {
        endpoints.firstName { endpoint in
            endpoint.state == .listening && endpoint.local.port == address.port
                && (endpoint.local.host == address.host || address.isWildcard
                    || endpoint.local.isWildcard && endpoint.local.isIPv6 == address.isIPv6)
        }
    }

    // MARK: Connecting

    func resolve(
        _ address: SocketAddress, from source: SocketAddress?, channel: SlotName, context: UInt64
    ) throws(FabricError) -> FabricHandle {
        guard let local = Self.address(source?.host ?? address.host, freePort()) else {
            throw .failed(operation: "resolve \(address)", reason: "Invalid argument", code: Errno.invalidArgument)
        }
        let endpoint = LoopbackEndpoint(
            state: .resolving, channel: channel, context: context, device: -1, local: local)
        endpoint.remote = address
        let name = try insert(endpoint)
        if let device = device(owning: local.host), self.device(owning: address.host) != nil {
            endpoint.device = device
            tell(name, .resolved)
        } else {
            tell(name, .notResolved(Errno.noSuchAddress))
        }
        run()
        return FabricHandle(word: name.word)
    }

    func connect(_ name: SlotName, _ parameters: ConnectionParameters) throws(FabricError) {
        guard let endpoint = endpoints[name], endpoint.state == .resolved, endpoint.pair != nil else {
            throw .wrongState("only an endpoint with a way and a queue pair can be connected")
        }
        try checkDepths(parameters, endpoint)
        endpoint.state = .connecting
        endpoint.parameters = parameters
        tell(name, happens(faults.lostConnection) ? .unreachable : .request)
        run()
    }

    private func checkDepths(
        _ parameters: ConnectionParameters, _ endpoint: LoopbackEndpoint
    ) throws(FabricError) {
        let limits = devices[endpoint.device].limits
        guard Int(parameters.responderResources) <= limits.responderResources,
            Int(parameters.initiatorDepth) <= limits.initiatorDepth
        else { throw .failed(operation: "connect", reason: "Invalid argument", code: Errno.invalidArgument) }
    }

    func accept(_ name: SlotName, _ parameters: ConnectionParameters) throws(FabricError) {
        guard let endpoint = endpoints[name], endpoint.state == .requested, let pair = endpoint.pair,
            let peer = endpoint.peer, let other = endpoints[peer], other.state == .connecting, let remote = other.pair
        else { throw .wrongState("there is no request of a peer to accept") }
        try checkDepths(parameters, endpoint)
        answered(endpoint)
        endpoint.state = .accepted
        start(pair, remote, parameters, rnrRetryCount: other.parameters.rnrRetryCount)
        tell(peer, .reply(parameters))
        run()
    }

    /// Brings a queue pair into its working state.
    private func start(
        _ name: SlotName, _ peer: SlotName, _ parameters: ConnectionParameters, rnrRetryCount: UInt8
    ) {
        guard let pair = pairs[name], pair.state == .initialized else { return }
        pair.peer = peer
        pair.initiatorDepth = Int(parameters.initiatorDepth)
        pair.responderResources = Int(parameters.responderResources)
        pair.rnrRetryCount = Int(rnrRetryCount)
        pair.state = .readyToSend
        kick(pair)
        if let other = pairs[peer] { kick(other) }
    }

    private func answered(_ endpoint: LoopbackEndpoint) {
        if let listener = endpoint.listener { endpoints[listener]?.waiting -= 1 }
        endpoint.listener = nil
    }

    func reject(_ name: SlotName, privateData: [UInt8]) throws(FabricError) {
        guard let endpoint = endpoints[name], endpoint.state == .requested else {
            throw .wrongState("there is no request of a peer to reject")
        }
        answered(endpoint)
        endpoint.state = .disconnected
        if let peer = endpoint.peer {
            tell(peer, .reject(reason: RejectReason.consumerDefined, privateData: privateData))
        }
        run()
    }

    func disconnect(_ name: SlotName) {
        guard let endpoint = endpoints[name] else { return }
        if let pair = endpoint.pair.flatMap({ pairs[$0] }) { fail(pair) }
        if endpoint.state == .connected || endpoint.state == .accepted {
            endpoint.state = .disconnected
            if let peer = endpoint.peer, endpoints[peer] != nil, !removed.contains(endpoint.device) {
                tell(peer, .disconnect)
            }
            tell(name, .disconnected)
        }
        run()
    }

    func destroyEndpoint(_ name: SlotName) {
        guard let endpoint = endpoints.remove(name) else { return }
        usage.endpoints -= 1
        answered(endpoint)
        let handle = FabricHandle(word: name.word)
        channels[endpoint.channel]?.events.removeAll { event in
            if event.kind == .requested { return event.context == endpoint.context && endpoint.state == .listening }
            return event.endpoint == handle
        }
        messages.removeAll { $0.target == name }
        if let pair = endpoint.pair { destroyQueuePair(pair) }
        if endpoint.state == .listening { dropRequests(of: name) }
        // A device that is gone tells nobody anything.
        if let peer = endpoint.peer, endpoints[peer] != nil, !removed.contains(endpoint.device) {
            switch endpoint.state {
            case .requested: tell(peer, .reject(reason: RejectReason.consumerDefined, privateData: []))
            case .connected, .accepted, .connecting: tell(peer, .disconnect)
            case .listening, .resolving, .resolved, .disconnected: break
            }
        }
        run()
    }

    /// Nobody hears of requests that a listener has not heard of.
    private func dropRequests(of listener: SlotName) {
        var waiting: [SlotName] = []
        endpoints.forEachNamed { name, endpoint in
            if endpoint.listener == listener, !endpoint.isReported { waiting.append(name) }
        }
        for name in waiting { destroyEndpoint(name) }
    }

    // MARK: Messages

    func deliver(_ message: LoopbackMessage) {
        guard let endpoint = endpoints[message.target] else { return }
        let name = message.target
        switch message.kind {
        case .resolved:
            endpoint.state = .resolved
            raise(.resolved, name, endpoint)
        case .notResolved(let code):
            endpoint.state = .disconnected
            raise(.failed(.notResolved(code)), name, endpoint)
        case .request: request(name, endpoint)
        case .reply(let parameters): reply(name, endpoint, parameters)
        case .ready:
            guard endpoint.state == .accepted else { return }
            endpoint.state = .connected
            raise(.established, name, endpoint)
        case .reject(let reason, let privateData):
            guard endpoint.state == .connecting else { return }
            endpoint.state = .disconnected
            let told = padded(
                ConnectionParameters(privateData: privateData), to: PrivateDataLimit.reject, endpoint.device)
            raise(.failed(.rejected(reason: reason, privateData: told.privateData)), name, endpoint)
        case .unreachable:
            guard endpoint.state == .connecting else { return }
            endpoint.state = .disconnected
            raise(.failed(.unreachable(Errno.timedOut)), name, endpoint)
        case .disconnect:
            // One that was reported and not answered fails when it is accepted.
            guard endpoint.state == .connected || endpoint.state == .accepted else { return }
            endpoint.state = .disconnected
            raise(.disconnected, name, endpoint)
        case .disconnected: raise(.disconnected, name, endpoint)
        case .removed: raise(.deviceRemoved, name, endpoint)
        }
    }

    /// Messages of InfiniBand's connection manager have a fixed size: the receiver sees zeros behind the private data.
    private func padded(_ parameters: ConnectionParameters, to length: Int, _ device: Int) -> ConnectionParameters {
        guard devices[device].transport != .iWARP else { return parameters }
        var result = parameters
        result.privateData += [UInt8](repeating: 0, count: max(0, length - parameters.privateData.count))
        return result
    }

    /// The request of an endpoint arrives where it was sent to.
    private func request(_ name: SlotName, _ endpoint: LoopbackEndpoint) {
        guard endpoint.state == .connecting, let address = endpoint.remote else { return }
        guard let found = listener(at: address), let listener = endpoints[found],
            let device = device(owning: address.host)
        else { return tell(name, .reject(reason: RejectReason.invalidServiceID, privateData: [])) }
        // A listener with a full backlog does not answer, and the peer tries until it has had enough.
        guard listener.waiting < listener.backlog else { return tell(name, .unreachable) }
        let passive = LoopbackEndpoint(
            state: .requested, channel: listener.channel, context: listener.context, device: device, local: address)
        passive.remote = endpoint.local
        passive.peer = name
        passive.listener = found
        passive.parameters = endpoint.parameters
        guard let passiveName = endpoints.insert(passive) else { return tell(name, .unreachable) }
        usage.endpoints += 1
        listener.waiting += 1
        endpoint.peer = passiveName
        raise(
            .requested, passiveName, passive,
            padded(endpoint.parameters.seenByPeer, to: PrivateDataLimit.request, device))
    }

    private func reply(_ name: SlotName, _ endpoint: LoopbackEndpoint, _ parameters: ConnectionParameters) {
        guard endpoint.state == .connecting, let pair = endpoint.pair, let peer = endpoint.peer,
            let remote = endpoints[peer]?.pair, pairs[pair]?.state == .initialized
        else {
            // It has given up meanwhile.
            if let peer = endpoint.peer { tell(peer, .disconnect) }
            return
        }
        endpoint.state = .connected
        start(pair, remote, endpoint.parameters, rnrRetryCount: parameters.rnrRetryCount)
        raise(
            .established, name, endpoint,
            padded(parameters.seenByPeer, to: PrivateDataLimit.reply, endpoint.device))
        tell(peer, .ready)
    }

    // MARK: Removal

    /// The device disappears: its queue pairs stop where they are, and report nothing any more.
    func removeDevice(_ name: String) {
        guard let device = try? device(named: name) else { return }
        removed.insert(device)
        pairs.forEach { if $0.device == device { fail($0) } }
        domains.forEachNamed { name, domain in
            if domain.device == device { report(AsynchronousEvent(kind: .deviceFatal), to: name) }
        }
        endpoints.forEachNamed { name, endpoint in
            if endpoint.device == device { tell(name, .removed) }
        }
        run()
    }
}

extension LoopbackEndpoint {
    /// Whether a listener's owner has it.
    var isReported: Bool { state != .requested || context == 0 || pair != nil }
}
