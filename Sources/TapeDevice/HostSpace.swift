internal import Media
internal import Platform

/// Asks now and then how much room the host's file system has, so that early warning comes before it is full.
///
/// The question may wait for a host that does not answer, so it goes through the drive's lane. Until the answer comes
/// the last one counts.
final class HostSpace: FileRequestOwner, @unchecked Sendable {
    /// Early warning begins, whatever the cartridge's capacity, when the host has fewer free bytes than this.
    static let reserve: Int64 = 64 << 20
    /// After so many written bytes the host is asked again.
    static let interval: Int64 = 16 << 20
    /// The same when it was nearly full the last time: room that is made ends early warning.
    static let shortInterval: Int64 = 1 << 20

    private let lane: Lane
    private let reactor: Reactor
    private lazy var request = FileRequest(owner: self)
    /// Whether the host has little room left.
    private(set) var isNearlyFull = false
    private var bytesToNextQuestion: Int64 = 0
    // Used by the reactor and a worker in turn.
    private var asked: Cartridge?
    private var freeBytes: Int64?
    /// Whether the answer that comes is about a cartridge that has left.
    private var isForgotten = false

    init(lane: Lane, reactor: Reactor) {
        self.lane = lane
        self.reactor = reactor
    }

    /// Notes that `bytes` more were written to `cartridge`, and asks when it is time.
    func written(_ bytes: Int, to cartridge: Cartridge) {
        bytesToNextQuestion -= Int64(bytes)
        guard bytesToNextQuestion <= 0, !request.isSubmitted else { return }
        bytesToNextQuestion = Self.interval
        asked = cartridge
        isForgotten = false
        request.operation = .call { [self] in
            freeBytes = asked?.hostFreeBytes
            // Released here, because it may be the last that keeps the cartridge's files open.
            asked = nil
            return 0
        }
        lane.submitContinuation(request, on: reactor)
    }

    /// A write met a full host: the next one asks again.
    func foundFull() {
        isNearlyFull = true
        bytesToNextQuestion = 0
    }

    /// The cartridge leaves.
    func forget() {
        isNearlyFull = false
        bytesToNextQuestion = 0
        isForgotten = true
    }

    func fileRequestCompleted(_ request: FileRequest) {
        // The last operation keeps what it captured.
        request.operation = .synchronizeData
        guard !isForgotten else { return }
        isNearlyFull = freeBytes.map { $0 < Self.reserve } ?? false
        if isNearlyFull { bytesToNextQuestion = min(bytesToNextQuestion, Self.shortInterval) }
    }
}

extension TapeDeviceServer {
    /// Counts what was written towards the next question of the host's free space.
    func watchHostSpace(_ cartridge: Cartridge, written: Int) {
        hostSpace.written(written, to: cartridge)
    }
}
