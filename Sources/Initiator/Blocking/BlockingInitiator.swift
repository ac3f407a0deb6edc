internal import Bytes
public import ISCSI
public import Platform
internal import SCSI

/// One iSCSI session with one connection, whose calls wait: for tests, diagnostics and preparation of benchmarks.
///
/// It can also send any PDU (`send`) and look at whatever comes (`receive`). It belongs to one thread at a time.
public final class BlockingInitiator {
    /// How the login was done.
    public let settings: InitiatorSettings
    /// The stream of PDUs below.
    public let connection: PDUConnection
    /// What the login gave; nil before.
    public internal(set) var loginReport: LoginReport?
    /// The parameters in force.
    public internal(set) var parameters = NegotiatedParameters()
    /// The CmdSN of the next command that is not immediate; tests may set it wrong.
    public var nextCmdSN: SequenceNumber
    /// ExpStatSN as the next PDU will say it.
    public internal(set) var expStatSN = SequenceNumber(0)
    /// The target's last MaxCmdSN.
    public internal(set) var maxCmdSN: SequenceNumber
    /// Asynchronous Messages that have come, oldest first; at most `asyncMessageLimit` are kept.
    public internal(set) var asyncMessages: [AsyncMessagePDU] = []
    /// The most Asynchronous Messages kept.
    public static let asyncMessageLimit = 64

    var nextTag: UInt32 = 1
    var exchanges: [UInt32: CommandExchange] = [:]
    /// Answers to requests other than commands, by tag.
    var answers: [UInt32: [ReceivedPDU]] = [:]

    /// Connects to `portal`, without logging in.
    public init(connectingTo portal: SocketAddress, _ settings: InitiatorSettings) throws(InitiatorError) {
        self.settings = settings
        connection = try PDUConnection(
            connectingTo: portal, timeout: settings.timeout, bufferSize: settings.socketBufferSize)
        nextCmdSN = settings.firstCmdSN
        maxCmdSN = settings.firstCmdSN
    }

    /// An initiator on a socket that is connected already.
    public init(socket: StreamSocket, _ settings: InitiatorSettings) {
        self.settings = settings
        connection = PDUConnection(socket: socket, timeout: settings.timeout)
        nextCmdSN = settings.firstCmdSN
        maxCmdSN = settings.firstCmdSN
    }

    /// Connects to `portal` and logs in.
    public static func logIn(
        to portal: SocketAddress, _ settings: InitiatorSettings
    ) throws(InitiatorError) -> BlockingInitiator {
        let initiator = try BlockingInitiator(connectingTo: portal, settings)
        try initiator.logIn()
        return initiator
    }

    @discardableResult
    public func logIn() throws(InitiatorError) -> LoginReport {
        let report = try LoginExchange(connection: connection, settings: settings).run()
        loginReport = report
        parameters = report.parameters
        expStatSN = report.lastResponse.statSN.advanced(by: 1)
        maxCmdSN = report.lastResponse.maxCmdSN
        return report
    }

    // MARK: Raw PDUs

    /// Sends a PDU of that header and data; the lengths in the header are not changed.
    public func send(_ header: some PDUHeader, data: [UInt8] = []) throws(InitiatorError) {
        try connection.send(BasicHeaderSegment(header), data: data)
    }

    /// The next PDU, whatever it is; only the sequence numbers are noted.
    public func receive() throws(InitiatorError) -> ReceivedPDU {
        let pdu = try connection.receive()
        note(pdu)
        return pdu
    }

    /// A tag that no task uses.
    public func takeTag() -> UInt32 {
        defer { nextTag = nextTag == reservedTag - 1 ? 1 : nextTag + 1 }
        return nextTag
    }

    /// The CmdSN for a PDU; a numbered one uses it up.
    public func takeCmdSN(isImmediate: Bool = false) -> SequenceNumber {
        let number = nextCmdSN
        if !isImmediate { nextCmdSN = number.advanced(by: 1) }
        return number
    }

    /// Notes StatSN and MaxCmdSN.
    private func note(_ pdu: ReceivedPDU) {
        let bytes = pdu.header.bytes
        let usesStatSN: Bool
        switch pdu.opcode {
        case .scsiResponse, .taskManagementResponse, .textResponse, .logoutResponse, .asyncMessage, .reject:
            usesStatSN = true
        case .dataIn: usesStatSN = bytes.byte(at: 1) & 0x01 != 0
        case .nopIn: usesStatSN = bytes.initiatorTaskTag != reservedTag
        default: usesStatSN = false
        }
        if usesStatSN { expStatSN = SequenceNumber(bytes.loadBE32(at: 24)).advanced(by: 1) }
        let window = SequenceNumber(bytes.loadBE32(at: 32))
        if maxCmdSN.precedes(window) { maxCmdSN = window }
    }

    // MARK: Dispatch

    /// Receives one PDU and passes it on: to its command, its request or the list of messages.
    func pump() throws(InitiatorError) {
        let pdu = try receive()
        switch pdu.opcode {
        case .nopIn where pdu.header.initiatorTaskTag == reservedTag:
            try answerPing(pdu)
        case .asyncMessage:
            if let message: AsyncMessagePDU = pdu.parsed(), asyncMessages.count < Self.asyncMessageLimit {
                asyncMessages.append(message)
            }
        case .reject:
            throw .rejected(RejectPDU(parsing: pdu.header.bytes)?.reason ?? .protocolError)
        case .dataIn, .scsiResponse, .readyToTransfer:
            try receiveForCommand(pdu)
        default:
            answers[pdu.header.initiatorTaskTag, default: []].append(pdu)
        }
    }

    /// The answer to the request with that tag.
    func answer(to tag: UInt32) throws(InitiatorError) -> ReceivedPDU {
        while true {
            if var list = answers[tag], !list.isEmpty {
                let first = list.removeFirst()
                answers[tag] = list.isEmpty ? nil : list
                return first
            }
            try pump()
        }
    }

    private func answerPing(_ ping: ReceivedPDU) throws(InitiatorError) {
        guard let ping: NOPInPDU = ping.parsed(), ping.targetTransferTag != reservedTag else { return }
        var answer = NOPOutPDU()
        answer.isImmediate = true
        answer.logicalUnitNumber = ping.logicalUnitNumber
        answer.targetTransferTag = ping.targetTransferTag
        answer.cmdSN = nextCmdSN
        answer.expStatSN = expStatSN
        try send(answer)
    }
}
