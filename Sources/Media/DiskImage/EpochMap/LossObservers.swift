internal import Platform

/// Who is told of the losses of a file: each of its disks.
final class LossObservers: Sendable {
    private struct Observer: Sendable {
        var loss: (@Sendable (MediaFailure) -> Void)?
        var note: (@Sendable (LossReport, MediaFailure?) -> Void)?
    }

    private let observers = Lock<[ObjectIdentifier: Observer]>([:])

    /// Has `record` tell all of them.
    init(of record: LossRecord) {
        record.observe { [weak self] failure in
            for observer in self?.all ?? [] { observer.loss?(failure) }
        }
        record.observeNoted { [weak self] report, failure in
            for observer in self?.all ?? [] { observer.note?(report, failure) }
        }
    }

    private var all: [Observer] { observers.withLock { Array($0.values) } }

    func observe(by image: EpochDiskImage, _ body: @escaping @Sendable (MediaFailure) -> Void) {
        observers.withLock { $0[ObjectIdentifier(image), default: Observer()].loss = body }
    }

    func observeNoted(by image: EpochDiskImage, _ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void) {
        observers.withLock { $0[ObjectIdentifier(image), default: Observer()].note = body }
    }

    func remove(_ image: EpochDiskImage) { observers.withLock { $0[ObjectIdentifier(image)] = nil } }
}
