internal import ISCSI

/// What a connection keeps from ErrorRecoveryLevel 1 on: every answer with a StatSN until the initiator acknowledges it
/// (RFC 7143 section 4.2.2.2), and the wish list of what to send again.
final class ConnectionRecovery {
    /// An answer that is not acknowledged.
    enum Answer {
        /// The outcome of a command, whose slot has everything.
        case command(SlotReference)
        /// Any other PDU.
        case other(BasicHeaderSegment, [UInt8])
    }

    /// Something to send again, as far as the output queue has room.
    enum Resend {
        /// The answers from `next` to `end`, that one not included.
        case answers(next: SequenceNumber, end: SequenceNumber)
        /// Data-In PDUs of a command: those of the plan up to DataSN `end`, that one not included, and then perhaps its response.
        case data(SlotReference, DataInPlan, end: UInt32, endsWithResponse: Bool)
    }

    /// The most requests that wait in `resends`; more are refused.
    static let resendLimit = 16

    /// The StatSN of the oldest answer that is kept, or of the next one to come.
    private(set) var first: SequenceNumber
    private var answers: [Answer] = []
    private var head = 0
    /// The bytes of data of answers that are no outcomes of commands.
    private(set) var dataLength = 0
    var resends: [Resend] = []

    /// Keeps answers from StatSN `first` on.
    init(first: SequenceNumber) {
        self.first = first
    }

    /// How many answers are not acknowledged.
    var count: Int { answers.count - head }

    /// Keeps the next answer.
    func keep(_ answer: Answer) {
        answers.append(answer)
        if case .other(_, let data) = answer { dataLength += data.count }
    }

    /// The answer with that StatSN, if it is kept.
    subscript(statSN: SequenceNumber) -> Answer? {
        let offset = first.distance(to: statSN)
        return (0..<count).contains(offset) ? answers[head + offset] : nil
    }

    /// Takes the oldest answer out: it is acknowledged.
    func removeFirst() -> Answer {
        let answer = answers[head]
        if case .other(_, let data) = answer { dataLength -= data.count }
        head += 1
        first = first.advanced(by: 1)
        if head == answers.count {
            answers.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64 {
            answers.removeFirst(head)
            head = 0
        }
        return answer
    }

    /// Forgets what was to be sent again of a command.
    func cancelResends(of slot: CommandSlot) {
        resends.removeAll {
            if case .data(let reference, _, _, _) = $0 { reference.index == slot.index } else { false }
        }
    }
}
