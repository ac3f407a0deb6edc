import ISCSI
import Testing

/// Serial numbers, the command window and StatSN (RFC 1982, RFC 7143 section 4.2.2).
@Suite("Numbering")
struct NumberingTests {
    @Test("Serial order goes around")
    func order() {
        let last = SequenceNumber(.max)
        #expect(last.precedes(SequenceNumber(0)) && !SequenceNumber(0).precedes(last))
        #expect(SequenceNumber(1).precedes(SequenceNumber(0x8000_0000)))
        #expect(!SequenceNumber(5).precedes(SequenceNumber(5)))
        #expect(last.advanced(by: 2) == SequenceNumber(1) && SequenceNumber(1).advanced(by: -2) == last)
        #expect(last.distance(to: SequenceNumber(4)) == 5 && SequenceNumber(4).distance(to: last) == -5)
    }

    @Test("Commands in order, ahead, behind and beyond", arguments: [UInt32(0), 100, 0x7FFF_FFFE, 0xFFFF_FFF0, .max])
    func window(first: UInt32) {
        let first = SequenceNumber(first)
        var window = CommandWindow(first: first, limit: 8)
        #expect(window.maxCmdSN == first.advanced(by: 7))
        #expect(window.receive(first.advanced(by: 1), isImmediate: false) == .keep(ahead: 1))
        #expect(window.receive(first.advanced(by: 7), isImmediate: false) == .keep(ahead: 7))
        #expect(window.receive(first.advanced(by: 8), isImmediate: false) == .ignore)
        #expect(window.receive(first.advanced(by: -1), isImmediate: false) == .ignore)
        #expect(window.receive(first.advanced(by: 1 << 30), isImmediate: false) == .ignore)
        #expect(window.receive(first.advanced(by: 1 << 31), isImmediate: false) == .ignore)
        #expect(window.receive(first, isImmediate: true) == .deliver)
        #expect(window.expCmdSN == first, "an immediate command uses no number")
        #expect(window.receive(first, isImmediate: false) == .deliver)
        #expect(window.expCmdSN == first.advanced(by: 1))
        #expect(window.receive(first, isImmediate: false) == .ignore, "a second time")
    }

    @Test("The window closes with commands in flight and never goes back")
    func closing() {
        var window = CommandWindow(first: SequenceNumber(1), limit: 4)
        for number in UInt32(1)...4 { #expect(window.receive(SequenceNumber(number), isImmediate: false) == .deliver) }
        window.open(inFlight: 4)
        #expect(window.maxCmdSN == SequenceNumber(4) && window.expCmdSN == SequenceNumber(5))
        #expect(window.receive(SequenceNumber(5), isImmediate: false) == .ignore, "closed: MaxCmdSN is ExpCmdSN - 1")
        window.open(inFlight: 1)
        #expect(window.maxCmdSN == SequenceNumber(7))
        window.open(inFlight: 3)
        #expect(window.maxCmdSN == SequenceNumber(7))
        window.open(inFlight: 0)
        #expect(window.maxCmdSN == SequenceNumber(8))
        window.open(inFlight: 100)
        #expect(window.maxCmdSN == SequenceNumber(8))
    }

    @Test("A window in the middle of its life goes on")
    func continued() {
        var window = CommandWindow(expCmdSN: SequenceNumber(10), maxCmdSN: SequenceNumber(12), limit: 8)
        #expect(window.receive(SequenceNumber(13), isImmediate: false) == .ignore)
        #expect(window.receive(SequenceNumber(10), isImmediate: false) == .deliver)
        window.open(inFlight: 0)
        #expect(window.expCmdSN == SequenceNumber(11) && window.maxCmdSN == SequenceNumber(18))
    }

    @Test("StatSN and what is not acknowledged")
    func status() {
        var status = StatusSequence(first: SequenceNumber(.max))
        #expect(status.take() == SequenceNumber(.max) && status.take() == SequenceNumber(0))
        #expect(status.next == SequenceNumber(1))
        #expect(status.unacknowledgedCount(expStatSN: SequenceNumber(.max)) == 2)
        #expect(status.unacknowledgedCount(expStatSN: SequenceNumber(1)) == 0)
        #expect(status.unacknowledgedCount(expStatSN: SequenceNumber(2)) == nil)
    }
}
