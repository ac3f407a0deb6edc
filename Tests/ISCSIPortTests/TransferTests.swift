import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import Testing

/// One way to negotiate, by name.
struct Negotiation: Sendable, CustomStringConvertible {
    let description: String
    let change: @Sendable (inout NegotiatedParameters) -> Void
    var hasDigests = false

    static let all = [
        Negotiation(description: "all unsolicited") { _ in },
        Negotiation(description: "immediate only") { $0.initialR2T = true },
        Negotiation(description: "R2T only") {
            $0.initialR2T = true
            $0.immediateData = false
        },
        Negotiation(description: "unsolicited Data-Out without immediate data") { $0.immediateData = false },
        Negotiation(description: "small bursts, one R2T") {
            $0.firstBurstLength = 4096
            $0.maxBurstLength = 8192
            $0.maxOutstandingR2T = 1
        },
        Negotiation(description: "tiny segments") {
            $0.maxRecvDataSegmentLength = 512
            $0.maxBurstLength = 4096
            $0.firstBurstLength = 1024
        },
        Negotiation(description: "digests", change: { _ in }, hasDigests: true),
        Negotiation(
            description: "digests, small bursts",
            change: {
                $0.firstBurstLength = 4096
                $0.maxBurstLength = 8192
            }, hasDigests: true),
    ]
}

@Suite("Data transfer")
struct TransferTests {
    @Test("What is written is read back, however the data moves", arguments: Negotiation.all)
    func roundTrip(negotiation: Negotiation) throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator { settings in
            negotiation.change(&settings.operational.preferred)
            if negotiation.hasDigests {
                settings.operational.headerDigests = [.crc32c]
                settings.operational.dataDigests = [.crc32c]
            }
        }
        for (number, blocks) in [1, 2, 7, 8, 16, 127, 512, 2048].enumerated() {
            let data = pattern(blocks * MemoryDevice.blockLength, seed: number)
            let written = try initiator.execute(write10(number * 2048, blocks), on: LogicalUnitNumber(0), dataOut: data)
            #expect(written.isGood, "\(written.summary)")
            #expect(written.residual == .none)
            let read = try initiator.execute(
                read10(number * 2048, blocks), on: LogicalUnitNumber(0), expectedDataInLength: data.count)
            #expect(read.isGood && read.hasCollapsedPhase)
            #expect(read.dataIn == data)
        }
        let outcome = try initiator.logOut()
        #expect(outcome == .closed)
    }

    @Test("Many commands at once are all answered, with their own data")
    func depth() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        var tags: [(UInt32, Int)] = []
        for number in 0..<100 {
            let data = pattern(4096, seed: number)
            _ = try initiator.execute(write10(number * 8, 8), on: LogicalUnitNumber(0), dataOut: data)
        }
        for number in 0..<100 {
            tags.append(
                (
                    try initiator.start(read10(number * 8, 8), on: LogicalUnitNumber(0), expectedDataInLength: 4096),
                    number
                ))
        }
        for (tag, number) in tags {
            let outcome = try initiator.outcome(of: tag)
            #expect(outcome.dataIn == pattern(4096, seed: number))
        }
        let summary = try #require(fixture.server.sessions().first)
        #expect(summary.targetName == PortFixture.targetName)
        #expect(summary.sentBytes == 100 * 4096 && summary.receivedBytes == 100 * 4096)
    }

    @Test("Residuals count against the expected length")
    func residuals() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        let short = try initiator.execute(read10(0, 2), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(short.isGood && short.dataIn.count == 512)
        #expect(short.residual == Residual(isOverflow: true, isUnderflow: false, count: 512))
        let long = try initiator.execute(read10(0, 2), on: LogicalUnitNumber(0), expectedDataInLength: 4096)
        #expect(long.isGood && long.dataIn.count == 1024)
        #expect(long.residual == Residual(isOverflow: false, isUnderflow: true, count: 3072))
        let failed = try initiator.execute(
            read10(MemoryDevice.blockCount, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(failed.sense?.additionalSenseCode == .logicalBlockAddressOutOfRange)
        #expect(failed.residual == Residual(isOverflow: false, isUnderflow: true, count: 512))
        let surplus = try initiator.execute(write10(0, 1), on: LogicalUnitNumber(0), dataOut: pattern(2048))
        #expect(surplus.isGood)
        #expect(surplus.residual == Residual(isOverflow: false, isUnderflow: true, count: 1536))
    }

    @Test("A write that fails at once leaves its unsolicited data without effect")
    func failedWrite() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator { $0.operational.preferred.immediateData = false }
        for _ in 0..<10 {
            let failed = try initiator.execute(
                write10(MemoryDevice.blockCount, 256), on: LogicalUnitNumber(0), dataOut: pattern(131_072))
            #expect(failed.sense?.additionalSenseCode == .logicalBlockAddressOutOfRange)
        }
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }

    @Test("Data-Out out of its order ends the command, not the connection")
    func wrongDataOut() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator {
            $0.operational.preferred.initialR2T = true
            $0.operational.preferred.immediateData = false
        }
        var command = SCSICommandPDU()
        command.isWrite = true
        command.expectedDataTransferLength = 1024
        command.initiatorTaskTag = initiator.takeTag()
        command.cmdSN = initiator.nextCmdSN
        initiator.nextCmdSN = initiator.nextCmdSN.advanced(by: 1)
        command.cdb = write10(0, 2)
        try initiator.send(command)
        let request = try #require(try initiator.receive().parsed(as: ReadyToTransferPDU.self))
        #expect(request.desiredDataTransferLength == 1024)
        var data = DataOutPDU()
        data.initiatorTaskTag = command.initiatorTaskTag
        data.targetTransferTag = request.targetTransferTag
        data.dataSegmentLength = 512
        data.bufferOffset = 512
        try initiator.send(data, data: pattern(512))
        let response = try #require(try initiator.receive().parsed(as: SCSIResponsePDU.self))
        #expect(response.status == .checkCondition)
        // Its rest is discarded.
        data.bufferOffset = 0
        data.dataSegmentLength = 1024
        try initiator.send(data, data: pattern(1024))
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.dataIn == [UInt8](repeating: 0, count: 512))
    }

    @Test("A data digest error ends the write with PROTOCOL SERVICE CRC ERROR")
    func dataDigest() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator { $0.operational.dataDigests = [.crc32c] }
        var command = SCSICommandPDU()
        command.isWrite = true
        command.expectedDataTransferLength = 512
        command.dataSegmentLength = 512
        command.initiatorTaskTag = initiator.takeTag()
        command.cmdSN = initiator.nextCmdSN
        initiator.nextCmdSN = initiator.nextCmdSN.advanced(by: 1)
        command.cdb = write10(0, 1)
        var bytes = BasicHeaderSegment(command).bytes.copyToArray() + pattern(512)
        bytes.appendBE32(0xDEAD_BEEF)
        try initiator.connection.send(bytes: bytes)
        let rejected = try #require(try initiator.receive().parsed(as: RejectPDU.self))
        #expect(rejected.reason == .dataDigestError)
        let response = try initiator.receive()
        #expect(response.parsed(as: SCSIResponsePDU.self)?.status == .checkCondition)
        let sense = SenseData(parsing: response.data.rawSpan.extracting(2..<response.data.count))
        #expect(sense?.additionalSenseCode == .protocolServiceCRCError)
        let read = try initiator.execute(read10(0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        #expect(read.isGood)
    }
}
