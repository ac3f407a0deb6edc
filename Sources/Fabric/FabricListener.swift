internal import Bytes
public import Platform
internal import Synchronization

/// What a listener calls, on the thread of its context.
public protocol ListenerHandler: AnyObject {
    /// A peer asks for a connection. It is answered by a queue pair and `QueuePair.accept(_:)`, on this thread or by
    /// any other context of the provider, or by `ConnectionRequest.reject(privateData:)`; dropping it rejects it.
    func connectionRequested(_ request: ConnectionRequest)
    /// The device of the listener's address is gone; it listens no more.
    func listenerEnded(_ listener: FabricListener)
}

/// An endpoint that listens for connections.
public final class FabricListener: EventWaiter {
    /// How many requests may wait to be answered.
    public static let defaultBacklog = 256

    /// Where it listens, with the port that was chosen for 0.
    public private(set) var address: SocketAddress?
    private let context: FabricContext
    private var handler: (any ListenerHandler)?
    private var endpoint = FabricHandle.none
    private var name: SlotName?

    init(context: FabricContext, handler: any ListenerHandler) {
        self.context = context
        self.handler = handler
    }

    func begin(_ address: SocketAddress, _ backlog: Int) throws(FabricError) {
        guard let slot = context.insert(self) else { throw .limitReached("listeners of a thread") }
        do throws(FabricError) {
            let result = try context.provider.listen(
                on: address, backlog: backlog, channel: context.channel.handle, context: EventOwner.waiter(slot))
            endpoint = result.endpoint
            self.address = result.address
            name = slot
        } catch {
            context.remove(waiter: slot)
            throw error
        }
    }

    /// Listens no more; connections stay.
    public func close() {
        guard let name else { return }
        self.name = nil
        handler = nil
        context.remove(waiter: name)
        context.provider.destroyEndpoint(endpoint)
    }

    func handle(_ event: ConnectionEvent) {
        if event.kind == .requested {
            let request = ConnectionRequest(event, provider: context.provider)
            // From now on nobody hears of the endpoint before it has a queue pair.
            try? context.provider.move(event.endpoint, to: context.channel.handle, context: 0)
            handler?.connectionRequested(request)
        } else if event.kind == .deviceRemoved, event.endpoint == endpoint, name != nil {
            let last = handler
            close()
            last?.listenerEnded(self)
        }
    }

    func cancel() { close() }
}

/// A peer's wish for a connection, with one owner at a time, which may be on any thread.
public final class ConnectionRequest: Sendable {
    /// The name of the device that it came by.
    public let deviceName: String
    /// What the peer says, its private data included; padded by zeros by some transports.
    public let parameters: ConnectionParameters
    public let addresses: ConnectionAddresses
    private let endpoint: FabricHandle
    private let provider: any FabricProvider
    private let isAnswered = Atomic<Bool>(false)

    init(_ event: ConnectionEvent, provider: any FabricProvider) {
        deviceName = event.device
        parameters = event.parameters
        endpoint = event.endpoint
        addresses = provider.addresses(of: event.endpoint)
        self.provider = provider
    }

    deinit {
        if take() { end(privateData: []) }
    }

    private func take() -> Bool { !isAnswered.exchange(true, ordering: .acquiringAndReleasing) }

    private func end(privateData: [UInt8]) {
        // When the peer is gone there is nobody to be told.
        try? provider.reject(endpoint, privateData: Array(privateData.prefix(PrivateDataLimit.reject)))
        provider.destroyEndpoint(endpoint)
    }

    /// Says no, with at most `PrivateDataLimit.reject` bytes of private data.
    public func reject(privateData: [UInt8] = []) {
        if take() { end(privateData: privateData) }
    }

    /// The device, as `context` sees it.
    public func device(in context: FabricContext) throws(FabricError) -> FabricDevice {
        try context.device(named: deviceName)
    }

    /// The queue pair for the connection, in a domain on its device; the handler belongs to the domain's thread. When
    /// this fails the request is rejected.
    public func makeQueuePair(
        in domain: ProtectionDomain, _ capabilities: QueuePairCapabilities, handler: any QueuePairHandler
    ) throws(FabricError) -> QueuePair {
        guard take() else { throw .wrongState("the request for a connection has been answered") }
        do throws(FabricError) {
            guard domain.device.name == deviceName else { throw .noDevice(deviceName) }
            let pair = try domain.makeQueuePair(endpoint, capabilities, isActive: false, handler: handler)
            pair.peerParameters = parameters
            return pair
        } catch {
            end(privateData: [])
            throw error
        }
    }
}
