import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import Platform
import SCSI
import Synchronization
import TargetCore
import Testing

@Suite("Aborts, lost connections and lack of buffers")
struct AbortTests {
    private let unit = LogicalUnitNumber(0)
    private let wait = CommandDescriptorBlock([MemoryDevice.wait, 0, 0, 0, 0, 0])

    /// Sends a write whose data must be asked for, and gives its tag with the R2T.
    private func startWrite(_ initiator: BlockingInitiator, blocks: Int) throws -> (UInt32, ReadyToTransferPDU) {
        var command = SCSICommandPDU()
        command.isWrite = true
        command.expectedDataTransferLength = UInt32(blocks * MemoryDevice.blockLength)
        command.initiatorTaskTag = initiator.takeTag()
        command.cmdSN = initiator.takeCmdSN()
        command.cdb = write10(0, blocks)
        try initiator.send(command)
        let request = try #require(try initiator.receive().parsed(as: ReadyToTransferPDU.self))
        return (command.initiatorTaskTag, request)
    }

    /// The header that answers an R2T.
    private func dataOut(_ tag: UInt32, _ request: ReadyToTransferPDU) -> DataOutPDU {
        var data = DataOutPDU()
        data.initiatorTaskTag = tag
        data.targetTransferTag = request.targetTransferTag
        data.dataSegmentLength = Int(request.desiredDataTransferLength)
        return data
    }

    @Test(
        "Data-Out of aborted tasks is discarded, even when their slot is in use again",
        arguments: [TaskManagementFunction.abortTaskSet, .clearTaskSet, .logicalUnitReset])
    func staleDataOut(function: TaskManagementFunction) throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator { $0.operational.preferred.immediateData = false }
        let (staleTag, stale) = try startWrite(initiator, blocks: 2)
        let outcome = try initiator.manageTasks(function, on: unit)
        #expect(outcome == .functionComplete)
        try initiator.send(dataOut(staleTag, stale), data: pattern(1024, seed: 1))
        _ = try initiator.waitUntilReady(unit)
        let (tag, request) = try startWrite(initiator, blocks: 2)
        try initiator.send(dataOut(staleTag, stale), data: pattern(1024, seed: 1))
        var mixed = dataOut(tag, request)
        mixed.targetTransferTag = stale.targetTransferTag
        try initiator.send(mixed, data: pattern(1024, seed: 1))
        try initiator.send(dataOut(tag, request), data: pattern(1024, seed: 2))
        let response = try #require(try initiator.receive().parsed(as: SCSIResponsePDU.self))
        #expect(response.initiatorTaskTag == tag && response.status == .good)
        let read = try initiator.execute(read10(0, 2), on: unit, expectedDataInLength: 1024)
        #expect(read.dataIn == pattern(1024, seed: 2))
    }

    @Test("Nothing of an aborted task follows the answer of the function, not even Data-In that waits to be sent")
    func dataInWaiting() throws {
        var limits = PortLimits()
        limits.outputBacklog = 256 << 10
        limits.turnWork = 256 << 20
        let fixture = try PortFixture(limits: limits)
        let initiator = try fixture.initiator()
        // All in one piece, so that the function is handled while nothing has been read of 48 MiB.
        var bytes: [UInt8] = []
        for _ in 0..<48 {
            var command = SCSICommandPDU()
            command.isRead = true
            command.expectedDataTransferLength = 1 << 20
            command.initiatorTaskTag = initiator.takeTag()
            command.cmdSN = initiator.takeCmdSN()
            command.cdb = read10(0, 2048)
            bytes += BasicHeaderSegment(command).bytes.copyToArray()
        }
        var request = TaskManagementRequestPDU()
        request.functionCode = TaskManagementFunction.abortTaskSet.rawValue
        request.initiatorTaskTag = initiator.takeTag()
        request.cmdSN = initiator.nextCmdSN
        bytes += BasicHeaderSegment(request).bytes.copyToArray()
        try initiator.connection.send(bytes: bytes)
        var ended = 0
        var outcome: TaskManagementOutcome?
        while outcome == nil {
            let pdu = try initiator.receive()
            if pdu.parsed(as: DataInPDU.self)?.hasStatus == true { ended += 1 }
            outcome = pdu.parsed(as: TaskManagementResponsePDU.self)?.response
        }
        #expect(outcome == .functionComplete)
        #expect(ended < 48)
        // A PDU of a command would be a protocol violation now.
        let echo = try initiator.ping([1, 2, 3])
        #expect(echo == [1, 2, 3])
        let read = try initiator.execute(read10(0, 8), on: unit, expectedDataInLength: 4096)
        #expect(read.isGood)
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("A task is aborted by several functions, and each is answered when the medium gives it back")
    func abortedTwice() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator()
        let cmdSN = initiator.nextCmdSN
        let tag = try initiator.start(wait, on: unit)
        let isHeld = fixture.eventually { fixture.device.heldCount == 1 }
        #expect(isHeld)
        var tags: Set<UInt32> = []
        for function in [TaskManagementFunction.abortTask, .abortTask, .abortTaskSet, .logicalUnitReset] {
            var request = TaskManagementRequestPDU()
            request.functionCode = function.rawValue
            request.initiatorTaskTag = initiator.takeTag()
            if function == .abortTask {
                request.referencedTaskTag = tag
                request.refCmdSN = cmdSN
            }
            request.cmdSN = initiator.nextCmdSN
            try initiator.send(request)
            tags.insert(request.initiatorTaskTag)
        }
        let echo = try initiator.ping()
        #expect(echo.isEmpty)
        fixture.letGo()
        for _ in 0..<4 {
            let response = try #require(try initiator.receive().parsed(as: TaskManagementResponsePDU.self))
            #expect(response.response == .functionComplete)
            tags.remove(response.initiatorTaskTag)
        }
        #expect(tags.isEmpty)
        _ = try initiator.waitUntilReady(unit)
    }

    @Test("The abort of a task does not start one that is aborted with it")
    func blockedTask() throws {
        let fixture = try PortFixture()
        let initiator = try fixture.initiator { $0.operational.preferred.immediateData = false }
        var ordered = SCSICommandPDU()
        ordered.isWrite = true
        ordered.attributes = TaskAttribute.ordered.rawValue
        ordered.expectedDataTransferLength = 512
        ordered.initiatorTaskTag = initiator.takeTag()
        ordered.cmdSN = initiator.takeCmdSN()
        ordered.cdb = write10(0, 1)
        try initiator.send(ordered)
        _ = try #require(try initiator.receive().parsed(as: ReadyToTransferPDU.self))
        _ = try initiator.start(wait, on: unit)
        let outcome = try initiator.manageTasks(.abortTaskSet, on: unit)
        #expect(outcome == .functionComplete)
        #expect(fixture.device.heldCount == 0)
    }

    @Test("A connection that ends in the middle of a Data-Out leaves no buffer and no data behind")
    func closedInDataOut() throws {
        let fixture = try PortFixture()
        do {
            let initiator = try fixture.initiator { $0.operational.preferred.immediateData = false }
            let (tag, request) = try startWrite(initiator, blocks: 256)
            let header = BasicHeaderSegment(dataOut(tag, request)).bytes.copyToArray()
            try initiator.connection.send(bytes: header + pattern(70_000))
            let isLeased = fixture.eventually { fixture.leasedBytes >= 131_072 }
            #expect(isLeased)
        }
        let isReturned = fixture.eventually { fixture.server.connectionCount == 0 && fixture.leasedBytes == 0 }
        #expect(isReturned)
        let read = try fixture.initiator().execute(read10(0, 256), on: unit, expectedDataInLength: 131_072)
        #expect(read.dataIn == [UInt8](repeating: 0, count: 131_072))
    }

    @Test(
        "Without buffers, commands that need them end with TASK SET FULL and all else works", arguments: [4096, 65536])
    func exhaustedPool(limit: Int) throws {
        let fixture = try PortFixture(poolLimit: limit)
        for immediateData in [true, false] {
            let initiator = try fixture.initiator { settings in
                settings.operational.preferred.immediateData = immediateData
                settings.operational.preferred.initialR2T = !immediateData
            }
            for _ in 0..<3 {
                let read = try initiator.execute(read10(0, 256), on: unit, expectedDataInLength: 131_072)
                #expect(read.status == .taskSetFull)
                let write = try initiator.execute(write10(0, 256), on: unit, dataOut: pattern(131_072))
                #expect(write.status == .taskSetFull)
                let echo = try initiator.ping(pattern(200_000))
                #expect(echo == Array(pattern(200_000)[..<8192]))
                let small = try initiator.execute(write10(0, 1), on: unit, dataOut: pattern(512))
                #expect(small.isGood)
                let back = try initiator.execute(read10(0, 1), on: unit, expectedDataInLength: 512)
                #expect(back.dataIn == pattern(512))
            }
            let outcome = try initiator.logOut()
            #expect(outcome == .closed)
        }
        let isReturned = fixture.eventually { fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    @Test("Data that comes after its command was given up is dropped, even when its PDU had begun before")
    func lateData() throws {
        let fixture = try PortFixture(clock: ManualClock())
        let initiator = try fixture.initiator()
        var command = SCSICommandPDU()
        command.isWrite = true
        command.isFinal = false
        command.expectedDataTransferLength = 65536
        command.initiatorTaskTag = initiator.takeTag()
        command.cmdSN = initiator.takeCmdSN()
        command.cdb = wait
        try initiator.send(command)
        var data = DataOutPDU()
        data.initiatorTaskTag = command.initiatorTaskTag
        data.dataSegmentLength = 65536
        let bytes = BasicHeaderSegment(data).bytes.copyToArray() + pattern(65536)
        // Never silent, but so slow that no PDU comes to its end between two checks.
        var sent = 0
        for _ in 0..<10 {
            try initiator.connection.send(bytes: Array(bytes[sent..<sent + 8]))
            sent += 8
            fixture.advance(by: fixture.server.limits.keepAliveInterval / 3)
        }
        try initiator.connection.send(bytes: Array(bytes[sent...]))
        // A transfer tag of the same slot, which has none.
        data.targetTransferTag = 1 << 12
        data.dataSegmentLength = 512
        try initiator.send(data, data: pattern(512))
        fixture.letGo()
        var response: SCSIResponsePDU?
        while response == nil { response = try initiator.receive().parsed() }
        #expect(response?.initiatorTaskTag == command.initiatorTaskTag && response?.status == .checkCondition)
    }

    @Test("Peers that connect and stay silent do not keep others from logging in")
    func silentCrowd() throws {
        var limits = PortLimits()
        limits.loginConnections = 8
        let fixture = try PortFixture(limits: limits)
        let silent = try (0..<40).map { _ in try fixture.rawInitiator() }
        for _ in 0..<3 {
            let read = try fixture.initiator().execute(read10(0, 1), on: unit, expectedDataInLength: 512)
            #expect(read.isGood)
        }
        // The oldest made room at once, long before their time was over.
        for raw in silent[..<32] { try raw.connection.waitUntilClosed() }
        let isBounded = fixture.eventually { fixture.server.connectionCount <= 8 }
        #expect(isBounded)
    }
}
