public import Catalog
import Platform
public import Resources

public import struct Foundation.Date

/// On whose behalf the control plane works: what is recorded as the actor of events.
///
/// Whoever takes requests sets it around the call, as in `Requester.$current.withValue(actor) { ... }`.
public enum Requester {
    /// The actor of what the present task or thread asks for.
    @TaskLocal public static var current: EventActor = .daemon
}

/// An event: something was changed, or the change was refused.
public struct EventSummary: Codable, Hashable, Sendable {
    /// Its number: those of later events are higher, whatever the clock said.
    public var id: Int64
    /// When it happened, by the daemon's clock at that time.
    public var time: Date
    /// Who did it: `daemon`, `uid:0 pid:4711`, `token:backup`, the name of an initiator, `NAME as USER`.
    public var actor: String
    /// The kind of thing that it happened to: `disk`, `library`, `cartridge`, `target` ...
    public var kind: String
    /// The name of the thing at that time; of a cartridge `LIBRARY/BARCODE`.
    public var name: String
    /// What happened: `create`, `delete`, `move` ...
    public var verb: String
    /// What was changed as it was before; without secrets.
    public var old: JSONValue?
    /// What was changed as it is now; without secrets.
    public var new: JSONValue?

    init(_ record: EventRecord) {
        id = record.id
        time = record.time
        actor = record.actor
        kind = record.kind
        name = record.name
        verb = record.verb
        old = record.old.flatMap(JSONValue.init(serialized:))
        new = record.new.flatMap(JSONValue.init(serialized:))
    }
}

/// What those who follow events hear.
public enum FollowedEvent: Hashable, Sendable {
    case event(EventSummary)
    /// Nothing has happened for a while.
    case silence
}

/// Hands events on to those who follow them, as they are recorded.
///
/// Nobody waits for a follower: one that lets too many events lie is ended with a note, and can read what it missed
/// from the catalog.
final class EventFeed: Sendable {
    /// The most followers at a time.
    static let maximumFollowers = 64
    /// How many events may lie for a follower.
    static let bufferLength = 256

    /// What a follower gets.
    typealias Stream = AsyncThrowingStream<FollowedEvent, any Error>

    private struct State {
        var followers: [UInt64: Stream.Continuation] = [:]
        var lastKey: UInt64 = 0
        var hasEnded = false
    }

    private let state = Lock(State())

    /// All events that are published from now on, until the follower stops, or is too slow, which ends the stream with
    /// a `ManagementError`. Each `heartbeat` it hears of the silence, too.
    func follow(heartbeat: Duration? = nil) throws(ManagementError) -> Stream {
        let (stream, continuation) = Stream.makeStream(bufferingPolicy: .bufferingOldest(Self.bufferLength))
        let (key, hasEnded): (UInt64?, Bool) = state.withLock { state in
            guard state.followers.count < Self.maximumFollowers, !state.hasEnded else { return (nil, state.hasEnded) }
            state.lastKey += 1
            state.followers[state.lastKey] = continuation
            return (state.lastKey, false)
        }
        guard let key else {
            throw ManagementError(
                .system,
                hasEnded
                    ? "the daemon is stopping"
                    : "\(Self.maximumFollowers) follow the events already; end one of them, or try again later")
        }
        let beats = heartbeat.map { heartbeat in
            Task {
                while (try? await Task.sleep(for: heartbeat)) != nil { continuation.yield(.silence) }
            }
        }
        continuation.onTermination = { [weak self] _ in
            beats?.cancel()
            self?.forget(key)
        }
        return stream
    }

    /// How many follow.
    var followerCount: Int { state.withLock { $0.followers.count } }

    /// Hands `events` to all followers. Calls come one after another, so that all get them in order.
    func publish(_ events: [EventRecord]) {
        let followers = state.withLock { $0.followers }
        guard !followers.isEmpty else { return }
        for event in events.map(EventSummary.init) {
            for continuation in followers.values {
                guard case .dropped = continuation.yield(.event(event)) else { continue }
                continuation.finish(
                    throwing: ManagementError(
                        .system,
                        "events came faster than they were read; go on after the last one that you have"))
            }
        }
    }

    /// Ends all followers: the daemon stops.
    func end() {
        let followers = state.withLock { state in
            state.hasEnded = true
            return state.followers.values.map { $0 }
        }
        for continuation in followers { continuation.finish() }
    }

    private func forget(_ key: UInt64) {
        state.withLock { _ = $0.followers.removeValue(forKey: key) }
    }
}
