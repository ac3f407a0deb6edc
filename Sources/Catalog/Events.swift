public import struct Foundation.Date

/// Who did something.
public enum EventActor: Hashable, Sendable, CustomStringConvertible {
    /// The daemon by itself.
    case daemon
    /// A user of this machine, by a process that asked through the control socket.
    case user(id: UInt32, process: Int32)
    /// Whoever has the token of that name.
    case token(String)
    /// An initiator: its name, and the name by which it proved who it is with CHAP, if it had to.
    case initiator(String, user: String?)

    /// As people read it: `daemon`, `uid:0 pid:4711`, `token:backup`, the name of an initiator, `NAME as USER`.
    public var description: String {
        switch self {
        case .daemon: "daemon"
        case .user(let id, let process): "uid:\(id) pid:\(process)"
        case .token(let name): "token:\(name)"
        case .initiator(let name, let user): user.map { "\(name) as \($0)" } ?? name
        }
    }

    /// Whose events it is counted among: what initiators do never displaces what operators and the daemon did.
    var origin: EventOrigin {
        if case .initiator = self { .initiator } else { .control }
    }
}

/// Whether an event comes from an initiator, or from the control plane.
enum EventOrigin: String, Sendable {
    case control
    case initiator
}

/// An event to record: a change, or an attempt that was refused.
public struct NewEvent: Sendable {
    /// The longest text of `old` or `new` in bytes; what is longer is replaced by a note that says so.
    public static let maximumStateLength = 8192

    /// When it happened, by the daemon's clock.
    public var time: Date
    /// Who did it.
    public var actor: EventActor
    /// The kind of thing that it happened to: `disk`, `library`, `cartridge`, `target` ...
    public var kind: String
    /// The name of the thing; of a cartridge `LIBRARY/BARCODE`.
    public var name: String
    /// What happened: `create`, `delete`, `move` ...
    public var verb: String
    /// What was changed as it was before, as JSON, without secrets.
    public var old: String?
    /// What was changed as it is now, as JSON, without secrets.
    public var new: String?

    public init(
        time: Date, actor: EventActor, kind: String, name: String, verb: String, old: String? = nil,
        new: String? = nil
    ) {
        self.time = time
        self.actor = actor
        self.kind = kind
        self.name = name
        self.verb = verb
        self.old = old
        self.new = new
    }
}

/// An event that was recorded.
public struct EventRecord: Hashable, Sendable {
    /// Its number: those of later events are higher, whatever the clock said.
    public let id: Int64
    /// When it happened, by the daemon's clock at that time.
    public let time: Date
    /// Who did it, in words.
    public let actor: String
    /// The kind of thing that it happened to.
    public let kind: String
    /// The name of the thing at that time.
    public let name: String
    /// What happened.
    public let verb: String
    /// What was changed as it was before, as JSON.
    public let old: String?
    /// What was changed as it is now, as JSON.
    public let new: String?
}
