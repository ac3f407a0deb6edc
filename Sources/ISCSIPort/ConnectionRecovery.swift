internal import ISCSI

/// What a connection keeps from ErrorRecoveryLevel 1 on: every answer with a StatSN until the initiator acknowledges it
/// (RFC 7143 section 4.2.2.2), so that it can be sent again.
final class ConnectionRecovery {
    /// An answer that is not acknowledged.
    enum Answer {
        /// The outcome of a command, whose slot has everything.
        case command(SlotReference)
        /// Any other PDU.
        case other(BasicHeaderSegment, [UInt8])
    }

    /// The most requests to send something again that are under way; more are refused.
    static let resendLimit = 16

    /// The StatSN of the oldest answer that is kept, or of the next one to come.
    private(set) var first: SequenceNumber
    private var answers: [Answer] = []
    private var head = 0
    /// The bytes of data of answers that are no outcomes of commands.
    private(set) var dataLength = 0

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
}
