internal import Bytes
internal import ISCSI
internal import ISCSIPort
internal import Platform

/// One connection of a program to the server: what goes out in any form, and what comes in checked.
final class FuzzPeer {
    /// A PDU that came in.
    struct Answer {
        let header: [UInt8]
        let data: [UInt8]
    }

    private let fixture = FuzzFixture.shared
    private let socket: StreamSocket
    private let output = OutputQueue(pieceLimit: 16, leaseLimit: 1, headerCapacity: 1 << 17)
    private var input: [UInt8] = []
    /// The rest of a PDU that was cut.
    private var rest: [UInt8] = []
    private var incoming = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    private(set) var outgoing = PDUFramer(maximumDataSegmentLength: LoginLimits.dataSegmentLength)
    private(set) var parameters = NegotiatedParameters()
    private(set) var isClosed = false
    private var isInFullFeature = false
    /// False when the input has sent something after which the server cannot be expected to understand the next PDU.
    var isInStep = true
    /// What StatSN comes next; nil when that is open, for answers may be sent again.
    private var nextStatSN: SequenceNumber?
    private(set) var lastStatSN: UInt32 = 0
    /// The server has ended the session or will: nothing need come any more.
    private(set) var isLoggedOut = false
    /// The program has asked for the end of a connection or session.
    private var mayEnd = false
    private var nextPing: UInt32 = 0xFEED_0000
    private var answeredPing: UInt32?

    // What an input can refer to.
    private(set) var transfers: [ReadyToTransferPDU] = []
    private(set) var pingTag = reservedTag
    private(set) var textTag = reservedTag
    private(set) var dataTag = reservedTag
    /// ExpCmdSN of the last answer.
    private(set) var expCmdSN: SequenceNumber?

    init() {
        socket = fixture.connect()
    }

    /// Whether the server must answer.
    var isLive: Bool { isInFullFeature && isInStep && !isClosed && !isLoggedOut && !mayEnd }

    // MARK: Login

    /// Logs in; gives the TSIH, or nil when the server refuses.
    func logIn(
        _ configuration: InitiatorLoginConfiguration
    ) throws(FuzzFinding) -> (handle: UInt16, cmdSN: SequenceNumber)? {
        var machine = LoginInitiatorMachine(configuration)
        var submission = machine.start()
        while true {
            try send(BasicHeaderSegment(submission.header).bytes.copyToArray(), data: submission.text)
            guard let answer = try awaitAnswer() else { return nil }
            guard let response = LoginResponsePDU(parsing: answer.header.rawSpan) else {
                // Whatever was sent before the login was answered in its way.
                isInStep = false
                return nil
            }
            switch machine.receive(response, data: answer.data.rawSpan) {
            case .send(let next): submission = next
            case .failed(let failure):
                if case .protocolError = failure { throw FuzzFinding(description: "a login is answered by the rules") }
                if case .negotiation = failure { throw FuzzFinding(description: "offers are answered by the rules") }
                isInStep = false
                return nil
            case .finished(let result):
                parameters = result.parameters
                incoming = framer(parameters.maxRecvDataSegmentLength)
                outgoing = framer(parameters.maxSendDataSegmentLength)
                nextStatSN = result.expStatSN
                lastStatSN = result.expStatSN.rawValue &- 1
                isInFullFeature = true
                return (result.targetSessionHandle, result.cmdSN)
            }
        }
    }

    private func framer(_ limit: Int) -> PDUFramer {
        PDUFramer(
            maximumDataSegmentLength: limit, hasHeaderDigest: parameters.headerDigest == .crc32c,
            hasDataDigest: parameters.dataDigest == .crc32c)
    }

    // MARK: Sending

    /// What is done to a PDU on its way.
    struct Damage {
        var header = false
        var data = false
        /// Where it is cut in two, or 0. The rest goes out before the next PDU of the connection: others may be first.
        var cut = 0
    }

    /// Sends a PDU, its lengths made right.
    func send(
        _ header: [UInt8], additional: [UInt8] = [], data: [UInt8] = [], damage: Damage = Damage()
    ) throws(FuzzFinding) {
        var bytes = header
        bytes[4] = UInt8(additional.count / 4)
        bytes[5] = UInt8(data.count >> 16)
        bytes[6] = UInt8(data.count >> 8 & 0xFF)
        bytes[7] = UInt8(data.count & 0xFF)
        bytes += additional
        if outgoing.hasHeaderDigest {
            bytes.appendBE32(Digest.value(of: bytes.rawSpan) ^ (damage.header ? 1 : 0))
            if damage.header { isInStep = false }
        }
        if !data.isEmpty {
            let padded = data + [UInt8](repeating: 0, count: -data.count & 3)
            bytes += padded
            if outgoing.hasDataDigest { bytes.appendBE32(Digest.value(of: padded.rawSpan) ^ (damage.data ? 1 : 0)) }
        }
        guard damage.cut > 0, damage.cut < bytes.count else { return try send(raw: bytes) }
        try send(raw: Array(bytes[..<damage.cut]))
        fixture.pass()
        rest = Array(bytes[damage.cut...])
    }

    /// Sends bytes as they are, after the rest of a PDU that was cut.
    func send(raw more: [UInt8]) throws(FuzzFinding) {
        let bytes = rest + more
        rest = []
        var offset = 0
        while offset < bytes.count, !isClosed {
            let end = min(bytes.count, offset + 65_536)
            let hasRoom = output.append(copying: bytes.rawSpan.extracting(offset..<end))
            precondition(hasRoom, "an empty queue takes a piece")
            try flush()
            offset = end
        }
    }

    private func flush() throws(FuzzFinding) {
        while !isClosed {
            switch output.flush(to: socket) {
            case .drained: return
            case .blocked:
                try receiveAvailable()
                guard !isClosed else { return }
                if !socket.waitUntilReady(writing: true, timeout: .milliseconds(50)) {
                    try receiveAvailable()
                    try require(
                        isClosed || socket.waitUntilReady(writing: true, timeout: FuzzFixture.patience),
                        "the server reads while its answers are taken")
                }
            case .failed:
                output.discard()
                isClosed = true
            }
        }
    }

    /// Ends the own stream; the server's can still be read.
    func endStream() { socket.shutdownWriting() }

    // MARK: Receiving

    /// Takes what is there.
    func receiveAvailable() throws(FuzzFinding) {
        while !isClosed, try receive() {
            while let answer = try next() { try take(answer) }
        }
    }

    /// Waits until the server has answered everything, or has closed the connection.
    func settle() throws(FuzzFinding) {
        try send(raw: [])
        try receiveAvailable()
        guard !isClosed else { return }
        guard isLive else {
            fixture.pass()
            return try receiveAvailable()
        }
        nextPing += 1
        var ping = NOPOutPDU()
        ping.isImmediate = true
        ping.initiatorTaskTag = nextPing
        ping.cmdSN = expCmdSN ?? SequenceNumber(1)
        ping.expStatSN = SequenceNumber(lastStatSN &+ 1)
        try send(BasicHeaderSegment(ping).bytes.copyToArray())
        while !isClosed, answeredPing != nextPing {
            guard let answer = try awaitAnswer() else { return }
            try take(answer)
        }
    }

    /// Waits until the server closes the connection.
    func awaitEnd() throws(FuzzFinding) {
        while !isClosed {
            _ = try awaitBytes("the server closes a connection that its peer has ended")
            input.removeAll()
        }
    }

    private func awaitAnswer() throws(FuzzFinding) -> Answer? {
        while true {
            if let answer = try next() { return answer }
            guard try awaitBytes("the server answers") else { return nil }
        }
    }

    private func awaitBytes(_ promise: String) throws(FuzzFinding) -> Bool {
        while !isClosed {
            if try receive() { return true }
            guard !isClosed else { break }
            if socket.waitUntilReady(timeout: .milliseconds(5)) { continue }
            // The server may wait for commands that the disks still have: a session that is reinstated does.
            fixture.letGo()
            try require(socket.waitUntilReady(timeout: FuzzFixture.patience), promise)
        }
        return false
    }

    /// One reception; false when there was nothing.
    private func receive() throws(FuzzFinding) -> Bool {
        let buffer = fixture.receiveBuffer
        let nothing: [UInt8] = []
        buffer.begin(with: nothing.rawSpan)
        switch socket.receive(into: buffer) {
        case .received:
            input += buffer.bytes.copyToArray()
            return true
        case .wouldBlock: return false
        case .closed, .failed:
            isClosed = true
            return false
        }
    }

    /// The next complete PDU that came in.
    private func next() throws(FuzzFinding) -> Answer? {
        let bytes = input
        let layout: PDULayout
        switch incoming.frame(bytes.rawSpan) {
        case .needsHeader: return nil
        case .failed(let error): throw FuzzFinding(description: "the server sends well-formed PDUs: \(error)")
        case .header(let found): layout = found
        }
        guard bytes.count >= layout.totalLength else { return nil }
        if layout.dataDigestLength > 0 {
            let covered = bytes.rawSpan.extracting(layout.dataOffset..<layout.dataDigestOffset)
            try require(
                bytes.rawSpan.loadBE32(at: layout.dataDigestOffset) == Digest.value(of: covered),
                "the server's data digests are right")
        }
        input.removeFirst(layout.totalLength)
        return Answer(
            header: Array(bytes[..<layout.headerLength]),
            data: Array(bytes[layout.dataOffset..<layout.dataOffset + layout.dataSegmentLength]))
    }

    // MARK: Answers

    /// Forgets the order of StatSN: the program asks for answers again.
    func expectRepetition() { nextStatSN = nil }

    /// The program asks for the end of a connection or session: from then on answers may be missing.
    func expectEnd() { mayEnd = true }

    private func take(_ answer: Answer) throws(FuzzFinding) {
        let header = answer.header.rawSpan
        guard isInFullFeature else { return }
        let opcode = header.opcode
        try numbers(header)
        switch opcode {
        case .readyToTransfer:
            guard let transfer = ReadyToTransferPDU(parsing: header) else { return }
            try require(
                transfer.desiredDataTransferLength > 0
                    && transfer.desiredDataTransferLength <= UInt32(parameters.maxBurstLength),
                "an R2T asks for at most MaxBurstLength")
            transfers.append(transfer)
            if transfers.count > 64 { transfers.removeFirst() }
        case .nopIn:
            let tag = header.initiatorTaskTag
            if tag & 0xFFFF_0000 == 0xFEED_0000 { answeredPing = tag }
            if tag == reservedTag { pingTag = header.loadBE32(at: 20) }
        case .textResponse: textTag = header.loadBE32(at: 20)
        case .dataIn where header.loadBE32(at: 20) != reservedTag: dataTag = header.loadBE32(at: 20)
        case .logoutResponse: isLoggedOut = true
        case .asyncMessage: isLoggedOut = isLoggedOut || header.byte(at: 36) >= 2 && header.byte(at: 36) <= 3
        case .reject:
            try require(answer.data.count >= BasicHeaderSegment.length, "Reject carries the header")
            let tag = answer.data.rawSpan.loadBE32(at: 16)
            if tag & 0xFFFF_0000 == 0xFEED_0000 { answeredPing = tag }
        default: break
        }
    }

    /// Takes an R2T that has not been answered.
    func takeTransfer() -> ReadyToTransferPDU? { transfers.isEmpty ? nil : transfers.removeFirst() }

    /// StatSN counts up by one, and the command window is one.
    private func numbers(_ header: RawSpan) throws(FuzzFinding) {
        let statSN = SequenceNumber(header.loadBE32(at: 24))
        let expCmdSN = SequenceNumber(header.loadBE32(at: 28))
        let maxCmdSN = SequenceNumber(header.loadBE32(at: 32))
        let size = expCmdSN.distance(to: maxCmdSN) + 1
        try require(size >= 0 && size <= fixture.limits.commandWindow, "the command window has \(size) places")
        self.expCmdSN = expCmdSN
        let hasStatus: Bool
        switch header.opcode {
        case .dataIn: hasStatus = header.byte(at: 1) & 1 != 0
        case .readyToTransfer: hasStatus = false
        case .nopIn: hasStatus = header.initiatorTaskTag != reservedTag
        default: hasStatus = true
        }
        guard hasStatus else { return }
        lastStatSN = statSN.rawValue
        guard let expected = nextStatSN else { return }
        try require(statSN == expected, "StatSN is \(expected), not \(statSN), in \(header.opcode)")
        nextStatSN = expected.advanced(by: 1)
    }
}
