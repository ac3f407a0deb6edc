public import Media
internal import Platform
public import SCSI
internal import Synchronization
public import TargetCore

/// The device server of a direct access block device (SBC-4) over an image.
///
/// It is used on every reactor at the same time. What commands share is immutable or one atomic word; only mode
/// parameters, unit attentions and commands that wait for COMPARE AND WRITE are behind locks.
public final class DiskDeviceServer: DeviceServer, Sendable {
    /// The most bytes that one command moves: the largest lease.
    public static let maximumTransferLength = 16 << 20
    /// The longest READ, in bytes, that is answered on the reactor when the page cache holds it.
    static let inlineReadLimit = 1 << 20
    /// The longest WRITE, in bytes, that goes to the page cache on the reactor.
    static let inlineWriteLimit = 1 << 20

    public let identity: DeviceIdentity
    public let traits = InquiryTraits(type: .directAccessBlock, versionDescriptors: [VersionDescriptor.sbc3])
    public let commands = DiskDeviceServer.table.commands
    public let modePages = DiskModePage.all
    public let attachedNexuses = AttachedNexuses()
    public let isSerial = false

    /// The medium.
    public let image: RawDiskImage
    /// The image's file, for the file engine.
    let file: File
    /// The logical block length is two to this power.
    let blockShift: UInt64
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
    let physicalBlockExponent: UInt8
    /// Whether nothing may be written, whatever mode parameters say.
    let isReadOnly: Bool
    /// Keeps COMPARE AND WRITE and ORWRITE whole against all other commands that change the medium.
    let writeGate = WriteGate()

    /// NUMBER OF LOGICAL BLOCKS. It only grows.
    private let blockTotal: Atomic<UInt64>
    private let stopped = Atomic<Bool>(false)
    /// How often the host has failed to make written data durable.
    let lostWrites = Atomic<Int>(0)

    // Bits of mode pages that the data path needs.
    private let writeCache = Atomic<Bool>(true)
    private let softwareWriteProtection = Atomic<Bool>(false)
    private let descriptorSense = Atomic<Bool>(false)

    /// A disk over `image`. With 512-byte blocks, `physicalBlockExponent` 3 tells initiators that the medium prefers
    /// aligned 4 KiB (512e), 0 that it does not care.
    public init(
        image: RawDiskImage, identity: DeviceIdentity, physicalBlockExponent: UInt8 = 0, isReadOnly: Bool = false
    ) {
        guard let file = image.file else { preconditionFailure("a disk needs an image with a file") }
        self.identity = identity
        self.image = image
        self.file = file
        self.physicalBlockExponent = physicalBlockExponent
        self.isReadOnly = isReadOnly
        blockShift = UInt64(image.blockSize.trailingZeroBitCount)
        blockTotal = Atomic(image.blockCount)
    }

    // MARK: State

    /// NUMBER OF LOGICAL BLOCKS.
    public var blockCount: UInt64 { blockTotal.load(ordering: .acquiring) }
    /// The logical block length in bytes.
    public var blockSize: Int { 1 << Int(blockShift) }
    /// Whether START STOP UNIT has stopped the unit.
    var isStopped: Bool {
        get { stopped.load(ordering: .acquiring) }
        set { stopped.store(newValue, ordering: .releasing) }
    }
    /// WCE: whether a write may end before its data are durable.
    var isWriteCacheEnabled: Bool { writeCache.load(ordering: .relaxed) }
    /// Whether the medium may not be written now.
    var isWriteProtected: Bool { isReadOnly || softwareWriteProtection.load(ordering: .relaxed) }

    /// Makes the disk larger, and lets every nexus know by CAPACITY DATA HAS CHANGED. It waits for the file system.
    ///
    /// A disk does not become smaller: commands that already passed the check of their addresses would reach beyond
    /// its end, and initiators have no way to agree to losing blocks.
    public func resize(to capacity: Int64) throws(DiskResizeError) {
        guard capacity >= image.capacity else { throw .smaller(capacity: image.capacity) }
        guard capacity > image.capacity else { return }
        do throws(DiskImageError) {
            try image.resize(to: capacity)
        } catch {
            throw .image(error)
        }
        blockTotal.store(image.blockCount, ordering: .releasing)
        attachedNexuses.establishUnitAttention(.capacityDataHasChanged)
    }

    // MARK: Commands

    public func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }

    public func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        guard changesMedium(command) else { return Self.table.execute(command, self, task, nexus) }
        return enterGate(task) ? settle(task, Self.table.execute(command, self, task, nexus)) : .pending
    }

    public func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let progress = fileStepCompleted(task, nexus)
        return changesMedium(task.command) ? settle(task, progress) : progress
    }

    public func fileAbandoned(_ task: SCSITask, _ nexus: ITLNexus) {
        task.fileRequest.lease = nil
        if changesMedium(task.command) { leaveGate(task) }
    }

    public var notReadySense: SenseData? {
        isStopped ? SenseData(.notReady, .initializingCommandRequired) : nil
    }

    public var writeProtectionSense: SenseData? {
        guard isWriteProtected else { return nil }
        return SenseData(.dataProtect, isReadOnly ? .writeProtected : .softwareWriteProtected)
    }

    // MARK: Mode pages

    public var usesDescriptorSense: Bool { descriptorSense.load(ordering: .relaxed) }

    /// Takes the bits that the data path needs from a page's current values.
    public func modePageChanged(_ page: ModePage) {
        switch page.code {
        case DiskModePage.caching:
            writeCache.store(page.current[0] & DiskModePage.writeCacheEnable != 0, ordering: .relaxed)
        case DiskModePage.control:
            descriptorSense.store(page.current[0] & DiskModePage.descriptorSense != 0, ordering: .relaxed)
            softwareWriteProtection.store(
                page.current[2] & DiskModePage.softwareWriteProtect != 0, ordering: .relaxed)
        default: break
        }
    }

    /// A write cache that is disabled leaves nothing behind in it, because an initiator that knows of no cache never
    /// synchronises it.
    public func modeSelectEnding(
        _ task: SCSITask, _ nexus: ITLNexus, changed pages: [ModePage]
    ) -> CommandProgress {
        guard pages.contains(where: { $0.code == DiskModePage.caching }), !isWriteCacheEnabled else {
            return task.good()
        }
        return submit(task, .synchronizeData, .synchronize)
    }

    // MARK: Events

    public func nexusEstablished(_ nexus: ITLNexus) {
        // What was lost before it logged in is not this initiator's data.
        _ = lossRecord(nexus)
    }

    public func logicalUnitReset() {
        isStopped = false
    }

    // MARK: The write gate

    private func changesMedium(_ command: Int) -> Bool {
        commands.conditions(command).contains(.writesMedium)
    }

    private func needsMediumAlone(_ task: SCSITask) -> Bool {
        let code = task.commandDescriptorBlock.operationCode
        return code == OperationCode.compareAndWrite || code == OperationCode.orWrite16
    }

    private func enterGate(_ task: SCSITask) -> Bool {
        needsMediumAlone(task)
            ? writeGate.enterAlone(task, for: self) : writeGate.enter(task, for: self)
    }

    private func leaveGate(_ task: SCSITask) {
        if needsMediumAlone(task) { writeGate.leaveAlone() } else { writeGate.leave() }
    }

    /// Leaves the gate when the command is over.
    private func settle(_ task: SCSITask, _ progress: CommandProgress) -> CommandProgress {
        if progress == .complete { leaveGate(task) }
        return progress
    }

    /// Goes on with a task that waited at the gate, on its reactor; `isInside` when it has been let in.
    func resume(_ task: SCSITask, isInside: Bool) {
        if task.isAborted {
            if isInside { leaveGate(task) }
            return task.finish()
        }
        guard isInside || enterGate(task), let nexus = task.nexus else { return }
        if settle(task, Self.table.execute(task.command, self, task, nexus)) == .complete { task.finish() }
    }
}

/// Why a disk keeps its size.
public enum DiskResizeError: Error, Equatable, CustomStringConvertible {
    /// The new size is below the present one.
    case smaller(capacity: Int64)
    /// The image could not be resized.
    case image(DiskImageError)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .smaller(let capacity): "a disk cannot become smaller than it is (\(capacity) bytes)"
        case .image(let error): error.description
        }
    }
}
