internal import Bytes
internal import Media
internal import Platform
internal import SCSI
internal import Synchronization
internal import TargetCore

/// The soft threshold of a thin provisioned disk (SBC-4 clause 4.7.3.7): which share of its size may have storage
/// before initiators are told.
///
/// Counts are in threshold sets of 1 MiB. How much has storage is what the control plane has seen last; commands that
/// write neither count nor ask.
struct DiskThreshold: Sendable {
    /// Logical Block Provisioning (SBC-4 clause 6.4.4).
    static let logPage: UInt8 = 0x0C
    /// A threshold set is two to this power, in bytes.
    private static let setShift: UInt64 = 20

    /// The percentage; nil when there is none.
    var percent: Int?
    /// The bytes that have storage, as seen last.
    var usedBytes: Int64 = 0
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
        var bytes: [UInt8] = []
        for (code, count) in [(Self.availableResources, total - used), (Self.usedResources, used)] {
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
        let used = percent == nil ? 0 : image.allocatedBytes ?? 0
        let isChanged = thresholdState.withLock { state in
            guard state.percent != percent else { return false }
            state.percent = percent
            state.usedBytes = used
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

    /// Looks at how much has storage; it may wait for the file system. When the threshold is reached, all nexuses are
    /// told, once until less is used again. Gives the bytes when that is so for the first time, or was so before.
    public func observeThreshold() -> (usedBytes: Int64, isNew: Bool)? {
        guard thresholdPercent != nil, let used = image.allocatedBytes else { return nil }
        let capacity = image.capacity
        let (isReached, isNew) = thresholdState.withLock { state -> (Bool, Bool) in
            state.usedBytes = used
            guard let percent = state.percent else { return (false, false) }
            let isReached = Double(used) * 100 >= Double(capacity) * Double(percent)
            defer { state.isReached = isReached }
            return (isReached, isReached && !state.isReached)
        }
        if isNew { attachedNexuses.establishUnitAttention(.thinProvisioningSoftThresholdReached) }
        return isReached ? (used, isNew) : nil
    }
}
