public import ISNS
public import Logging
internal import NIOCore
internal import NIOPosix

/// Keeps a daemon registered with one iSNS server over TCP: the sockets and clocks that `Registrar` asks for.
public actor NameServiceClient {
    /// The TCP port of iSNS servers.
    public static let defaultPort: UInt16 = 3205
    /// The most addresses at which the server's own messages are taken; portals at others are registered without.
    private static let maximumListeners = 16

    private let host: String
    private let port: UInt16
    private let logger: Logger
    private let addressBytes: @Sendable (String) -> [UInt8]?
    private let onInitiators: @Sendable (String, Set<String>) -> Void
    private let group = MultiThreadedEventLoopGroup.singleton
    private let clock = ContinuousClock()
    private let origin: ContinuousClock.Instant

    private var registrar: Registrar
    private var offer = Offer(portals: [], targets: [])
    private var listeners: [String: InquiryListener] = [:]
    /// The number of the present connection; what earlier ones still tell is ignored.
    private var generation = 0
    private var channel: (any Channel)?
    private var localHost: String?
    private var timer: Task<Void, Never>?
    private var stopWaiters: [CheckedContinuation<Void, Never>] = []
    private var hasStopped = false

    /// What the server has of the offer.
    public private(set) var status = RegistrationStatus()

    /// A client of the server at `host`, a name or an address, that does nothing before `start()`.
    ///
    /// - Parameters:
    ///   - addressBytes: The 4 or 16 bytes of a numeric address.
    ///   - onInitiators: Told of the initiators that share a discovery domain with a target, if the settings want them.
    public init(
        host: String, port: UInt16, settings: Registrar.Settings, logger: Logger,
        addressBytes: @escaping @Sendable (String) -> [UInt8]?,
        onInitiators: @escaping @Sendable (String, Set<String>) -> Void
    ) {
        self.host = host
        self.port = port
        self.logger = logger
        self.addressBytes = addressBytes
        self.onInitiators = onInitiators
        origin = clock.now
        registrar = Registrar(settings)
    }

    /// Starts: connects, and keeps the server up to date until `stop`.
    public func start() {
        registrar.start(now)
        perform()
    }

    /// Registers `offer` in place of what was offered before.
    public func setOffer(_ offer: Offer) async {
        guard offer != self.offer else { return }
        self.offer = offer
        await updateEntity()
        perform()
    }

    /// Withdraws the registration, if the server answers within `Registrar.Limit.stop`, and ends.
    public func stop() async {
        guard !hasStopped else { return }
        registrar.stop(now)
        await withCheckedContinuation { continuation in
            stopWaiters.append(continuation)
            perform()
        }
        for listener in listeners.values { listener.close() }
        listeners = [:]
    }

    private var now: Duration { origin.duration(to: clock.now) }

    // MARK: What is registered

    /// Makes the entity of what is offered, seen from the connection; listens where the portals are.
    private func updateEntity() async {
        guard let localHost else { return }
        let reached = offer.portals.compactMap { portal in
            portal.reached(from: localHost).map { (host: $0, portal: portal) }
        }
        for host in Set(reached.map(\.host)) where listeners[host] == nil && listeners.count < Self.maximumListeners {
            let listener = await InquiryListener.open(host: host, group: group) { [weak self] in
                await self?.stateChanged()
            }
            if let listener {
                // Another call may have opened one meanwhile.
                if listeners[host] == nil, !hasStopped { listeners[host] = listener } else { listener.close() }
            } else {
                logger.warning(
                    "the iSNS server's inquiries are not taken here", metadata: ["address": "\(host)"])
            }
        }
        let portals = reached.compactMap { host, portal -> Portal? in
            guard let address = addressBytes(host).flatMap({ PortalAddress($0) }) else { return nil }
            return Portal(
                key: PortalKey(address: address, port: portal.port), groupTag: portal.groupTag,
                inquiryPort: listeners[host]?.port)
        }
        let hosts = Set(reached.map(\.host))
        for (host, listener) in listeners where !hosts.contains(host) {
            listener.close()
            listeners[host] = nil
        }
        registrar.update(NetworkEntity(portals: portals, targets: offer.targets), now)
    }

    private func stateChanged() {
        registrar.stateChanged(now)
        perform()
    }

    // MARK: Actions

    private func perform() {
        while let action = registrar.nextAction() {
            switch action {
            case .connect: connect()
            case .send(let message): send(message)
            case .disconnect:
                generation += 1
                channel?.close(promise: nil)
                channel = nil
            case .initiators(let target, let names): onInitiators(target, names)
            case .notice(let notice): note(notice)
            case .stopped:
                hasStopped = true
                status.isRegistered = false
                for waiter in stopWaiters { waiter.resume() }
                stopWaiters = []
            }
        }
        if !registrar.isRegistered { status.isRegistered = false }
        timer?.cancel()
        timer = nil
        guard let deadline = registrar.deadline else { return }
        timer = Task { [weak self, clock, origin] in
            guard (try? await clock.sleep(until: origin + deadline)) != nil else { return }
            await self?.timePassed()
        }
    }

    private func timePassed() {
        registrar.timePassed(now)
        perform()
    }

    private func send(_ message: Message) {
        guard let channel, channel.isWritable else { return }
        channel.writeAndFlush(ByteBuffer(bytes: message.encoded()), promise: nil)
    }

    private func note(_ notice: Registrar.Notice) {
        let server: Logger.Metadata = ["server": "\(host):\(port)"]
        switch notice {
        case .registered(let targets, let portals, let period):
            status = RegistrationStatus(isRegistered: true, targets: targets, portals: portals, lastError: nil)
            let counts: Logger.Metadata = [
                "targets": "\(targets)", "portals": "\(portals)", "period": "\(period)",
            ]
            logger.info("registered with the iSNS server", metadata: server.merging(counts) { $1 })
        case .forgotten:
            logger.notice("the iSNS server has forgotten the registration, which is made again", metadata: server)
        case .lost(let what):
            logger.notice(
                "the iSNS server has lost an object; all are registered again",
                metadata: server.merging(["object": "\(what)"]) { $1 })
        case .noStatusInquiries:
            logger.info("the iSNS server makes no entity status inquiries", metadata: server)
        case .noNotifications(let status):
            logger.notice(
                "the iSNS server tells of no changes", metadata: server.merging(["status": "\(status)"]) { $1 })
        case .failed(let reason, let pause):
            status.isRegistered = false
            status.lastError = reason
            logger.warning(
                "no registration with the iSNS server",
                metadata: server.merging(["reason": "\(reason)", "pause": "\(pause)"]) { $1 })
        case .tooManyInitiators(let target):
            logger.error(
                "the iSNS server names too many initiators; those beyond the limit get no access",
                metadata: ["target": "\(target)", "limit": "\(Registrar.Limit.initiators)"])
        }
    }

    // MARK: The connection

    private func connect() {
        generation += 1
        let generation = generation
        let bootstrap = ClientBootstrap(group: group)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        Task { [weak self, host, port] in
            let reason: String
            do {
                let channel = try await bootstrap.connect(host: host, port: Int(port)) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
                reason = try await channel.executeThenClose { inbound, _ in
                    guard await self?.opened(channel.channel, generation) == true else { return "closed" }
                    var assembler = MessageAssembler()
                    do {
                        for try await bytes in inbound {
                            assembler.append(bytes.readableBytesView)
                            while let message = try assembler.next() {
                                await self?.received(message, generation)
                            }
                        }
                        return "the server closed the connection"
                    } catch let error as StreamError {
                        return error.description
                    }
                }
            } catch {
                reason = Self.reason(error)
            }
            await self?.ended(reason, generation)
        }
    }

    private func opened(_ channel: any Channel, _ generation: Int) async -> Bool {
        guard generation == self.generation, !hasStopped else { return false }
        self.channel = channel
        localHost = channel.localAddress?.ipAddress
        await updateEntity()
        guard generation == self.generation else { return false }
        registrar.connected(now)
        perform()
        return true
    }

    private func received(_ message: Message, _ generation: Int) {
        guard generation == self.generation else { return }
        registrar.received(message, now)
        perform()
    }

    private func ended(_ reason: String, _ generation: Int) {
        guard generation == self.generation else { return }
        channel = nil
        registrar.connectionEnded(reason, now)
        perform()
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError where error.connectionErrors.isEmpty:
            "the name '\(error.host)' is not known"
        case let error as NIOConnectionError:
            "the server is not reached: \(words(error.connectionErrors.map(\.error)))"
        default: "the server is not reached: \(words([error]))"
        }
    }

    /// What the system said about each address of the server, once.
    private static func words(_ errors: [any Error]) -> String {
        var texts: [Substring] = []
        for error in errors {
            var text = Substring("\(error)")
            // NIO has words of its own around those of the system: "connection reset (error set): WORDS) (errno: 111)".
            if error is IOError, let end = text.firstRange(of: ") (errno")?.lowerBound,
                let start = text[..<end].ranges(of: ": ").last?.upperBound
            {
                text = text[start..<end]
            }
            if !texts.contains(text) { texts.append(text) }
        }
        return texts.joined(separator: "; ")
    }
}
