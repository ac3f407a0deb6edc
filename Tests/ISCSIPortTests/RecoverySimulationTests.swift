import Bytes
import DeviceTestSupport
import ISCSI
import ISCSIPort
import Initiator
import SCSI
import TestSupport
import Testing

/// Reads and writes on three connections at ErrorRecoveryLevel 2, whose PDUs and connections get lost at random.
/// Everything is recovered by SNACK, retry and TASK REASSIGN, and all data is compared with a model.
@Suite("Recovery under random losses")
struct RecoverySimulationTests {
    @Test("All data is right whatever is lost", arguments: 1...12 as ClosedRange<UInt64>)
    func simulation(seed: UInt64) throws {
        var simulation = try Simulation(seed: seed)
        for _ in 0..<40 { try simulation.step() }
        try simulation.finish()
    }
}

private struct Simulation {
    private static let blocks = 64

    private let session: SharedSession
    private var random: SeededRandom
    private var model = [UInt8](repeating: 0, count: blocks * MemoryDevice.blockLength)
    /// The exchange that is going on.
    private var carrier: UInt16 = 0
    private var acknowledged = SequenceNumber(0)
    private(set) var losses = 0

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        session = try SharedSession(PortFixture(), errorRecoveryLevel: 2) { settings in
            settings.operational.preferred.maxRecvDataSegmentLength = 512
            settings.operational.preferred.maxBurstLength = 2048
            settings.operational.preferred.firstBurstLength = 1024
        }
        try session.join(1)
        try session.join(2)
    }

    private mutating func chance(_ share: Int) -> Bool { Int.random(in: 0..<share, using: &random) == 0 }

    mutating func step() throws {
        let count = Int.random(in: 1...16, using: &random)
        let block = Int.random(in: 0...(Self.blocks - count), using: &random)
        let range = block * MemoryDevice.blockLength..<(block + count) * MemoryDevice.blockLength
        choose(UInt16.random(in: 0...2, using: &random))
        if Bool.random(using: &random) {
            let data = pattern(range.count, seed: Int.random(in: 0..<256, using: &random))
            let immediate = Int.random(in: 0...min(1024, data.count), using: &random)
            try run(session.write(block, count, immediate: immediate), data)
            model.replaceSubrange(range, with: data)
        } else {
            let data = try run(session.read(block, count), [])
            #expect(data == Array(model[range]))
        }
    }

    /// Reads everything without losses, and looks for what was left behind.
    mutating func finish() throws {
        for connectionID in UInt16(0)...2 {
            try session.send(session.read(0, Self.blocks), on: connectionID)
            let read = try session.readOutcome(on: connectionID)
            #expect(read.data == model && read.status == .good)
            let isQuiet = try session.isQuiet(connectionID)
            #expect(isQuiet)
        }
        #expect(losses > 0)
        // What was not acknowledged before its connection broke is kept until the session ends.
        let response = try session.logOut(.closeSession, on: 0)
        #expect(response.response == .closed)
        let isReturned = session.fixture.eventually { session.fixture.leasedBytes == 0 }
        #expect(isReturned)
    }

    /// Goes on on a connection. What came on it before is acknowledged, what comes is not before the exchange is over.
    private mutating func choose(_ connectionID: UInt16) {
        carrier = connectionID
        acknowledged = session[connectionID].expStatSN
    }

    /// Breaks the carrier, and goes on on another connection or on its successor.
    private mutating func lose() throws {
        losses += 1
        try session.drop(carrier)
        try session.join(carrier)
        choose(UInt16.random(in: 0...2, using: &random))
    }

    private func send<Header: PDUHeader>(_ header: Header, data: [UInt8] = []) throws {
        try session.send(header, data: data, on: carrier, acknowledging: acknowledged)
    }

    /// Carries a command out and gives its Data-In.
    @discardableResult
    private mutating func run(_ command: SCSICommandPDU, _ data: [UInt8]) throws -> [UInt8] {
        var input = [UInt8](repeating: 0, count: command.isRead ? Int(command.expectedDataTransferLength) : 0)
        var missing = Set(stride(from: 0, to: input.count, by: 512))
        var status: SCSIStatus?
        try begin(command, data)
        while status == nil || !missing.isEmpty {
            if chance(12) {
                try lose()
                try takeOver(command, data)
                // What was not acknowledged comes again.
                missing = Set(stride(from: 0, to: input.count, by: 512))
                status = nil
                continue
            }
            let pdu = try session[carrier].receive()
            if let request: ReadyToTransferPDU = pdu.parsed() {
                if chance(8) {
                    losses += 1
                    try requestAgain(.dataOrR2T, command, request.r2tSN)
                } else {
                    try answer(request, data)
                }
            } else if let part: DataInPDU = pdu.parsed() {
                if chance(8) {
                    losses += 1
                    try requestAgain(.dataOrR2T, command, part.dataSN)
                    continue
                }
                input.replaceSubrange(Int(part.bufferOffset)..<Int(part.bufferOffset) + pdu.data.count, with: pdu.data)
                missing.remove(Int(part.bufferOffset))
                if part.hasStatus { status = part.status }
            } else {
                let response = try #require(pdu.parsed(as: SCSIResponsePDU.self))
                if chance(8) {
                    losses += 1
                    try requestAgain(.status, nil, response.statSN.rawValue)
                } else {
                    status = response.status
                }
            }
        }
        #expect(status == .good)
        return input
    }

    private func requestAgain(_ type: SNACKType, _ command: SCSICommandPDU?, _ number: UInt32) throws {
        try session.snack(
            type, task: command?.initiatorTaskTag ?? reservedTag, from: number, count: 1, on: carrier,
            acknowledging: acknowledged)
    }

    /// Sends a command, perhaps only a part of it before the connection breaks.
    private mutating func begin(_ command: SCSICommandPDU, _ data: [UInt8]) throws {
        let immediate = Array(data[..<command.dataSegmentLength])
        if chance(10) {
            var bytes = BasicHeaderSegment(command).bytes.copyToArray() + immediate
            bytes = Array(bytes[..<Int.random(in: 0...bytes.count, using: &random)])
            if !bytes.isEmpty { try session[carrier].connection.send(bytes: bytes) }
            try lose()
            try takeOver(command, data)
        } else {
            try send(command, data: immediate)
        }
    }

    /// Goes on with a command whose connection is gone: the target has it, or it never arrived and is sent again.
    private mutating func takeOver(_ command: SCSICommandPDU, _ data: [UInt8]) throws {
        var request = TaskManagementRequestPDU()
        request.functionCode = TaskManagementFunction.taskReassign.rawValue
        request.initiatorTaskTag = session.takeTag()
        request.referencedTaskTag = command.initiatorTaskTag
        request.cmdSN = session.cmdSN
        try send(request)
        let response = try session.receive(TaskManagementResponsePDU.self, on: carrier)
        switch response.response {
        case .functionComplete: break
        case .taskDoesNotExist: try send(command, data: Array(data[..<command.dataSegmentLength]))
        default: Issue.record("TASK REASSIGN was answered with \(response.response.rawValue)")
        }
    }

    /// Sends what an R2T asks for in PDUs of 512 bytes, perhaps without one that is not the last.
    private mutating func answer(_ request: ReadyToTransferPDU, _ data: [UInt8]) throws {
        let end = Int(request.bufferOffset + request.desiredDataTransferLength)
        var offset = Int(request.bufferOffset)
        var part = session.dataOut(request, [])
        while offset < end {
            let next = min(offset + 512, end)
            part.bufferOffset = UInt32(offset)
            part.dataSegmentLength = next - offset
            part.isFinal = next == end
            if next < end, chance(10) {
                losses += 1
            } else {
                try send(part, data: Array(data[offset..<next]))
            }
            part.dataSN += 1
            offset = next
        }
    }
}
