internal import Bytes
internal import Dispatch
public import Platform
public import SCSI
public import TargetCore

/// What a command came back with.
public struct CommandResult: Sendable {
    public var status: SCSIStatus
    /// The sense data, if any.
    public var sense: SenseData?
    /// The bytes of sense data that another device has made.
    public var verbatimSense: [UInt8]?
    /// The Data-In, truncated to what the initiator expected.
    public var dataIn: [UInt8]
    /// The length of the Data-In before truncation.
    public var dataInLength: Int
    /// Whether the task was aborted and got no response.
    public var isAborted = false
}

/// A port without a wire: an I_T nexus that a test drives with plain calls.
///
/// Calls come from the test's thread; everything happens on the reactor.
public final class InMemoryPort: TaskPort, @unchecked Sendable {
    /// How many commands can be outstanding unless a test says otherwise.
    public static let slotCount = 32

    /// Whether Data-Out stays away until `sendDataOut`. Set it on the reactor.
    public var withholdsDataOut = false
    /// The lengths of Data-Out that are owed, by slot. On the reactor only.
    private var owedDataOut: [Int: Int] = [:]

    /// How often the port was asked for its tasks, and how many Data-Outs it was asked for. On the reactor only.
    public private(set) var taskEnumerations = 0
    public private(set) var dataOutRequests = 0

    public private(set) var nexus: ITNexus {
        get { storedNexus.withLock { $0! } }
        set { storedNexus.withLock { $0 = newValue } }
    }
    private let storedNexus = Lock<ITNexus?>(nil)
    private let reactor: Reactor
    private var tasks: [SCSITask] = []
    private var payloads: [[UInt8]]
    private var completions: [(@Sendable (CommandResult) -> Void)?]
    /// The port itself while tasks of a lost nexus have not come back: they do not keep it.
    private var keptAlive: InMemoryPort?

    /// Logs a session of `initiator` in to `target` on `reactor`, for the logical units of a map (the target's own when
    /// nil), through the port `portIdentifier`, of those that the target has. `owner` is at the initiator's end.
    public init(
        _ initiator: String, sessionID: String = "000000000001", target: Target, logicalUnits: LogicalUnitMap? = nil,
        reactor: Reactor, slotCount: Int = InMemoryPort.slotCount, portIdentifier: UInt16 = 1,
        of portIdentifiers: [UInt16] = [1], owner: NexusOwner? = nil
    ) {
        self.reactor = reactor
        payloads = Array(repeating: [], count: slotCount)
        completions = Array(repeating: nil, count: slotCount)
        tasks = (0..<slotCount).map { SCSITask(slot: $0, reactor: reactor, port: self) }
        let targetPort = Self.targetPort(portIdentifier, of: target)
        onReactor {
            self.nexus = ITNexus(
                initiatorPort: InitiatorPort(
                    name: initiator, transportID: Self.transportID(of: initiator, sessionID: sessionID)),
                targetPort: targetPort, target: target, logicalUnits: logicalUnits, reactor: reactor, port: self,
                owner: owner, knownTargetPorts: { portIdentifiers.map { Self.targetPort($0, of: target) } })
        }
    }

    private static func targetPort(_ identifier: UInt16, of target: Target) -> TargetPort {
        TargetPort(
            name: "\(target.name),t,0x000\(identifier)", relativeIdentifier: identifier, groupIdentifier: identifier,
            protocolIdentifier: .iSCSI)
    }

    /// The TransportID of an initiator of iSCSI; with `sessionID` nil, of all its sessions.
    public static func transportID(of initiator: String, sessionID: String? = "000000000001") -> [UInt8] {
        var text = Array((initiator + (sessionID.map { ",i,0x\($0)" } ?? "")).utf8) + [0]
        while text.count % 4 != 0 || text.count < 20 { text.append(0) }
        return [sessionID == nil ? 0x05 : 0x45, 0, UInt8(text.count >> 8), UInt8(text.count & 0xFF)] + text
    }

    /// Runs `body` on the reactor and waits for it.
    public func onReactor(_ body: @escaping @Sendable () -> Void) {
        let done = DispatchSemaphore(value: 0)
        // A full mailbox is no reason to wait for ever.
        reactor.postCompletion {
            body()
            done.signal()
        }
        done.wait()
    }

    /// Sends a command and calls `completion` with its outcome, on the reactor. Returns its slot.
    @discardableResult
    public func submit(
        _ command: [UInt8], logicalUnit: Int = 0, at number: LogicalUnitNumber? = nil,
        attribute: TaskAttribute = .simple, dataOut: [UInt8] = [],
        expecting: Int = 1 << 24, completion: @escaping @Sendable (CommandResult) -> Void
    ) -> Int {
        let slot = Lock(-1)
        onReactor {
            let used = self.submitOnReactor(
                command, logicalUnit: logicalUnit, at: number, attribute: attribute, dataOut: dataOut,
                expecting: expecting,
                completion: completion)
            slot.withLock { $0 = used }
        }
        return slot.withLock { $0 }
    }

    /// Sends a command as `submit` does, from the reactor's own thread.
    @discardableResult
    public func submitOnReactor(
        _ command: [UInt8], logicalUnit: Int = 0, at number: LogicalUnitNumber? = nil,
        attribute: TaskAttribute = .simple, dataOut: [UInt8] = [],
        expecting: Int = 1 << 24, completion: @escaping @Sendable (CommandResult) -> Void
    ) -> Int {
        let free = tasks.firstIndex { $0.state == .idle }!
        let task = tasks[free]
        payloads[free] = dataOut
        completions[free] = completion
        task.prepare(
            CommandDescriptorBlock(command), logicalUnitNumber: number ?? LogicalUnitNumber(logicalUnit),
            attribute: attribute, expectedDataInLength: dataOut.isEmpty ? expecting : 0,
            expectedDataOutLength: dataOut.count)
        nexus.submit(task)
        return free
    }

    /// Sends a command and waits for its outcome.
    public func execute(
        _ command: [UInt8], logicalUnit: Int = 0, at number: LogicalUnitNumber? = nil,
        attribute: TaskAttribute = .simple, dataOut: [UInt8] = [],
        expecting: Int = 1 << 24
    ) -> CommandResult {
        let done = DispatchSemaphore(value: 0)
        let result = Lock<CommandResult?>(nil)
        submit(
            command, logicalUnit: logicalUnit, at: number, attribute: attribute, dataOut: dataOut, expecting: expecting
        ) { outcome in
            result.withLock { $0 = outcome }
            done.signal()
        }
        done.wait()
        return result.withLock { $0! }
    }

    /// Sends TEST UNIT READY until no unit attention is left, and returns those that came.
    @discardableResult
    public func clearUnitAttentions(logicalUnit: Int = 0) -> [AdditionalSenseCode] {
        var codes: [AdditionalSenseCode] = []
        for _ in 0..<16 {
            let result = execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0], logicalUnit: logicalUnit)
            guard let sense = result.sense, sense.key == .unitAttention else { break }
            codes.append(sense.additionalSenseCode)
        }
        return codes
    }

    /// Performs a task management function and waits for it. `slot` names the referenced task. `meanwhile` is called
    /// when the function has been begun, to bring about what it waits for.
    public func manage(
        _ function: TaskManagementFunction, logicalUnit: Int = 0, slot: Int? = nil, meanwhile: () -> Void = {}
    ) -> TaskManagementResponse {
        let done = DispatchSemaphore(value: 0)
        let result = Lock<TaskManagementResponse?>(nil)
        onReactor {
            let reference = slot.map { self.tasks[$0] }.flatMap { $0.state == .idle ? nil : $0 }
            self.nexus.perform(
                function, logicalUnitNumber: LogicalUnitNumber(logicalUnit), reference: reference
            ) { response in
                result.withLock { $0 = response }
                done.signal()
            }
        }
        meanwhile()
        done.wait()
        return result.withLock { $0! }
    }

    /// Ends the nexus. Tasks that are with the medium come back later; the port stays for them.
    public func logOut() {
        onReactor {
            self.nexus.lose()
            if self.hasTasks { self.keptAlive = self }
        }
    }

    private var hasTasks: Bool { tasks.contains { $0.state != .idle } }

    // MARK: TaskPort

    /// Copies the command's data, and says so at once.
    public func requestDataOut(_ task: SCSITask, length: Int) {
        dataOutRequests += 1
        if withholdsDataOut {
            owedDataOut[task.slot] = length
        } else {
            bringDataOut(task, length)
        }
    }

    /// Whether the command in `slot` waits for its Data-Out.
    public func owesDataOut(_ slot: Int) -> Bool {
        let isOwed = Lock(false)
        onReactor { isOwed.withLock { $0 = self.owedDataOut[slot] != nil } }
        return isOwed.withLock { $0 }
    }

    /// Sends the Data-Out that was withheld from the command in `slot`.
    public func sendDataOut(_ slot: Int) {
        onReactor { self.sendDataOutOnReactor(slot) }
    }

    /// Sends it as `sendDataOut` does, from the reactor's own thread.
    public func sendDataOutOnReactor(_ slot: Int) {
        guard let length = owedDataOut.removeValue(forKey: slot) else { return }
        bringDataOut(tasks[slot], length)
    }

    /// Says that the Data-Out that was withheld from the command in `slot` is complete, without a byte of it.
    public func sendNoDataOut(_ slot: Int) {
        onReactor {
            guard self.owedDataOut.removeValue(forKey: slot) != nil else { return }
            self.tasks[slot].dataOutArrived()
        }
    }

    private func bringDataOut(_ task: SCSITask, _ length: Int) {
        guard var lease = reactor.pool.lease(capacity: length) else {
            preconditionFailure("the test's pool is too small")
        }
        lease.assign(Array(payloads[task.slot].prefix(length)))
        task.dataOut.lease = consume lease
        task.dataOutArrived()
    }

    /// Hands the outcome to the test.
    public func taskEnded(_ task: SCSITask) {
        var data: [UInt8] = []
        var length = 0
        if let lease = task.dataIn.lease.take() {
            length = lease.count
            data = lease.bytes.extracting(0..<min(length, task.expectedDataInLength)).copyToArray()
        }
        var result = CommandResult(status: task.status, sense: task.sense, dataIn: data, dataInLength: length)
        if case .verbatim(let bytes) = task.reportedSense { result.verbatimSense = bytes }
        finish(task, result)
    }

    /// Tells the test that there will be no response.
    public func taskAborted(_ task: SCSITask) {
        finish(task, CommandResult(status: .taskAborted, sense: nil, dataIn: [], dataInLength: 0, isAborted: true))
    }

    /// Enumerates the outstanding tasks.
    public func forEachTask(_ body: (SCSITask) -> Void) {
        taskEnumerations += 1
        for task in tasks where task.state != .idle && task.state != .ended { body(task) }
    }

    private func finish(_ task: SCSITask, _ result: CommandResult) {
        let completion = completions[task.slot]
        completions[task.slot] = nil
        owedDataOut[task.slot] = nil
        task.clear()
        if keptAlive != nil, !hasTasks { keptAlive = nil }
        completion?(result)
    }
}
