import Bytes
import ISCSI
import Initiator
import Platform
import SCSI
import Testing

/// A target with one disk in memory, as small as a target can be, at the other end of a socket pair: enough to see what
/// an initiator sends and to answer it in different ways.
final class FakeTarget: Sendable {
    /// How it behaves.
    struct Behavior: Sendable {
        var settings = OperationalSettings.target
        /// Whether status comes with the last Data-In.
        var collapsesPhase = true
        /// The most bytes of a Data-In.
        var dataInLength = 262_144
        /// How far beside its place Data-In says that it is, in bytes.
        var dataInShift = 0
        /// The most bytes of an R2T.
        var readyToTransferLength = 262_144
        /// How many commands are refused with BUSY at first.
        var busyCount = 0
        /// How many commands report a unit attention at first.
        var unitAttentionCount = 0
        /// Whether a ping comes before each answer.
        var pings = false
        var refusal: LoginStatus?
        /// What an initiator has to prove.
        var authentication = AuthenticationPolicy.none
        /// The parameters of the session that a further connection joins.
        var joinedParameters: NegotiatedParameters?
        /// Whether the initiator may stop reading at any time.
        var mayBeAbandoned = false
    }

    static let name = "iqn.2026-11.dev.carousel:fake"
    static let blockLength = 512
    static let blockCount = 8192

    let socket: StreamSocket
    private let thread: PlatformThread
    private let failure: Failure

    /// What went wrong at the target, if anything did.
    private final class Failure: Sendable {
        let text = Lock<String?>(nil)
    }

    init(_ behavior: Behavior = Behavior()) throws {
        let (near, far) = try StreamSocket.pair()
        socket = near
        let failure = Failure()
        self.failure = failure
        thread = try PlatformThread.start(name: "fake-target") {
            var service = FakeService(
                PDUConnection(socket: far, timeout: behavior.mayBeAbandoned ? .milliseconds(500) : .seconds(5)),
                behavior)
            do {
                try service.run()
            } catch {
                failure.text.withLock { $0 = "\(error)" }
            }
        }
    }

    /// An initiator that is logged in to it.
    func logIn(_ settings: InitiatorSettings = InitiatorSettings(targetName: FakeTarget.name)) throws
        -> BlockingInitiator
    {
        let initiator = BlockingInitiator(socket: socket, settings)
        try initiator.logIn()
        return initiator
    }

    /// Waits for its end, after the initiator has left, and says what went wrong.
    func join() -> String? {
        thread.join()
        return failure.text.withLock { $0 }
    }
}

/// Grants everything.
private struct Doorman: LoginAuthority {
    let behavior: FakeTarget.Behavior

    func admit(_ identity: LoginIdentity) -> LoginAdmission {
        if let status = behavior.refusal { return .refused(status) }
        return .granted(
            LoginGrant(
                targetPortalGroupTag: 1, settings: behavior.settings, authentication: behavior.authentication,
                joinedParameters: behavior.joinedParameters))
    }

    func establish(_ identity: LoginIdentity, _ parameters: NegotiatedParameters) -> SessionAdmission {
        .established(targetSessionHandle: 7)
    }
}

/// The target's thread.
private struct FakeService {
    private struct Violation: Error {
        let text: String
    }

    let connection: PDUConnection
    var behavior: FakeTarget.Behavior
    var status = StatusSequence()
    var parameters = NegotiatedParameters()
    var expCmdSN = SequenceNumber(0)
    /// What came while something else was waited for.
    var pending: [ReceivedPDU] = []
    var contents = [UInt8](repeating: 0, count: FakeTarget.blockLength * FakeTarget.blockCount)

    init(_ connection: PDUConnection, _ behavior: FakeTarget.Behavior) {
        self.connection = connection
        self.behavior = behavior
    }

    mutating func run() throws {
        do {
            guard try logIn() else { return }
            while try serve() {}
        } catch InitiatorError.connectionClosed {
            return
        } catch InitiatorError.timedOut where behavior.mayBeAbandoned {
            return
        }
    }

    private mutating func logIn() throws -> Bool {
        var machine = LoginMachine(authority: Doorman(behavior: behavior), windowLimit: 64)
        while true {
            let pdu = try connection.receive()
            switch machine.receive(header: pdu.header.bytes, data: pdu.data.rawSpan) {
            case .reply(let reply): try send(reply.header, reply.text)
            case .refused(let reply, reason: _):
                try send(reply.header, reply.text)
                return false
            case .drop: return false
            case .finished(let reply, let result):
                try send(reply.header, reply.text)
                parameters = result.parameters
                status = result.statusSequence
                expCmdSN = result.commandWindow.expCmdSN
                connection.incoming = PDUFramer(
                    maximumDataSegmentLength: parameters.maxRecvDataSegmentLength,
                    hasHeaderDigest: parameters.headerDigest == .crc32c,
                    hasDataDigest: parameters.dataDigest == .crc32c)
                connection.outgoing = connection.incoming
                return true
            }
        }
    }

    private func send(_ header: some PDUHeader, _ data: [UInt8] = []) throws {
        try connection.send(BasicHeaderSegment(header), data: data)
    }

    /// The next PDU that `isWanted`; others are handled later.
    private mutating func receive(where isWanted: (ReceivedPDU) -> Bool) throws -> ReceivedPDU {
        while true {
            let pdu = try connection.receive()
            if isWanted(pdu) { return pdu }
            pending.append(pdu)
        }
    }

    private var maxCmdSN: SequenceNumber { expCmdSN.advanced(by: 63) }

    /// Handles one PDU; false after a logout.
    private mutating func serve() throws -> Bool {
        let pdu = try pending.isEmpty ? connection.receive() : pending.removeFirst()
        if let command: SCSICommandPDU = pdu.parsed() {
            try take(command.cmdSN)
            try execute(command, pdu.data)
        } else if let ping: NOPOutPDU = pdu.parsed() {
            guard ping.initiatorTaskTag != reservedTag else { return true }
            try take(ping.cmdSN)
            var answer = NOPInPDU()
            answer.dataSegmentLength = pdu.data.count
            answer.initiatorTaskTag = ping.initiatorTaskTag
            answer.statSN = status.take()
            answer.expCmdSN = expCmdSN
            answer.maxCmdSN = maxCmdSN
            try send(answer, pdu.data)
        } else if let logout: LogoutRequestPDU = pdu.parsed() {
            var answer = LogoutResponsePDU()
            answer.initiatorTaskTag = logout.initiatorTaskTag
            answer.statSN = status.take()
            answer.expCmdSN = expCmdSN
            answer.maxCmdSN = maxCmdSN
            try send(answer)
            return false
        } else {
            throw Violation(text: "opcode \(pdu.opcode.rawValue) is unexpected")
        }
        return true
    }

    private mutating func take(_ cmdSN: SequenceNumber) throws {
        guard cmdSN == expCmdSN else { throw Violation(text: "CmdSN \(cmdSN) is not \(expCmdSN)") }
        expCmdSN = expCmdSN.advanced(by: 1)
    }

    private mutating func execute(_ command: SCSICommandPDU, _ immediate: [UInt8]) throws {
        if behavior.pings {
            var ping = NOPInPDU()
            ping.targetTransferTag = 99
            ping.statSN = status.next
            ping.expCmdSN = expCmdSN
            ping.maxCmdSN = maxCmdSN
            try send(ping)
            _ = try receive {
                guard let answer: NOPOutPDU = $0.parsed() else { return false }
                return answer.targetTransferTag == 99 && answer.initiatorTaskTag == reservedTag
            }
        }
        let data = try command.isWrite ? collect(command, immediate) : []
        if behavior.busyCount > 0 {
            behavior.busyCount -= 1
            return try respond(command, .busy)
        }
        if behavior.unitAttentionCount > 0 {
            behavior.unitAttentionCount -= 1
            return try respond(command, .checkCondition, SenseData(.unitAttention, .powerOnOrReset))
        }
        let start = Int(command.cdb.bytes.loadBE32(at: 2)) * FakeTarget.blockLength
        let length = Int(command.cdb.bytes.loadBE16(at: 7)) * FakeTarget.blockLength
        switch command.cdb.operationCode {
        case OperationCode.testUnitReady: try respond(command, .good)
        case OperationCode.read10 where start + length <= contents.count:
            try sendDataIn(command, Array(contents[start..<(start + length)]))
        case OperationCode.write10 where start + length <= contents.count && length == data.count:
            contents.replaceSubrange(start..<(start + length), with: data)
            try respond(command, .good)
        case OperationCode.read10, OperationCode.write10:
            try respond(command, .checkCondition, SenseData(.illegalRequest, .logicalBlockAddressOutOfRange))
        default: try respond(command, .checkCondition, SenseData(.illegalRequest, .invalidCommandOperationCode))
        }
    }

    /// All the data of a write: immediate, unsolicited and solicited.
    private mutating func collect(_ command: SCSICommandPDU, _ immediate: [UInt8]) throws -> [UInt8] {
        guard parameters.immediateData || immediate.isEmpty else {
            throw Violation(text: "immediate data is not allowed")
        }
        var data = immediate
        let expected = Int(command.expectedDataTransferLength)
        if !command.isFinal {
            guard !parameters.initialR2T else { throw Violation(text: "unsolicited data is not allowed") }
            try receiveSequence(command, reservedTag, &data)
        }
        guard data.count <= parameters.firstBurstLength else { throw Violation(text: "the first burst is too long") }
        var r2tSN: UInt32 = 0
        while data.count < expected {
            var request = ReadyToTransferPDU()
            request.initiatorTaskTag = command.initiatorTaskTag
            request.targetTransferTag = 1000 + r2tSN
            request.statSN = status.next
            request.expCmdSN = expCmdSN
            request.maxCmdSN = maxCmdSN
            request.r2tSN = r2tSN
            request.bufferOffset = UInt32(data.count)
            let length = min(expected - data.count, behavior.readyToTransferLength)
            request.desiredDataTransferLength = UInt32(length)
            try send(request)
            try receiveSequence(command, request.targetTransferTag, &data)
            r2tSN += 1
        }
        return data
    }

    private mutating func receiveSequence(_ command: SCSICommandPDU, _ tag: UInt32, _ data: inout [UInt8]) throws {
        var dataSN: UInt32 = 0
        while true {
            let earlier = pending.firstIndex { Self.isData($0, of: command) }
            let pdu = try earlier.map { pending.remove(at: $0) } ?? receive { Self.isData($0, of: command) }
            guard let part: DataOutPDU = pdu.parsed(), part.targetTransferTag == tag, part.dataSN == dataSN,
                part.bufferOffset == UInt32(data.count)
            else { throw Violation(text: "Data-Out is out of order") }
            data += pdu.data
            dataSN += 1
            if part.isFinal { return }
        }
    }

    private static func isData(_ pdu: ReceivedPDU, of command: SCSICommandPDU) -> Bool {
        pdu.opcode == .dataOut && pdu.header.initiatorTaskTag == command.initiatorTaskTag
    }

    private mutating func sendDataIn(_ command: SCSICommandPDU, _ data: [UInt8]) throws {
        let residual = Residual(expected: Int(command.expectedDataTransferLength), actual: data.count)
        let end = min(data.count, Int(command.expectedDataTransferLength))
        var offset = 0
        var dataSN: UInt32 = 0
        while offset < end {
            let next = min(offset + behavior.dataInLength, end)
            var part = DataInPDU()
            part.isFinal = next == end
            part.dataSegmentLength = next - offset
            part.initiatorTaskTag = command.initiatorTaskTag
            part.expCmdSN = expCmdSN
            part.maxCmdSN = maxCmdSN
            part.dataSN = dataSN
            part.bufferOffset = UInt32(offset + behavior.dataInShift)
            if next == end, behavior.collapsesPhase {
                part.hasStatus = true
                part.residual = residual
                part.statSN = status.take()
            }
            try send(part, Array(data[offset..<next]))
            offset = next
            dataSN += 1
        }
        if !behavior.collapsesPhase || end == 0 { try respond(command, .good, residual: residual) }
    }

    private mutating func respond(
        _ command: SCSICommandPDU, _ outcome: SCSIStatus, _ sense: SenseData? = nil, residual: Residual = .none
    ) throws {
        var data: [UInt8] = []
        if let sense = sense?.encoded() {
            data.appendBE16(UInt16(sense.count))
            data += sense
        }
        var response = SCSIResponsePDU()
        response.status = outcome
        response.residual = residual
        response.dataSegmentLength = data.count
        response.initiatorTaskTag = command.initiatorTaskTag
        response.statSN = status.take()
        response.expCmdSN = expCmdSN
        response.maxCmdSN = maxCmdSN
        try send(response, data)
    }
}
