import Bytes
import Dispatch
import Foundation
import Logging
import Platform

/// Tells in the log when buffers are made of other pages than were chosen.
final class BufferPages: BufferRegionObserver, Sendable {
    private static let settingPath = "/sys/kernel/mm/transparent_hugepage/enabled"

    let pinsPages = false
    private let chosen: PageChoice
    private let isTold = Lock(false)
    private let logger: Logger

    private init(_ chosen: PageChoice, _ logger: Logger) {
        self.chosen = chosen
        self.logger = logger
    }

    /// How long the reactors may take to get reserved pages for one region each.
    private static let reserveWait = DispatchTimeInterval.seconds(10)

    /// Has the reactors take all reserved pages that they can use, waits for that, and watches their buffers; each maps
    /// its first region at once: what is missing is better told when the daemon starts than when an initiator comes.
    /// For standard pages there is nothing to do. Nobody is served yet.
    static func watch(_ chosen: PageChoice, of reactors: [Reactor], logger: Logger) {
        guard chosen != .standard else { return }
        if chosen == .reserved { while reserve(for: reactors) {} }
        let watcher = BufferPages(chosen, logger)
        for reactor in reactors {
            reactor.post {
                _ = reactor.pool.arena.addObserver(watcher)
                _ = reactor.pool.lease(capacity: 1)
            }
        }
    }

    /// Takes reserved pages for one region of each reactor, all at a time; false when none got any.
    private static func reserve(for reactors: [Reactor]) -> Bool {
        let outcomes = reactors.map { reactor in
            let outcome = Outcome<Bool>()
            reactor.post { outcome.set(reactor.pool.arena.reserve()) }
            return outcome
        }
        return outcomes.map { $0.wait(atMost: reserveWait) ?? false }.contains(true)
    }

    func regionWasMapped(_ region: BufferRegion) -> Bool {
        let pages = region.pages
        // Not here: this is a reactor, and files and the log may wait.
        DispatchQueue.global().async {
            let setting = (try? String(contentsOfFile: Self.settingPath, encoding: .utf8)) ?? ""
            guard let sentence = Self.sentence(chosen: self.chosen, got: pages, setting: setting) else { return }
            let isFirst = self.isTold.withLock { isTold in
                defer { isTold = true }
                return !isTold
            }
            if isFirst { self.logger.warning("\(sentence)") }
        }
        return true
    }

    func regionWillBeUnmapped(_ region: BufferRegion) {}

    /// What is told of a region that was to be made of `chosen` pages and is made of those it got, on a system whose
    /// setting for transparent huge pages is that text; nil when all is as it was chosen.
    static func sentence(chosen: PageChoice, got pages: PageChoice, setting: String) -> String? {
        guard chosen != .standard else { return nil }
        // The kernel takes the advice all the same when they are switched off.
        let hasTransparent = pages == .transparent && !setting.contains("[never]")
        switch chosen {
        case .standard: return nil
        case .reserved where pages == .reserved, .transparent where hasTransparent: return nil
        case .transparent:
            return "buffers are made of standard pages, for the kernel gives no transparent huge pages; \(settingPath) "
                + "must say madvise or always"
        case .reserved:
            return
                "buffers are made of \(hasTransparent ? "transparent huge" : "standard") pages, for too few huge pages "
                + "were reserved when the daemon started; vm.nr_hugepages must leave 32 of 2 MiB for each 64 MiB of "
                + "buffers of each processor, 256 for all of them, and Linux must be 5.14 or later"
        }
    }
}
