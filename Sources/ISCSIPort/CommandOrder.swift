internal import ISCSI
internal import Platform

/// Requests that arrived before their turn: delivery in the order of CmdSN, over all connections of a session (RFC 7143
/// section 4.2.2.1).
///
/// It holds commands, other requests, and CmdSNs that count as received although nothing comes with them; all of these
/// are in the command window, which bounds them. Beside them it holds task management functions, which are immediate
/// and use up no CmdSN, but are for the commands before them, too.
final class CommandOrder<Command: AnyObject, Request> {
    enum Turn {
        /// A command; its CmdSN is used up now.
        case command(Command)
        /// Any other request with a CmdSN, which is used up now.
        case request(Request)
        /// Nothing comes with the CmdSN, which is used up now.
        case nothing
        /// A task management function: all commands before it have been delivered.
        case function(Request)
    }

    private struct Held {
        let cmdSN: SequenceNumber
        let content: Content
        /// All of it is here. A command whose data is on its way has its turn when that has come; those behind it wait
        /// with it.
        var isComplete = true
    }

    private enum Content {
        case command(Command)
        case request(Request)
        case nothing
    }

    private struct HeldFunction {
        let cmdSN: SequenceNumber
        var request: Request
        let deadline: MonotonicTime
    }

    private var held: [Held] = [] {
        didSet { isEmpty = held.isEmpty && functions.isEmpty }
    }
    /// In the order of their arrival, and therefore of their deadlines.
    private var functions: [HeldFunction] = [] {
        didSet { isEmpty = held.isEmpty && functions.isEmpty }
    }
    /// How many requests are held that are neither commands nor functions.
    private(set) var requestCount = 0

    /// How many functions are held.
    var functionCount: Int { functions.count }
    /// Whether nothing is held. Kept, because every command asks.
    private(set) var isEmpty = true
    /// When the wait of the next function ends.
    var deadline: MonotonicTime? { functions.first?.deadline }

    /// Whether what has that CmdSN, which is in the window, is here already.
    func contains(_ cmdSN: SequenceNumber) -> Bool { held.contains { $0.cmdSN == cmdSN } }

    // MARK: Holding

    /// Holds a command; its data may still be on its way.
    func hold(_ command: Command, _ cmdSN: SequenceNumber, isComplete: Bool = true) {
        held.append(Held(cmdSN: cmdSN, content: .command(command), isComplete: isComplete))
    }

    /// The data of a held command is here.
    func complete(_ command: Command) {
        if let position = position(of: command) { held[position].isComplete = true }
    }

    /// Forgets a command; its CmdSN is expected again.
    func remove(_ command: Command) {
        if let position = position(of: command) { held.remove(at: position) }
    }

    private func position(of command: Command) -> Int? {
        held.firstIndex { if case .command(let own) = $0.content { own === command } else { false } }
    }

    /// Holds a request that is no command.
    func hold(_ request: Request, _ cmdSN: SequenceNumber) {
        requestCount += 1
        held.append(Held(cmdSN: cmdSN, content: .request(request)))
    }

    /// Counts a CmdSN as received when its turn comes, unless it is here already.
    func skip(_ cmdSN: SequenceNumber) {
        if !contains(cmdSN) { held.append(Held(cmdSN: cmdSN, content: .nothing)) }
    }

    /// Holds an immediate function until the commands before `cmdSN` have been delivered, or `deadline`; deadlines
    /// never go back.
    func hold(function request: Request, _ cmdSN: SequenceNumber, until deadline: MonotonicTime) {
        functions.append(HeldFunction(cmdSN: cmdSN, request: request, deadline: deadline))
    }

    /// Forgets the requests that `isIncluded` selects; the CmdSN of each that has one is used up in its turn.
    func withdrawRequests(where isIncluded: (Request) -> Bool) {
        functions.removeAll { isIncluded($0.request) }
        for position in held.indices {
            guard case .request(let request) = held[position].content, isIncluded(request) else { continue }
            requestCount -= 1
            held[position] = Held(cmdSN: held[position].cmdSN, content: .nothing)
        }
    }

    // MARK: Delivery

    /// Takes out what has its turn when `expCmdSN` is expected; nil when that has not come, or not completely.
    func next(_ expCmdSN: SequenceNumber) -> Turn? {
        if let position = functions.firstIndex(where: { !expCmdSN.precedes($0.cmdSN) }) {
            return .function(functions.remove(at: position).request)
        }
        guard let position = held.firstIndex(where: { $0.cmdSN == expCmdSN }), held[position].isComplete else {
            return nil
        }
        switch held.remove(at: position).content {
        case .command(let command): return .command(command)
        case .request(let request):
            requestCount -= 1
            return .request(request)
        case .nothing: return .nothing
        }
    }

    /// Takes out a function that has waited until `now`: it goes ahead without the commands that have not come.
    func overdueFunction(at now: MonotonicTime) -> Request? {
        guard let deadline, deadline <= now else { return nil }
        return functions.removeFirst().request
    }
}
