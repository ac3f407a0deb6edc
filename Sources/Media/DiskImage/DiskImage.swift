public import Bytes
public import Platform
public import SCSI

/// The medium of a disk: logical blocks that are read, written and given back, and the lane for what may wait.
///
/// Any thread may call any method at any time, except `resize`, which the owner does while no other does. Blocks must
/// lie below `blockCount`: the device checks logical block addresses first (SBC-4 clause 4.5).
///
/// A command that changes blocks says so first (`beginWriting`). When written data are lost before it has ended, all
/// its later steps fail, and so does everything that writes until `acknowledgeLoss`. A host that has less than the
/// disk's blocks has lost some too.
public protocol DiskImage: Medium {
    /// Where the image is, for messages.
    var path: String { get }
    /// The bytes of a logical block.
    var blockSize: Int { get }
    /// The bytes of the disk.
    var capacity: Int64 { get }
    /// Whether it is never written: everything that would change it fails with `.writeProtected`.
    var isReadOnly: Bool { get }
    /// The bytes of storage that the image takes on the host; nil when the host does not say.
    var allocatedBytes: Int64? { get }
    /// The bytes of the disk that have storage: what its threshold is about. Nil when that is not known now. It may
    /// wait for the file system, and reads what an image says of itself for `DiskImageLimit.spaceTime` at most.
    func findMappedBytes() -> Int64?
    /// The bytes in use in the image of several disks, and how many may be; nil where nothing limits them.
    var limitedSpace: LimitedSpace? { get }
    /// Where requests go when they are prepared.
    var lane: Lane { get }

    // MARK: On a reactor, without waiting

    /// Reads `blocks` from `first` on into `lease`: `.wouldBlock` when a part of them is not in memory.
    func readCached(into lease: inout BufferLease, first: UInt64, blocks: UInt64) -> MediaResult
    /// Remembers in `request` that a command is about to change blocks.
    func beginWriting(_ request: FileRequest)
    /// Writes `blocks` from `first` on, from `leaseOffset` of `lease` on, for the command of `request`. Durable only
    /// after a synchronisation. `.wouldBlock` when that would have to wait; any part may be written then.
    func writeCached(
        from lease: borrowing BufferLease, at leaseOffset: Int, first: UInt64, blocks: UInt64, for request: FileRequest
    ) -> MediaResult

    // MARK: Requests for the lane

    /// Makes `request` read `blocks` from `first` on into its lease at `leaseOffset`.
    func prepareRead(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64)
    /// Makes `request` write `blocks` from `first` on, from `leaseOffset` of its lease on.
    func prepareWrite(_ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64)
    /// Makes `request` write `blocks` from `first` on, from its lease: durable when its outcome is `.done`, and nothing
    /// is changed otherwise, also after a crash. One at a time, of at most `maximumAtomicLength` bytes.
    func prepareAtomicWrite(_ request: FileRequest, first: UInt64, blocks: UInt64)
    /// The most bytes of such a write; 0 where there is none.
    var maximumAtomicLength: Int { get }
    /// Makes `request` make everything durable that was written before it is submitted.
    func prepareSynchronize(_ request: FileRequest)
    /// Makes `request` free the storage of `blocks` from `first` on, at most `maximumDeallocation` of them, which then
    /// read as zeros.
    func prepareDeallocate(_ request: FileRequest, first: UInt64, blocks: UInt64)
    /// Makes `request` write zeros to `blocks` from `first` on, at most `maximumDeallocation` of them, which have
    /// storage then.
    func prepareZeros(_ request: FileRequest, first: UInt64, blocks: UInt64)
    /// Makes `request` find out where blocks have storage, from `first` on: at most `runs` answers
    /// (`provisioning(of:)`).
    func prepareProvisioning(_ request: FileRequest, first: UInt64, runs: Int)
    /// How a prepared request has ended.
    func outcome(of request: FileRequest) -> MediaResult
    /// What a request of `prepareProvisioning` has found, when its outcome is `.done`: runs that follow one another,
    /// the first one from its first block on. They end before what the host no longer has.
    func provisioning(of request: FileRequest) -> [ProvisioningRun]
    /// Makes `request` mark the block `first`, so that reading it fails with `.marked` until it is written or given
    /// back. Durable when its outcome is `.done`; `.hostFull` when there is no room for another mark.
    func prepareMarking(_ request: FileRequest, first: UInt64)
    /// Makes `request` keep `operation` with the image, nil for none: durable when its outcome is `.done`, with all
    /// that was written before. If that fails, `previous` is what stays, as far as that can be done; after a loss
    /// nothing is touched.
    func prepareKeeping(_ request: FileRequest, operation: [UInt8]?, insteadOf previous: [UInt8]?)
    /// Makes `request` read the block `first` into its lease, marked or not.
    func prepareLongRead(_ request: FileRequest, first: UInt64)
    /// The most blocks that one request frees or fills with zeros, so that others come in between.
    var maximumDeallocation: UInt64 { get }

    // MARK: Protection information; for images that keep it

    /// Of which type the protection information is that is kept with the blocks; nil where there is none. All reads
    /// check it then, and all writes make it, except those that say otherwise, and what is unmapped has none.
    var protection: ProtectionType? { get }
    /// As without `transfer`, but with what that says. When the outcome is `.protection`, `protectionFailure(of:)` has
    /// the block.
    func prepareRead(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer)
    /// As without `transfer`, but with what that says. Nothing is checked.
    func prepareWrite(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer)
    /// Makes `request` check the protection information of `blocks` that is in its lease from `leaseOffset` on.
    func prepareProtectionCheck(
        _ request: FileRequest, at leaseOffset: Int, first: UInt64, blocks: UInt64, _ transfer: ProtectionTransfer)
    /// Makes `request` write zeros as `prepareZeros` does, without any protection information.
    func prepareUnprotectedZeros(_ request: FileRequest, first: UInt64, blocks: UInt64)
    /// Which block a request with the outcome `.protection` is about; nil when the request has protection information
    /// in its lease and was prepared when the blocks had some, which they have no longer.
    func protectionFailure(of request: FileRequest) -> ProtectionFailure?
    /// Whether the type of protection information can be changed at all.
    var canChangeProtection: Bool { get }
    /// As without `protection`, when the image can come to have protection information of that type now (nil: none);
    /// else the outcome is `.failed(.protection)`, and nothing is kept.
    func prepareKeeping(
        _ request: FileRequest, operation: [UInt8], insteadOf previous: [UInt8]?, protection type: ProtectionType?)

    /// Calls `body` when what a crash or a loss has left was looked through, on a thread that may wait: with how many
    /// blocks have lost their protection information, where there are any. Of what was found before, at once.
    func observeForgottenProtection(_ body: @escaping @Sendable (Int) -> Void)

    // MARK: Operations on all blocks; these wait, and belong on threads of the lane

    /// What `prepareKeeping` or `keep` had kept when the image was opened.
    var keptOperation: KeptOperation { get }
    /// Keeps `operation` with the image as `prepareKeeping` does.
    func keep(operation: [UInt8]?, insteadOf previous: [UInt8]?) -> MediaFailure?
    /// Keeps that an operation has failed, also after a loss: that may be why it has.
    func keep(failedOperation operation: [UInt8]) -> MediaFailure?
    /// Frees the storage of at most `maximumDeallocation` blocks, which then read as zeros.
    func erase(first: UInt64, blocks: UInt64) -> MediaFailure?
    /// Writes `content`, a whole number of blocks, from `first` on.
    func fill(first: UInt64, with content: [UInt8]) -> MediaFailure?
    /// Whether reading at least one block fails because it is marked.
    var hasMarks: Bool { get }
    func isMarked(_ block: UInt64) -> Bool
    /// Whether the blocks are encrypted where they are stored.
    var isEncrypted: Bool { get }
    /// Whether the key of the blocks is that of no others, so that it can be forgotten now. It does not wait.
    var canReplaceMediaKey: Bool { get }
    /// Forgets the key of the blocks, durably, for a new one; from then on all blocks read as zeros until
    /// `endMediaKeyReplacement`. When it fails, the old key may be there all the same, or the new one be in force.
    func replaceMediaKey() -> MediaFailure?
    /// Which file it is that has the key of the blocks; nil of a plain image.
    var keyIdentity: FileStatus.Identity? { get }
    /// What the old key has encrypted is freed, or reads as noise from now on.
    func endMediaKeyReplacement()
    /// Takes all marks away.
    func removeMarks() -> MediaFailure?
    /// Overwrites and removes what is kept beside the image of the latest atomic write, which has data of blocks.
    func eraseAtomicRecord() -> MediaFailure?

    /// Gives the image protection information of that type, nil for none, of which no block has any, while an operation
    /// is kept that has gone through all blocks and nobody writes. Durable when the answer is nil; when it is why that
    /// was not possible, `protection` says what the image has. An opening from now until `settleProtection` takes what
    /// is there.
    func changeProtection(to type: ProtectionType?) -> MediaFailure?
    /// Whether a type has changed without `settleProtection`, also under an earlier opening.
    var hasUnsettledProtection: Bool { get }
    /// Says that whoever keeps the type of the image's protection information keeps the present one.
    func settleProtection() -> MediaFailure?
    /// Which file it is that has the protection information; nil where there is none.
    var protectionIdentity: FileStatus.Identity? { get }

    // MARK: The control plane; these wait

    /// Makes the disk longer; what is added reads as zeros. When it throws, the disk has the capacity that it had, and
    /// so has its file unless the error says otherwise. A disk with a loss is refused, and its file not touched.
    func resize(to capacity: Int64) throws(DiskImageError)
    /// From now on data go past the host's page cache, as far as they are whole pages; or, with false, through it. What
    /// has begun ends as it began. Throws `.notDirect` where the file system has no such way.
    func setDirect(_ isOn: Bool) throws(DiskImageError)
    /// Makes all completed writes durable.
    func synchronize() -> MediaFailure?
    /// The same for the last time: what is beside the image for its use goes.
    func close() -> MediaFailure?

    /// Calls `body` when another content has taken the place of the present one, of another capacity perhaps, before
    /// any request for it is performed; `body` must not wait. What was prepared before to change the disk fails then
    /// with `.replaced`.
    func observeReplacement(_ body: @escaping @Sendable () -> Void)

    // MARK: Losses of written data

    /// Why everything that writes is refused: the host has failed to make written data durable, or has less than the
    /// disk's blocks (`.truncated`), and nobody has acknowledged that. Nil when all is well.
    var loss: MediaFailure? { get }
    /// `loss` with the time, for people.
    var lossReport: LossReport? { get }
    /// Why the command of `request` cannot end as if its data, or data before it, were kept: there was a loss since
    /// `beginWriting`, or one that nobody has acknowledged. Nil when all is well.
    func loss(since request: FileRequest) -> MediaFailure?
    /// Calls `body` at each loss, before any command that it concerns has ended, on a thread that must not be kept.
    func observeLosses(_ body: @escaping @Sendable (MediaFailure) -> Void)
    /// Calls `body` after each loss, on a thread that may wait, once it was tried to record the loss with the image:
    /// with why that did not succeed, if so. Then the next opening does not know of the loss.
    func observeLossNotes(_ body: @escaping @Sendable (LossReport, MediaFailure?) -> Void)
    /// Permits writes again after a loss, also at the next opening. What is read then is what the host has, old or new.
    /// It waits for the file system; the answer is nil, or why the loss stays: the record of it cannot be removed, or
    /// (`.truncated`) the host still has less than the disk's blocks. Then nothing has changed.
    func acknowledgeLoss() -> MediaFailure?
    /// The file of which the host has less than the disk needs, and how long it should be, in bytes; the image itself
    /// where all is well.
    var truncatedFile: (path: String, length: Int64) { get }
}

/// How much of what is limited is in use, in bytes.
public struct LimitedSpace: Equatable, Sendable {
    public let used: Int64
    public let limit: Int64

    public init(used: Int64, limit: Int64) {
        self.used = used
        self.limit = limit
    }
}

/// Limits of what an image is asked for.
public enum DiskImageLimit {
    /// How long it may count what a disk has.
    public static let spaceTime = Duration.milliseconds(200)
}

extension DiskImage {
    public var isReadOnly: Bool { false }

    /// Most images have a key of their own.
    public var canReplaceMediaKey: Bool { isEncrypted }

    /// An image that is one disk has nothing else.
    public func findMappedBytes() -> Int64? { allocatedBytes }

    public var limitedSpace: LimitedSpace? { nil }

    /// Most images keep their content.
    public func observeReplacement(_ body: @escaping @Sendable () -> Void) {}

    /// NUMBER OF LOGICAL BLOCKS.
    public var blockCount: UInt64 { UInt64(capacity) / UInt64(blockSize) }
}

/// What an image has kept of an operation on all of its blocks.
public enum KeptOperation: Equatable, Sendable {
    case none
    case bytes([UInt8])
    /// There may be something, and nobody can tell what.
    case unreadable
}

/// Consecutive blocks that all have storage, or none.
public struct ProvisioningRun: Equatable, Sendable {
    /// Whether the blocks have storage; those without read as zeros. A block with any storage counts.
    public let isMapped: Bool
    /// The first block after the run.
    public let end: UInt64

    /// A run that ends before `end`.
    public init(isMapped: Bool, end: UInt64) {
        self.isMapped = isMapped
        self.end = end
    }
}
