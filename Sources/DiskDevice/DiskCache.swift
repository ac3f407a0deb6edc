public import Media
internal import SCSI
internal import TargetCore

/// What a write that has ended with GOOD, without FUA, promises. The page of this module says what each policy keeps.
public enum DiskCachePolicy: Sendable, Hashable {
    /// The host's page cache has its data: WCE is one, and initiators may change that.
    case writeBack
    /// Its data are durable: WCE is zero, and stays so.
    case writeThrough
    /// As `writeBack`, but data go past the page cache as far as they are whole pages.
    case direct
}

/// Why a disk keeps its cache policy.
public enum DiskCacheError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The image has no way past the page cache, or it could not be opened.
    case image(DiskImageError)
    /// What the cache holds could not be made durable.
    case synchronization(MediaFailure)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .image(let error): error.description
        case .synchronization(let failure): failure.description
        }
    }
}

extension DiskDeviceServer {
    /// Changes the cache policy. All nexuses are told when mode parameters change by that. It waits for the file
    /// system: a cache that is disabled leaves nothing behind. When it throws, the policy is what it was. One call at a
    /// time.
    public func setCachePolicy(_ policy: DiskCachePolicy) throws(DiskCacheError) {
        let former = modePages.page(DiskModePage.caching)
        do { try image.setDirect(policy == .direct) } catch { throw .image(error) }
        let isChanged = modePages.replace(DiskModePage.caching(policy)) { modePageChanged($0) }
        if policy == .writeThrough, let failure = image.synchronize() {
            if let former {
                modePages.replace(former) { modePageChanged($0) }
                try? image.setDirect(former.defaults[10] & DiskModePage.disableReadAhead != 0)
            }
            throw .synchronization(failure)
        }
        if isChanged { attachedNexuses.establishUnitAttention(.modeParametersChanged) }
    }
}
