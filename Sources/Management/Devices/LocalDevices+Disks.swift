public import Catalog
import DiskDevice
import Logging
import Platform
public import Resources

// What can be done with a disk that runs.
extension LocalDevices {
    public func adjustDisk(_ disk: DiskRecord, to spec: Disk.Spec) throws(ManagementError) {
        let server = try runningDisk(disk)
        server.setReadOnly(spec.isReadOnly)
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
                .inUse, "the medium of disk '\(name)' is being ejected or loaded by an initiator; try again in a moment"
            )
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
