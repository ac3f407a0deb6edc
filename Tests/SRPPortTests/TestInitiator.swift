import Bytes
import Fabric
import Platform
import SCSI
import SRP
import Testing

@testable import SRPPort

/// An SRP initiator: one channel, its requests, and the memory that they name.
final class TestInitiator: QueuePairHandler, RouteHandler {
    /// What became of the login.
    enum Outcome: Equatable {
        case none
        case accepted
        case rejected(SRPLoginReject)
        case failed(ConnectFailure)
    }

    /// What a request came back with.
    struct Answer {
        var response: SRPResponse
        var sense: [UInt8]
        var status: SCSIStatus { response.status }
        var senseData: SenseData? { sense.isEmpty ? nil : SenseData(parsing: sense.rawSpan) }
    }

    static let unitLength = 8448
    static let answerLength = 512
    /// The data area of each request.
    static let areaLength = 256 << 10

    unowned let fixture: PortFixture
    let identifier: SRPPortIdentifier
    private(set) var outcome = Outcome.none
    private(set) var response: SRPLoginResponse?
    private(set) var pair: QueuePair?
    private(set) var memory: TestMemory?
    private(set) var closed: CloseReason?
    /// REQUEST LIMIT as the initiator counts it.
    private(set) var credits = 0
    private(set) var limit = 0
    private(set) var answers: [UInt64: Answer] = [:]
    private(set) var logout: SRPTargetLogoutReason?
    private(set) var creditRequests = 0
    private(set) var solicited = 0
    /// The order in which answers came.
    private(set) var order: [UInt64] = []
    /// Has receives for what the target sends.
    var postsReceives = true
    /// Does not answer SRP_CRED_REQ.
    var ignoresCreditRequests = false
    private var nextTag: UInt64 = 1
    private var resolved: FabricRoute?
    private(set) var login: SRPLoginRequest
    var parameters = ConnectionParameters(responderResources: 4, initiatorDepth: 4)
    private let sendCount = 128
    private var sendsPosted = 0
    private let receiveCount = 96
    private let areas: Int

    init(_ fixture: PortFixture, number: UInt64, areas: Int = 8) throws {
        self.fixture = fixture
        self.areas = areas
        identifier = SRPPortIdentifier(identifierExtension: number, guid: 0xAABB)
        login = SRPLoginRequest(initiatorPort: identifier, targetPort: PortFixture.targetPort)
        login.maximumLength = 8272
        login.tag = 0xABCD
        login.requestsImmediateData = true
        login.immediateDataOffset = 80
    }

    // MARK: Memory: receives, sends, and areas of data

    private var sendStart: Int { receiveCount * Self.answerLength }
    private var areaStart: Int { sendStart + sendCount * Self.unitLength }
    var memoryLength: Int { areaStart + areas * Self.areaLength }

    /// Where the data of a request is.
    func area(_ number: Int = 0) -> Int { areaStart + number % areas * Self.areaLength }

    // MARK: Login

    /// Asks for a channel; `outcome` says what became of it.
    func logIn(_ change: (inout SRPLoginRequest) -> Void = { _ in }) throws {
        try begin(change)
        fixture.settle { outcome != .none }
    }

    /// Posts the request and does not wait.
    func begin(_ change: (inout SRPLoginRequest) -> Void = { _ in }, privateData: [UInt8]? = nil) throws {
        change(&login)
        _ = try fixture.initiators.resolve(
            PortFixture.address, from: SocketAddress("127.0.0.2:0"), handler: self)
        fixture.settle { resolved != nil || outcome != .none }
        guard let route = resolved else { throw TestFailure(description: "no way: \(outcome)") }
        let domain = try fixture.initiators.domain(on: route.device())
        let made = try TestMemory(
            domain, memoryLength, [.localWrite, .remoteRead, .remoteWrite])
        memory = made
        let pair = try route.makeQueuePair(
            in: domain, QueuePairCapabilities(sends: sendCount, receives: receiveCount), handler: self)
        self.pair = pair
        for index in 0..<receiveCount { postReceive(index) }
        var bytes = [UInt8](repeating: 0, count: SRPLoginRequest.privateDataLength)
        bytes.modifyBytes { login.encodePrivateData(into: &$0) }
        var parameters = parameters
        parameters.privateData = privateData ?? bytes
        try pair.connect(parameters)
    }

    func resolved(_ route: FabricRoute) { resolved = route }
    func failed(_ route: FabricRoute, _ failure: ConnectFailure) { outcome = .failed(failure) }

    func established(_ queuePair: QueuePair, _ parameters: ConnectionParameters) {
        guard let response = try? SRPLoginResponse(parsing: parameters.privateData.rawSpan) else {
            Issue.record("no SRP_LOGIN_RSP")
            return
        }
        outcome = .accepted
        self.response = response
        limit = Int(response.requestLimitDelta)
        credits = limit
    }

    func closed(_ queuePair: QueuePair, _ reason: CloseReason) {
        closed = reason
        if case .notConnected(let failure) = reason {
            outcome = .failed(failure)
            if case .rejected(_, let privateData) = failure,
                let reject = try? SRPLoginReject(parsing: privateData.rawSpan)
            {
                outcome = .rejected(reject)
            }
        }
        pair = nil
        memory?.end()
        memory = nil
    }

    // MARK: Messages

    private func postReceive(_ index: Int) {
        guard postsReceives, let pair, let memory else { return }
        _ = pair.receive(memory.entry(index * Self.answerLength, Self.answerLength), id: UInt64(index))
    }

    func completed(_ completion: Completion, on queuePair: QueuePair) {
        guard completion.opcode == .receive, completion.status == .success, let memory else { return }
        let bytes = memory.bytes(Int(completion.id) * Self.answerLength, completion.byteCount)
        postReceive(Int(completion.id))
        take(bytes)
    }

    private func take(_ bytes: [UInt8]) {
        guard let header = try? SRPHeader(parsing: bytes.rawSpan) else {
            Issue.record("not an information unit: \(bytes)")
            return
        }
        if bytes[1] & 1 != 0 { solicited += 1 }
        switch header.type {
        case .response:
            guard let response = try? SRPResponse(parsing: bytes.rawSpan) else {
                Issue.record("a wrong SRP_RSP")
                return
            }
            add(response.requestLimitDelta)
            #expect(answers[response.tag] == nil, "answered twice: \(response.tag)")
            answers[response.tag] = Answer(response: response, sense: Array(bytes[response.sense]))
            order.append(response.tag)
        case .creditRequest:
            guard let request = try? SRPCreditRequest(parsing: bytes.rawSpan) else {
                Issue.record("a wrong SRP_CRED_REQ")
                return
            }
            creditRequests += 1
            add(request.requestLimitDelta)
            if ignoresCreditRequests { return }
            var answer = SRPCreditResponse()
            answer.tag = request.tag
            send(answer.bytes)
        case .targetLogout: logout = (try? SRPTargetLogout(parsing: bytes.rawSpan))?.reason
        default: Issue.record("an information unit of type \(header.type)")
        }
    }

    private func add(_ delta: Int32) {
        credits += Int(delta)
        #expect(delta >= 0 && credits <= limit, "\(credits) credits of \(limit)")
    }

    /// Sends bytes as they are; false when the queue pair does not take them.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        guard let pair, let memory else { return false }
        let offset = sendStart + sendsPosted % sendCount * Self.unitLength
        memory.fill(bytes, at: offset)
        guard pair.send(memory.entry(offset, bytes.count), id: 1 << 32) == .posted else { return false }
        sendsPosted += 1
        return true
    }

    /// Counts a request that is sent by `send`.
    func spend() { credits -= 1 }

    /// Forgets all answers, so that tags can be used again.
    func forget() { answers = [:] }

    func takeTag() -> UInt64 {
        defer { nextTag += 1 }
        return nextTag
    }

    // MARK: Requests

    /// Sends a command and does not wait; its tag.
    @discardableResult
    func submit(_ command: TestCommand, tag: UInt64? = nil) -> UInt64 {
        let tag = tag ?? takeTag()
        guard let memory else { return tag }
        credits -= 1
        send(command.encoded(tag: tag, memory, area: area(command.area)))
        return tag
    }

    /// Sends a command and waits for its answer.
    func run(_ command: TestCommand) -> Answer? {
        let tag = submit(command)
        fixture.settle { answers[tag] != nil || closed != nil }
        return answers[tag]
    }

    /// Sends a task management function and does not wait; its tag.
    func manage(_ function: TaskManagementFunction, lun: Int = 0, task: UInt64 = 0) -> UInt64 {
        var request = SRPTaskManagement(function, tag: takeTag() | 1 << 63)
        request.logicalUnitNumber = LogicalUnitNumber(lun)
        request.managedTag = task
        credits -= 1
        send(request.bytes)
        return request.tag
    }

    /// The data of a request, as the initiator has it.
    func data(_ command: TestCommand, count: Int) -> [UInt8] {
        guard let memory else { return [] }
        return command.gather(memory, area: area(command.area), count: count)
    }
}

extension SRPInformationUnit {
    /// The bytes of the information unit.
    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.modifyBytes { encode(into: &$0) }
        return bytes
    }
}
