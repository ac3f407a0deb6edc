internal import Bytes
public import Platform
public import SCSI
internal import Synchronization
public import TargetCore

/// A disk of blocks of 512 bytes in memory, with two commands of its own: one that waits, and one that ends all that
/// wait on its reactor.
public final class MemoryDevice: DeviceServer, @unchecked Sendable {
    /// The bytes of a block.
    public static let blockLength = 512
    /// How many blocks there are unless a test says otherwise.
    public static let blockCount = 16384
    /// The operation code of the command that waits.
    public static let wait: UInt8 = 0xC0
    /// The operation code of the command that ends the waiting.
    public static let letGo: UInt8 = 0xC1

    /// The operation code of the command that ends with `longestSense`.
    public static let foreignSense: UInt8 = 0xC2
    /// The operation code of the command that ends with 512 bytes of data and CHECK CONDITION, as a READ of a tape does
    /// that meets a filemark.
    public static let dataWithSense: UInt8 = 0xC3
    /// Sense data as long as that of another device may be, in descriptor format.
    public static let longestSense: [UInt8] =
        [0x72, 0x0B, 0x44, 0, 0, 0, 0, 244] + (0..<244).map { UInt8($0) }

    private static let table = CommandTable(
        ownCommands + CommonCommands.reservations() + CommonCommands.persistentReservations()
            + CommonCommands.reportSupported())

    private static var ownCommands: [CommandDescriptor<MemoryDevice>] {
        [
            CommonCommands.testUnitReady(), CommonCommands.inquiry(), CommonCommands.reportLUNs(),
            CommonCommands.requestSense(),
            CommandDescriptor(
                OperationCode.read10, "READ(10)", usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0],
                direction: .dataIn
            ) { device, task, _ in device.read(task) },
            CommandDescriptor(
                OperationCode.write10, "WRITE(10)", usage: [0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0],
                direction: .dataOut, begin: { device, task, _ in device.checkWrite(task) },
                execute: { device, task, _ in device.write(task) }),
            CommandDescriptor(wait, "WAIT", usage: [0, 0, 0, 0, 0]) { device, task, _ in
                device.held.withLock { $0.append(Held(task)) }
                device.heldCounter.add(1, ordering: .relaxed)
                return .pending
            },
            CommandDescriptor(foreignSense, "FOREIGN SENSE", usage: [0, 0, 0, 0, 0]) { _, task, _ in
                task.failVerbatim(longestSense)
            },
            CommandDescriptor(
                dataWithSense, "DATA WITH SENSE", usage: [0, 0, 0, 0, 0], direction: .dataIn
            ) { _, task, _ in
                guard task.leaseDataIn(blockLength) else { return .complete }
                let bytes = [UInt8](repeating: 0x5A, count: blockLength)
                task.dataIn.lease?.append(bytes.rawSpan)
                return task.fail(.noSense, .filemarkDetected)
            },
            CommandDescriptor(letGo, "LET GO", usage: [0, 0, 0, 0, 0], ordering: .immediate) { device, task, _ in
                device.letGo()
                return task.good()
            },
        ]
    }

    /// A task that waits; it is only touched on its reactor.
    private struct Held: @unchecked Sendable {
        let task: SCSITask

        init(_ task: SCSITask) { self.task = task }
    }

    public let identity: DeviceIdentity
    public let traits = InquiryTraits(type: .directAccessBlock)
    public let commands = MemoryDevice.table.commands
    public let modePages = ModePages([])
    public let attachedNexuses = AttachedNexuses()
    public let homeReactor: Reactor?

    private var contents: [UInt8]
    private let held = Lock<[Held]>([])
    private let heldCounter = Atomic<Int>(0)
    /// How many commands have been made to wait.
    public var heldCount: Int { heldCounter.load(ordering: .relaxed) }

    /// The device of a number, which makes its identity, filled with one byte. One with a home reactor is serial.
    public init(
        number: Int = 1, blockCount: Int = MemoryDevice.blockCount, filledWith byte: UInt8 = 0,
        homeReactor: Reactor? = nil
    ) {
        contents = [UInt8](repeating: byte, count: Self.blockLength * blockCount)
        identity = DeviceIdentity(
            vendor: "CAROUSEL", product: "MEMORY", revision: "1", serialNumber: "M\(number)",
            naa: 0x3000_0000_0000_0100 + UInt64(number))
        self.homeReactor = homeReactor
    }

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.execute(command, self, task, nexus)
    }

    /// The memory needs no file operation.
    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress { task.good() }

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
        task.dataIn.lease?.append(bytes.rawSpan)
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
