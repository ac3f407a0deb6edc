internal import Bytes
internal import Platform

/// What a route calls, on the thread of its context, once.
public protocol RouteHandler: AnyObject {
    /// The way is known: a queue pair can be made.
    func resolved(_ route: FabricRoute)
    /// There is none.
    func failed(_ route: FabricRoute, _ failure: ConnectFailure)
}

/// The way to a peer, from which a queue pair that connects is made.
public final class FabricRoute: EventWaiter {
    /// The name of the device that it leads over; empty while it is not known.
    public private(set) var deviceName = ""
    private let context: FabricContext
    private var handler: (any RouteHandler)?
    private var endpoint = FabricHandle.none
    private var name: SlotName?

    init(context: FabricContext, handler: any RouteHandler) {
        self.context = context
        self.handler = handler
    }

    deinit {
        if endpoint != .none { context.provider.destroyEndpoint(endpoint) }
    }

    func begin(_ address: SocketAddress, _ source: SocketAddress?, _ timeout: Duration) throws(FabricError) {
        guard let slot = context.insert(self) else { throw .limitReached("listeners of a thread") }
        do throws(FabricError) {
            endpoint = try context.provider.resolve(
                address, from: source, timeout: timeout, channel: context.channel.handle,
                context: EventOwner.waiter(slot))
            name = slot
        } catch {
            context.remove(waiter: slot)
            throw error
        }
    }

    /// Forgets the way; the handler is not called any more.
    public func cancel() {
        leave()
        guard endpoint != .none else { return }
        context.provider.destroyEndpoint(endpoint)
        endpoint = .none
    }

    private func leave() {
        handler = nil
        if let name { context.remove(waiter: name) }
        name = nil
    }

    func handle(_ event: ConnectionEvent) {
        let last = handler
        switch event.kind {
        case .resolved:
            deviceName = event.device
            leave()
            last?.resolved(self)
        case .failed(let failure):
            cancel()
            last?.failed(self, failure)
        case .deviceRemoved:
            cancel()
            last?.failed(self, .failed(Errno.noSuchAddress))
        case .requested, .established, .disconnected, .other:
            break
        }
    }

    /// The device, once it is known.
    public func device() throws(FabricError) -> FabricDevice { try context.device(named: deviceName) }

    /// The queue pair for the connection, in a domain of the same context on its device. When this fails the way is
    /// forgotten.
    public func makeQueuePair(
        in domain: ProtectionDomain, _ capabilities: QueuePairCapabilities, handler: any QueuePairHandler
    ) throws(FabricError) -> QueuePair {
        guard endpoint != .none, !deviceName.isEmpty else {
            throw .wrongState("the way to the peer is not known, or used already")
        }
        let taken = endpoint
        endpoint = .none
        do throws(FabricError) {
            guard domain.device.name == deviceName else { throw .noDevice(deviceName) }
            return try domain.makeQueuePair(taken, capabilities, isActive: true, handler: handler)
        } catch {
            context.provider.destroyEndpoint(taken)
            throw error
        }
    }
}
