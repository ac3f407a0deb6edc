import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: data")
struct TransferTests {
    @Test("A channel, INQUIRY, WRITE and READ by direct descriptors")
    func walking() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            #expect(initiator.limit == 64)
            let inquiry = TestCommand.inquiry()
            let answer = initiator.run(inquiry)
            #expect(answer?.status == .good)
            let text = String(decoding: initiator.data(inquiry, count: 24)[8...], as: UTF8.self)
            #expect(text == "CAROUSELMEMORY  ".prefix(16))
            var random = SeededRandom(seed: 1)
            let data = random.bytes(8 * 512)
            #expect(initiator.run(.write(100, data))?.status == .good)
            let read = TestCommand.read(100, 8)
            #expect(initiator.run(read)?.status == .good)
            #expect(initiator.data(read, count: data.count) == data)
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }
}
