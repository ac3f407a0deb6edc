internal import Bytes
internal import Platform
internal import SCSI
internal import Synchronization
public import TargetCore

/// A disk of blocks of 512 bytes in memory, with two commands of its own: one that waits, and one that lets all go on that wait
/// on its reactor.
public final class MemoryUnit: LogicalUnit, @unchecked Sendable {
    /// The bytes of a block.
    public static let blockLength = 512
    /// How many blocks there are unless a test says otherwise.
    public static let blockCount = 16384
    /// The operation code of the command that waits.
    public static let wait: UInt8 = 0xC0
    /// The operation code of the command that ends the waiting.
    public static let letGo: UInt8 = 0xC1

    private static let table = CommandTable(
        ownCommands + CommonCommands.reservations() + CommonCommands.reportSupported())

    private static var ownCommands: [CommandDescriptor<MemoryUnit>] {
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
                unit.held.withLock { $0.append(Held(task)) }
                unit.heldCounter.add(1, ordering: .relaxed)
                return .pending
            },
            CommandDescriptor(letGo, "LET GO", usage: [0, 0, 0, 0, 0], ordering: .immediate) { unit, task in
                unit.letGo()
                return task.good()
            },
        ]
    }

    /// A task that waits; it is only touched on its reactor.
    private struct Held: @unchecked Sendable {
        let task: SCSITask

        init(_ task: SCSITask) { self.task = task }
    }

    private var contents: [UInt8]
    private let held = Mutex<[Held]>([])
    private let heldCounter = Atomic<Int>(0)
    /// How many commands have been made to wait.
    public var heldCount: Int { heldCounter.load(ordering: .relaxed) }

    /// The unit of a number, which makes its identity, filled with one byte.
    public init(number: Int = 1, blockCount: Int = MemoryUnit.blockCount, filledWith byte: UInt8 = 0) {
        contents = [UInt8](repeating: byte, count: Self.blockLength * blockCount)
        super.init(
            identity: DeviceIdentity(
                vendor: "CAROUSEL", product: "MEMORY", revision: "1", serialNumber: "M\(number)",
                naa: 0x3000_0000_0000_0100 + UInt64(number)),
            traits: InquiryTraits(type: .directAccessBlock), commands: Self.table.commands)
    }

    override public func begin(_ command: Int, _ task: SCSITask) -> CommandProgress {
        Self.table.begin(command, self, task)
    }

    override public func execute(_ command: Int, _ task: SCSITask) -> CommandProgress {
        Self.table.execute(command, self, task)
    }

    /// Ends the commands that wait on the reactor that it is called on.
    public func letGo() {
        let own = held.withLock { held in
            defer { held.removeAll { $0.task.reactor.isCurrent } }
            return held.filter { $0.task.reactor.isCurrent }
        }
        for entry in own {
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
