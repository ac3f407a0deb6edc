internal import Media
internal import Platform
public import SCSI
internal import Synchronization
internal import TargetCore

/// What keeps which type of protection information a disk has, beyond the life of the process.
public protocol DiskProtectionKeeper: Sendable {
    /// Keeps it, nil for none, on behalf of an initiator port, or of nobody any more; durable when the answer is true.
    /// It may wait.
    func keep(protection: ProtectionType?, initiatorPort: String?) -> Bool
}

/// What FORMAT UNIT asks for besides the content of blocks.
struct FormatRequest: Sendable {
    /// The protection information that the disk is to have.
    let protection: ProtectionType?
    /// Who asks for it, which needs no unit attention.
    let nexus: ITLNexus?

    var initiatorPort: String? { nexus?.iTNexus.initiatorPort.name }
}

/// Another type of protection information, at the end of a format operation that has gone through all blocks: first the
/// file beside the image, then the keeper, then the notes of the image. What fails or crashes in between leaves a
/// medium that is corrupt until it is formatted again, with the type of before or the new one, as the file says.
extension DiskDeviceServer {
    /// Gives the image what was asked for, and has that kept; on a thread that may wait. Nil, or why the operation has
    /// failed.
    func settleProtection(_ request: FormatRequest?) -> MediaFailure? {
        if let request, let failure = image.changeProtection(to: request.protection) { return failure }
        guard image.hasUnsettledProtection else { return nil }
        // Nil only where nobody else knows of a type.
        let isKept = protectionKeeper?.keep(protection: image.protection, initiatorPort: request?.initiatorPort)
        guard isKept != false else { return .device(Errno.cancelled) }
        return image.settleProtection()
    }

    /// Has commands go by the protection information that the image has, and tells every nexus but `requester`: of
    /// INQUIRY data (PROTECT, SPT; SPC-5 clause 6.7.1), of READ CAPACITY(16) data (P_TYPE, PROT_EN; SBC-4 clause 5.21),
    /// and of the Control mode page where ATO changes (SPC-5 clause 7.5.10). Whether it has changed.
    @discardableResult
    func adoptProtection(except requester: ITLNexus?) -> Bool {
        let former = protection
        let present = image.protection
        guard former != present else { return false }
        presentProtection.store(present?.rawValue ?? 0, ordering: .releasing)
        attachedNexuses.establishUnitAttention(.inquiryDataHasChanged, except: requester)
        attachedNexuses.establishUnitAttention(.capacityDataHasChanged, except: requester)
        let isChanged = modePages.replace(
            ControlModePage.pageOfParallelUnit(isProtected: present != nil), keepsValues: true
        ) { modePageChanged($0) }
        if isChanged { attachedNexuses.establishUnitAttention(.modeParametersChanged, except: requester) }
        return true
    }
}
