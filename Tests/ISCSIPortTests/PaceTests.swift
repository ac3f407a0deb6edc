import Bytes
import ISCSI
import Initiator
import Platform
import SCSI
import Testing

@testable import ISCSIPort

@Suite("The pace of requests that are no commands")
struct PaceTests {
    @Test("A burst of a second's requests is free; after it the wait grows by one interval a request")
    func burst() {
        var pace = RequestPace(rate: 100)
        let start = MonotonicTime(nanoseconds: 50_000_000_000)
        for _ in 0..<100 { pace.count(at: start) }
        #expect(pace.wait(at: start) == nil)
        pace.count(at: start)
        #expect(pace.wait(at: start) == .milliseconds(10))
        for _ in 0..<9 { pace.count(at: start) }
        #expect(pace.wait(at: start) == .milliseconds(100))
        #expect(pace.wait(at: start + .milliseconds(100)) == nil)
        // What was not used does not add up beyond one burst.
        let later = start + .seconds(1000)
        for _ in 0..<101 { pace.count(at: later) }
        #expect(pace.wait(at: later) == .milliseconds(10))
    }

    @Test("A peer that floods pings gets all its answers, in their order, and others have theirs meanwhile")
    func flood() throws {
        var limits = PortLimits()
        limits.requestsPerSecond = 2000
        let fixture = try PortFixture(limits: limits)
        let peer = try fixture.initiator()
        let other = try fixture.initiator()
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.cmdSN = peer.nextCmdSN
        for number in 0..<2100 as Range<UInt32> {
            ping.initiatorTaskTag = 0x1000 + number
            try peer.send(ping)
        }
        let read = try other.execute(read10(0, 8), on: LogicalUnitNumber(0), expectedDataInLength: 4096)
        #expect(read.isGood)
        for number in 0..<2100 as Range<UInt32> {
            let tag = try peer.receive().header.initiatorTaskTag
            #expect(tag == 0x1000 + number)
        }
    }

    @Test("However many sessions announce data that does not come, one more may write")
    func owedData() throws {
        let fixture = try PortFixture(poolLimit: 64 << 20)
        let hoarders = try (0..<8).map { _ in
            try fixture.initiator { settings in
                settings.operational.preferred.immediateData = false
                settings.operational.preferred.initialR2T = true
            }
        }
        for hoarder in hoarders {
            for _ in 0..<64 {
                var command = SCSICommandPDU()
                command.initiatorTaskTag = hoarder.takeTag()
                command.isWrite = true
                command.isFinal = true
                command.expectedDataTransferLength = 1 << 20
                command.cmdSN = hoarder.nextCmdSN
                hoarder.nextCmdSN = SequenceNumber(hoarder.nextCmdSN.rawValue &+ 1)
                command.cdb = write10(0, 2048)
                try hoarder.send(command)
            }
        }
        // Their R2Ts have come, or TASK SET FULL, so their buffers are taken.
        for hoarder in hoarders { _ = try hoarder.receive() }
        let writer = try fixture.initiator()
        for _ in 0..<4 {
            let write = try writer.execute(write10(0, 2048), on: LogicalUnitNumber(0), dataOut: pattern(1 << 20))
            #expect(write.isGood)
        }
        withExtendedLifetime(hoarders) {}
    }
}
