import ISCSI
import Platform
import Testing

@testable import ISCSIPort

@Suite("The order of commands")
struct CommandOrderTests {
    private final class Command {
        let number: Int

        init(_ number: Int) { self.number = number }
    }

    private typealias Order = CommandOrder<Command, String>

    private func sequence(_ value: UInt32) -> SequenceNumber { SequenceNumber(value) }

    /// Delivers as a session does, from `start` on: what comes, and the CmdSN that is expected then.
    private func deliver(_ order: Order, from start: UInt32) -> (turns: [String], expCmdSN: UInt32) {
        var turns: [String] = []
        var expected = start
        while let turn = order.next(sequence(expected)) {
            switch turn {
            case .command(let command): turns.append("command \(command.number)")
            case .request(let request), .function(let request): turns.append(request)
            case .nothing: turns.append("nothing")
            }
            if case .function = turn { continue }
            expected &+= 1
        }
        return (turns, expected)
    }

    @Test("What came out of order is delivered in order, also where the numbers begin again")
    func order() {
        let order = Order()
        for number in [2, 0, 1, -1] { order.hold(Command(number), sequence(UInt32(bitPattern: Int32(number)))) }
        order.hold("text", sequence(3))
        order.skip(sequence(4))
        let (turns, expected) = deliver(order, from: .max)
        #expect(turns == ["command -1", "command 0", "command 1", "command 2", "text", "nothing"])
        #expect(expected == 5 && order.isEmpty && order.requestCount == 0)
    }

    @Test("A gap stops the delivery, and so does a command whose data is on its way; both keep what is behind them")
    func gaps() {
        let order = Order()
        let arriving = Command(1)
        order.hold(arriving, sequence(1), isComplete: false)
        order.hold(Command(2), sequence(2))
        order.hold(Command(4), sequence(4))
        #expect(order.contains(sequence(1)) && !order.contains(sequence(3)))
        #expect(deliver(order, from: 1).turns.isEmpty)
        order.complete(arriving)
        #expect(deliver(order, from: 1) == (["command 1", "command 2"], 3))
        order.skip(sequence(3))
        #expect(deliver(order, from: 3) == (["nothing", "command 4"], 5))
    }

    @Test("A command that is removed is expected again; a CmdSN counts once")
    func removal() {
        let order = Order()
        let lost = Command(1)
        order.hold(lost, sequence(1), isComplete: false)
        order.skip(sequence(1))
        order.remove(lost)
        #expect(order.isEmpty && !order.contains(sequence(1)))
    }

    @Test("A function goes when everything before it has been delivered, before what has its CmdSN")
    func functions() {
        let order = Order()
        order.hold(Command(6), sequence(6))
        order.hold(function: "abort", sequence(6), until: MonotonicTime(nanoseconds: 10))
        order.hold(function: "reset", sequence(7), until: MonotonicTime(nanoseconds: 20))
        #expect(order.deadline == MonotonicTime(nanoseconds: 10) && order.functionCount == 2)
        #expect(deliver(order, from: 5).turns.isEmpty)
        order.hold("text", sequence(5))
        #expect(deliver(order, from: 5) == (["text", "abort", "command 6", "reset"], 7))
        #expect(order.isEmpty && order.deadline == nil)
    }

    @Test("A function whose wait is over goes ahead, the oldest first")
    func deadlines() {
        let order = Order()
        for (number, deadline) in [(9, 10), (8, 10), (7, 30)] as [(UInt32, Int64)] {
            order.hold(function: "\(number)", sequence(number), until: MonotonicTime(nanoseconds: deadline))
        }
        let overdue = [9, 10, 10, 10].map { order.overdueFunction(at: MonotonicTime(nanoseconds: $0)) }
        #expect(overdue == [nil, "9", "8", nil])
        #expect(order.deadline == MonotonicTime(nanoseconds: 30))
    }

    @Test("Of requests that are withdrawn the CmdSNs are left to use up, and nothing of functions")
    func withdrawal() {
        let order = Order()
        order.hold("kept", sequence(1))
        order.hold("gone", sequence(2))
        order.hold(function: "gone", sequence(3), until: .distantFuture)
        order.withdrawRequests { $0 == "gone" }
        #expect(order.requestCount == 1 && order.functionCount == 0)
        #expect(deliver(order, from: 1) == (["kept", "nothing"], 3))
    }
}
