internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// A disk of 2048 blocks of 512 bytes in memory, and two commands of its own: one that waits, and one that lets all that
/// wait go on.
final class FuzzUnit: LogicalUnit, @unchecked Sendable {
    static let blockLength = 512
    static let blockCount = 2048
    static let wait: UInt8 = 0xC0
    static let letGo: UInt8 = 0xC1

    private static let table = CommandTable(
        ownCommands + CommonCommands.reservations() + CommonCommands.reportSupported())

    private static var ownCommands: [CommandDescriptor<FuzzUnit>] {
        [
            CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.reportLUNs(),
            CommonCommands.requestSense(),
            CommandDescriptor(
                OperationCode.read10, "READ(10)", usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0],
                direction: .dataIn
            ) { unit, task in unit.read(task) },
            CommandDescriptor(
                OperationCode.write10, "WRITE(10)", usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0],
                direction: .dataOut, begin: { unit, task in unit.checkWrite(task) },
                execute: { unit, task in unit.write(task) }),
            CommandDescriptor(wait, "WAIT", usage: [0, 0, 0, 0, 0]) { unit, task in
                unit.waiting.withLock { $0.append(Waiting(task)) }
                return .pending
            },
            CommandDescriptor(letGo, "LET GO", usage: [0, 0, 0, 0, 0], ordering: .immediate) { unit, task in
                unit.letGo()
                return task.good()
            },
        ]
    }

    /// A task that waits; it is only touched on its reactor.
    private struct Waiting: @unchecked Sendable {
        let task: SCSITask

        init(_ task: SCSITask) { self.task = task }
    }

    private var contents = [UInt8](repeating: 0x5A, count: blockLength * blockCount)
    private let waiting = Mutex<[Waiting]>([])

    init(number: Int) {
        super.init(
            identity: DeviceIdentity(
                vendor: "CAROUSEL", product: "FUZZ", revision: "1", serialNumber: "F\(number)",
                naa: 0x3000_0000_0000_0100 + UInt64(number)),
            traits: InquiryTraits(type: .directAccessBlock), commands: Self.table.commands)
    }

    override func begin(_ command: Int, _ task: SCSITask) -> CommandProgress { Self.table.begin(command, self, task) }
    override func execute(_ command: Int, _ task: SCSITask) -> CommandProgress {
        Self.table.execute(command, self, task)
    }

    /// Ends the commands that wait, on the reactor.
    func letGo() {
        let tasks = waiting.withLock { list in
            defer { list = [] }
            return list
        }
        for entry in tasks {
            _ = entry.task.good()
            entry.task.finish()
        }
    }

    private func range(_ task: SCSITask) -> Range<Int>? {
        let block = task.commandDescriptorBlock
        let start = Int(block.bytes.loadBE32(at: 2)) * Self.blockLength
        let end = start + Int(block.bytes.loadBE16(at: 7)) * Self.blockLength
        return end <= contents.count ? start..<end : nil
    }

    private func read(_ task: SCSITask) -> CommandProgress {
        guard let range = range(task) else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        guard !range.isEmpty else { return task.good() }
        guard task.leaseDataIn(range.count) else { return .complete }
        let bytes = Array(contents[range])
        task.dataIn?.append(bytes.rawSpan)
        return task.good()
    }

    private func checkWrite(_ task: SCSITask) -> CommandProgress {
        guard let range = range(task) else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        return .awaitDataOut(length: range.count)
    }

    private func write(_ task: SCSITask) -> CommandProgress {
        guard let range = range(task) else { return task.fail(.illegalRequest, .logicalBlockAddressOutOfRange) }
        guard !range.isEmpty else { return task.good() }
        let bytes = task.parameterList()
        guard bytes.count == range.count else { return task.fail(.hardwareError, .noAdditionalSenseInformation) }
        contents.replaceSubrange(range, with: bytes)
        return task.good()
    }
}
