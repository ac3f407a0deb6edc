internal import Bytes
public import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// The soft threshold of a thin provisioned disk (SBC-4 clause 4.7.3.7): which share of its size may have storage
/// before initiators are told.
///
/// Counts are in threshold sets of 1 MiB. How much has storage is what the control plane has seen last; commands that
/// write neither count nor ask. Of a disk with snapshots it is what the disk itself has; where its image has a limit,
/// the threshold is reached too when that share of the limit is in use, by whatever is in the image.
struct DiskThreshold: Sendable {
    /// Logical Block Provisioning (SBC-4 clause 6.4.4).
    static let logPage: UInt8 = 0x0C
    /// A threshold set is two to this power, in bytes.
    private static let setShift: UInt64 = 20

    /// The percentage; nil when there is none.
    var percent: Int?
    /// The bytes that have storage, as seen last.
    var usedBytes: Int64 = 0
    /// The bytes that may get storage beyond that, whatever the size is; nil when nothing limits them.
    var roomBytes: Int64?
    /// Whether initiators were told that it is reached, and have not been told since that it is not.
    var isReached = false

    /// THRESHOLD EXPONENT (SBC-4 clause 6.6.4): a threshold set has two to this power logical blocks.
    static func exponent(_ blockShift: UInt64) -> UInt8 { UInt8(setShift - blockShift) }

    /// How many sets so many bytes begin.
    static func sets(_ bytes: Int64) -> UInt32 {
        UInt32(clamping: (max(0, bytes) + (1 << Int64(setShift)) - 1) >> Int64(setShift))
    }

    /// The mode page (SBC-4 clause 6.5.9) with one threshold descriptor, which is enabled when it has a count: armed by
    /// increasing use of resources. SITUA is zero: all nexuses are told.
    static func page(usedSets count: UInt32?) -> ModePage {
        var content = [UInt8](repeating: 0, count: 12)
        content += count == nil ? [0, 0, 0, 0] : [0x81, usedResources, 0, 0]
        content.appendBE32(count ?? 0)
        return ModePage(
            code: DiskModePage.informationalExceptions, subpage: DiskModePage.provisioningSubpage, content)
    }

    /// The log parameters: available and used LBA mapping resources, dedicated to this logical unit.
    func logParameters(sets total: UInt32, _ blockShift: UInt64) -> [UInt8] {
        let used = min(Self.sets(usedBytes), total)
        let room = roomBytes.map { UInt32(clamping: max(0, $0) >> Int64(Self.setShift)) } ?? .max
        var bytes: [UInt8] = []
        for (code, count) in [(Self.availableResources, min(total - used, room)), (Self.usedResources, used)] {
            // FORMAT AND LINKING 11b: a binary list parameter.
            bytes += [0, code, 0x03, 8]
            bytes.appendBE32(count)
            bytes += [0x01, 0, 0, 0]
        }
        return bytes
    }

    private static let availableResources: UInt8 = 0x01
    private static let usedResources: UInt8 = 0x02
}

extension DiskDeviceServer {
    /// The threshold and how much is used.
    var threshold: DiskThreshold { thresholdState.withLock { $0 } }
    /// The capacity in threshold sets.
    var thresholdSets: UInt32 { DiskThreshold.sets(Int64(clamping: blockCount << blockShift)) }
    /// The percentage of its size that may have storage before initiators are told; nil when they never are.
    public var thresholdPercent: Int? { threshold.percent }

    /// Changes the percentage. All nexuses are told that mode parameters have changed. It may wait for the file system.
    public func setThreshold(percent: Int?) {
        let used = percent == nil ? 0 : image.findMappedBytes() ?? 0
        let room = percent == nil ? nil : image.limitedSpace.map { $0.limit - $0.used }
        let isChanged = thresholdState.withLock { state in
            guard state.percent != percent else { return false }
            state.percent = percent
            state.usedBytes = used
            state.roomBytes = room
            state.isReached = false
            return true
        }
        guard isChanged else { return }
        replaceThresholdPage()
        attachedNexuses.establishUnitAttention(.modeParametersChanged)
    }

    /// Says what the page of the threshold has for the present percentage and size.
    func replaceThresholdPage() {
        let count = thresholdPercent.map { UInt32(clamping: UInt64(thresholdSets) * UInt64($0) / 100) }
        modePages.replace(DiskThreshold.page(usedSets: count))
    }

    /// What was found of a threshold that is reached.
    public struct ReachedThreshold: Equatable, Sendable {
        /// The bytes of the disk that have storage.
        public let usedBytes: Int64
        /// What is in use in its image, when that has reached the share of its limit.
        public let image: LimitedSpace?
        /// Whether it has begun since the last look.
        public let isNew: Bool
    }

    /// Looks at how much has storage; it may wait for the file system. When the threshold is reached, all nexuses are
    /// told, once until less is used again.
    public func observeThreshold() -> ReachedThreshold? {
        guard thresholdPercent != nil else { return nil }
        // What is not known now is what it was.
        guard let used = image.findMappedBytes() ?? (threshold.usedBytes > 0 ? threshold.usedBytes : nil) else {
            return nil
        }
        let (capacity, limited) = (image.capacity, image.limitedSpace)
        let found = thresholdState.withLock { state -> ReachedThreshold? in
            state.usedBytes = used
            state.roomBytes = limited.map { $0.limit - $0.used }
            guard let percent = state.percent else { return nil }
            func isReached(_ used: Int64, of total: Int64) -> Bool {
                Double(used) * 100 >= Double(total) * Double(percent)
            }
            let image = limited.flatMap { isReached($0.used, of: $0.limit) ? $0 : nil }
            let wasReached = state.isReached
            state.isReached = image != nil || isReached(used, of: capacity)
            guard state.isReached else { return nil }
            return ReachedThreshold(usedBytes: used, image: image, isNew: !wasReached)
        }
        if found?.isNew == true { attachedNexuses.establishUnitAttention(.thinProvisioningSoftThresholdReached) }
        return found
    }
}
