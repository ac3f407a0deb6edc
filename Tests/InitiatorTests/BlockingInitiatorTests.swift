import Bytes
import ISCSI
import Initiator
import SCSI
import Testing

@Suite("Blocking initiator") struct BlockingInitiatorTests {
    private let unit = LogicalUnitNumber(0)

    private func block(_ operationCode: UInt8, _ address: UInt32, _ count: UInt16) -> CommandDescriptorBlock {
        var bytes: [UInt8] = [operationCode, 0]
        bytes.appendBE32(address)
        bytes.append(0)
        bytes.appendBE16(count)
        return CommandDescriptorBlock(bytes + [0])
    }

    @Test("a login gives the parameters of both sides")
    func login() throws {
        var behavior = FakeTarget.Behavior()
        behavior.settings.preferred.firstBurstLength = 4096
        let target = try FakeTarget(behavior)
        let initiator = try target.logIn()
        #expect(initiator.parameters.firstBurstLength == 4096)
        #expect(!initiator.parameters.initialR2T)
        #expect(initiator.parameters.maxSendDataSegmentLength == 262_144)
        #expect(initiator.loginReport?.targetSessionHandle == 7)
        #expect(try initiator.ping([1, 2, 3]) == [1, 2, 3])
        #expect(try initiator.logOut() == .closed)
        #expect(target.join() == nil)
    }

    @Test("a refused login says why")
    func refusedLogin() throws {
        var behavior = FakeTarget.Behavior()
        behavior.refusal = .targetNotFound
        let target = try FakeTarget(behavior)
        #expect(throws: InitiatorError.loginRefused(.targetNotFound, address: nil)) { try target.logIn() }
    }

    /// Every way that data can take: what the target wants of InitialR2T and ImmediateData, how long its segments and
    /// bursts are, whether it collapses phases, and digests.
    @Test(
        "what was written is read",
        arguments: [true, false], [true, false])
    func transfers(initialR2T: Bool, immediateData: Bool) throws {
        for (segment, collapses, digests) in [(512, true, false), (8192, false, true), (262_144, true, true)] {
            var behavior = FakeTarget.Behavior()
            behavior.settings.preferred.initialR2T = initialR2T
            behavior.settings.preferred.immediateData = immediateData
            behavior.settings.preferred.maxRecvDataSegmentLength = segment
            behavior.settings.preferred.firstBurstLength = 2048
            behavior.readyToTransferLength = 3000
            behavior.dataInLength = segment
            behavior.collapsesPhase = collapses
            behavior.pings = digests
            let target = try FakeTarget(behavior)
            var settings = InitiatorSettings(targetName: FakeTarget.name)
            if digests {
                settings.operational.headerDigests = [.crc32c]
                settings.operational.dataDigests = [.crc32c]
            }
            let initiator = try target.logIn(settings)
            let data = (0..<16_384).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            let written = try initiator.execute(block(OperationCode.write10, 5, 32), on: unit, dataOut: data)
            #expect(written.isGood)
            #expect(written.readyToTransferCount > 0)
            let read = try initiator.execute(
                block(OperationCode.read10, 5, 32), on: unit, expectedDataInLength: data.count)
            #expect(read.isGood)
            #expect(read.dataIn == data)
            #expect(read.hasCollapsedPhase == collapses)
            #expect(read.dataInCount == (data.count + segment - 1) / segment)
            try initiator.logOut()
            #expect(target.join() == nil)
        }
    }

    @Test("residuals and sense data come through")
    func residuals() throws {
        let target = try FakeTarget()
        let initiator = try target.logIn()
        let short = try initiator.execute(block(OperationCode.read10, 0, 2), on: unit, expectedDataInLength: 4096)
        #expect(short.dataIn.count == 1024)
        #expect(short.residual == Residual(isOverflow: false, isUnderflow: true, count: 3072))
        let long = try initiator.execute(block(OperationCode.read10, 0, 2), on: unit, expectedDataInLength: 512)
        #expect(long.dataIn.count == 512)
        #expect(long.residual == Residual(isOverflow: true, isUnderflow: false, count: 512))
        let beyond = try initiator.execute(
            block(OperationCode.read10, 1 << 20, 1), on: unit, expectedDataInLength: 512)
        #expect(beyond.status == .checkCondition)
        #expect(beyond.sense?.key == .illegalRequest)
        #expect(beyond.sense?.additionalSenseCode == .logicalBlockAddressOutOfRange)
        #expect(beyond.summary == "SCSI status 2, sense 05/21/00")
        try initiator.logOut()
        #expect(target.join() == nil)
    }

    @Test("Data-In beyond what the command expects is no reason to make room for it")
    func dataInBeyond() throws {
        var behavior = FakeTarget.Behavior()
        behavior.dataInShift = 0xF000_0000
        behavior.mayBeAbandoned = true
        let initiator = try FakeTarget(behavior).logIn()
        #expect(throws: InitiatorError.protocolViolation("Data-In goes beyond what the command expects")) {
            _ = try initiator.execute(
                block(OperationCode.read10, 0, 1), on: LogicalUnitNumber(0), expectedDataInLength: 512)
        }
    }

    @Test("commands can be under way together")
    func queue() throws {
        let target = try FakeTarget()
        let initiator = try target.logIn()
        let tags = try (0..<100).map { address in
            try initiator.start(
                block(OperationCode.read10, UInt32(address), 1), on: unit, expectedDataInLength: 512)
        }
        for tag in tags.reversed() { #expect(try initiator.outcome(of: tag).isGood) }
        try initiator.logOut()
        #expect(target.join() == nil)
    }

    @Test("unit attentions end before the unit is ready")
    func unitAttentions() throws {
        var behavior = FakeTarget.Behavior()
        behavior.unitAttentionCount = 3
        let target = try FakeTarget(behavior)
        let initiator = try target.logIn()
        #expect(try initiator.waitUntilReady(unit).isGood)
        try initiator.logOut()
        #expect(target.join() == nil)
    }
}
