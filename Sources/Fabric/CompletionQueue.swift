internal import Platform

/// A completion queue of a protection domain, which its queue pairs share.
///
/// Each queue pair reserves an entry for every request that it may have outstanding, so it cannot overrun.
final class CompletionQueue {
    let capacity: Int
    let watched: WatchedHandle
    private(set) var reserved = 0
    private unowned let domain: ProtectionDomain
    private var registration: RegistrationName?
    private lazy var watcher = DescriptorWatcher { [unowned self] in
        self.domain.context.provider.acknowledgeEvents(of: self.watched.handle)
    }

    init(capacity: Int, domain: ProtectionDomain) throws(FabricError) {
        self.capacity = capacity
        self.domain = domain
        let context = domain.context
        watched = try context.provider.openCompletionQueue(capacity: capacity, in: domain.watched.handle)
        guard let reactor = context.reactor else { return }
        do {
            registration = try reactor.register(watched.fileDescriptor, interest: .readable, handler: watcher)
        } catch {
            context.provider.closeCompletionQueue(watched.handle)
            throw FabricError(error)
        }
    }

    private static func need(_ capabilities: QueuePairCapabilities) -> Int {
        capabilities.sends + 1 + capabilities.receives
    }

    /// Reserves the entries of a queue pair; false when there are too few.
    func reserve(_ capabilities: QueuePairCapabilities) -> Bool {
        guard Self.need(capabilities) <= capacity - reserved else { return false }
        reserved += Self.need(capabilities)
        return true
    }

    func release(_ capabilities: QueuePairCapabilities) {
        reserved -= Self.need(capabilities)
    }

    func close() {
        domain.context.unregister(&registration)
        domain.context.provider.closeCompletionQueue(watched.handle)
    }
}
