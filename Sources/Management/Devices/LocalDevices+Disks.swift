public import Catalog
import DiskDevice
import Media
public import Platform
public import Resources
import SCSI

// What can be done with a disk that runs.
extension LocalDevices {
    public func adjustDisk(_ disk: DiskRecord, to spec: Disk.Spec) throws(ManagementError) {
        let server = try runningDisk(disk)
        if spec.cache != disk.spec.cache || disks.withLock({ $0[disk.identity.id]?.cacheProblem }) != nil {
            do {
                try server.setCachePolicy(DiskCachePolicy(spec.cache))
            } catch {
                throw ManagementError(
                    .conflict, "disk '\(disk.name)' is cached as before: \(error); choose another way with --cache")
            }
            disks.withLock { $0[disk.identity.id]?.cacheProblem = nil }
        }
        server.setReadOnly(spec.isReadOnly)
        changeSpaceLimit(ofDisk: disk.identity.id, to: spec.spaceLimit)
        server.setThreshold(percent: spec.threshold)
    }

    public func observeThresholds() -> [ThresholdFinding] {
        countRawImages()
        let watched = disks.withLock { $0.values.filter { $0.server.thresholdPercent != nil } }
        return watched.compactMap { disk in
            guard let percent = disk.server.thresholdPercent, let found = disk.server.observeThreshold() else {
                return nil
            }
            return ThresholdFinding(
                name: disk.name, usedBytes: found.image?.used ?? found.usedBytes, percent: percent,
                limit: found.image?.limit, isNew: found.isNew)
        }
    }

    public func cacheProblem(ofDisk disk: DiskRecord) -> String? {
        disks.withLock { $0[disk.identity.id] }?.cacheProblem
    }

    public func compression(ofDisk disk: DiskRecord) -> String? {
        let image = disks.withLock { $0[disk.identity.id] }?.server.image as? EpochDiskImage
        return image?.compressionLevel.map { "zstd:\($0)" }
    }

    public func operation(ofDisk disk: DiskRecord) -> OperationSummary? {
        disks.withLock { $0[disk.identity.id] }?.server.operation.map { OperationSummary($0) }
    }

    public func failedOperationsOfDisks() -> [String: OperationSummary] {
        // An atomic word of each says that there is none, as a rule.
        let running = disks.withLock { Array($0.values) }
        var failed: [String: OperationSummary] = [:]
        for disk in running {
            guard let operation = disk.server.operation, operation.state == .failed else { continue }
            failed[disk.name] = OperationSummary(operation)
        }
        return failed
    }

    public func protectionFile(ofDisk disk: DiskRecord) -> FileStatus.Identity? {
        disks.withLock { $0[disk.identity.id] }?.server.image.protectionIdentity
    }

    public func memoryStatus(ofDisk disk: DiskRecord) -> FileStatus? {
        (disks.withLock { $0[disk.identity.id] }?.server.image as? RawDiskImage)?.memoryStatus
    }

    public func keyFile(ofDisk disk: DiskRecord) -> FileStatus.Identity? {
        disks.withLock { $0[disk.identity.id] }?.server.image.keyIdentity
    }

    /// Has an image that was opened be used as `policy` says, and gives the policy that this has come to, and why it is
    /// another one.
    static func apply(
        _ policy: CachePolicy, to image: any DiskImage, ofDisk name: String
    ) -> (policy: DiskCachePolicy, problem: String?) {
        guard policy == .direct else { return (DiskCachePolicy(policy), nil) }
        do {
            try image.setDirect(true)
            return (.direct, nil)
        } catch {
            return (
                .writeBack,
                "disk '\(name)': \(error), so it is cached as with 'carousel disk set \(name) --cache write-back'"
            )
        }
    }

    public func ejectDisk(
        _ disk: DiskRecord, isForced: Bool, keep: () throws(ManagementError) -> Void
    ) throws(ManagementError) {
        guard let error = try runningDisk(disk).ejectMedium(isForced: isForced, keep: keep) else { return }
        throw Self.refusal(error, of: disk.name, "ejected")
    }

    public func loadDisk(_ disk: DiskRecord, keep: () throws(ManagementError) -> Void) throws(ManagementError) {
        guard let error = try runningDisk(disk).loadMedium(keep: keep) else { return }
        throw Self.refusal(error, of: disk.name, "loaded")
    }

    private func runningDisk(_ disk: DiskRecord) throws(ManagementError) -> DiskDeviceServer {
        guard let running = disks.withLock({ $0[disk.identity.id] }) else { throw Self.unserved("disk", disk.name) }
        return running.server
    }

    /// How many initiators a refusal names.
    private static let namedInitiators = 3

    private static func refusal(_ error: DiskMediumError, of name: String, _ state: String) -> ManagementError {
        switch error {
        case .fixed: ManagementError(.conflict, "disk '\(name)' is not removable")
        case .noChange: ManagementError(.conflict, "the medium of disk '\(name)' is \(state) already")
        case .moving:
            ManagementError(
                .inUse,
                "the medium of disk '\(name)' is busy: an initiator ejects or loads it, writes to it, or has an "
                    + "operation on all its blocks under way; try again when that is over")
        case .prevented(let ports):
            ManagementError(
                .inUse,
                "the medium of disk '\(name)' is kept in by "
                    + Set(ports.map(CatalogInventory.initiatorName)).sorted().prefix(namedInitiators)
                    .joined(separator: ", ") + "; have it unmounted there, or say --force")
        case .image(let failure):
            ManagementError(
                .system, "the medium of disk '\(name)' stays, for what was written to it is not durable: \(failure)")
        }
    }
}

extension DiskCachePolicy {
    /// The policy that a user has chosen.
    init(_ policy: CachePolicy) {
        switch policy {
        case .writeBack: self = .writeBack
        case .writeThrough: self = .writeThrough
        case .direct: self = .direct
        }
    }
}

extension Disk.Spec {
    /// The type of the protection information; nil for none.
    var protectionType: ProtectionType? { UInt8(exactly: protection).flatMap(ProtectionType.init(rawValue:)) }
}

extension DiskAttributes {
    /// What a disk with `spec` says of itself.
    init(_ spec: Disk.Spec) {
        let blocks = spec.blocksPerPhysicalBlock
        self.init(
            physicalBlockExponent: UInt8(blocks.trailingZeroBitCount),
            lowestAlignedBlock: UInt16(clamping: spec.alignment), isRemovable: spec.isRemovable,
            rotationRate: UInt16(clamping: spec.rotationRate), formFactor: spec.formFactor?.code ?? 0,
            unmappedReads: UInt8(clamping: spec.unmappedReads))
    }
}
