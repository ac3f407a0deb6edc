internal import Platform
internal import SCSI
internal import TargetCore

/// A copy operation (SPC-5 clause 5.17.4.3), in the foreground of the command that originates it.
///
/// On the reactor of its nexus only.
final class CopyOperation: @unchecked Sendable {
    /// What is to be done.
    enum Work {
        /// The segments of an EXTENDED COPY.
        case segments(ExtendedCopyList)
        /// A WRITE USING TOKEN.
        case transfer
        /// A POPULATE TOKEN.
        case populate(PopulateTokenList)
    }

    /// Where it is, when its task is parked at a write gate.
    enum Gate {
        /// It enters the gate of that disk to read blocks.
        case read(DiskDeviceServer)
        /// It enters the gate of that disk to write a piece.
        case write(DiskDeviceServer)
        /// It enters the gate of its own disk alone.
        case alone
    }

    let work: Work
    /// The nexus of the originating command.
    let nexus: ITLNexus
    /// The list identifier; nil when the operation has none.
    let identifier: UInt32?
    /// The service action of the originating command.
    let serviceAction: UInt8

    /// The segment that comes next.
    var nextSegment = 0
    /// The medium that each disk had when the operation came to it first; at most one disk for each CSCD descriptor.
    private var mediumGenerations: [ObjectIdentifier: UInt32] = [:]
    /// The transfer that is under way.
    var transfer: CopyTransfer?
    /// The bytes of it that are written.
    var done = 0
    /// The piece that is under way.
    var piece: CopyTransfer.Piece?
    /// The bytes of it that have been read.
    var read = 0
    /// Where they begin in the buffer.
    var skew = 0
    /// The gate that the task is in, or parked at.
    var gate: Gate?
    /// Whether anything was handed to a lane.
    var hasBegun = false
    /// It has ended, and with it the use of its token.
    var isOver = false
    /// COPY OPERATION ABORT names it.
    var isToEnd = false

    // What is told of it.

    /// OPERATION COUNTER.
    var operations: UInt16 = 0
    /// The bytes that were written.
    var written = 0
    /// The blocks that a ROD token represents, or that a WRITE USING TOKEN was to write.
    var wantedBlocks = 0
    /// DEL_TKN of WRITE USING TOKEN.
    var deletesToken = false
    /// The ROD token that was created.
    var token: RODToken?

    init(_ work: Work, _ nexus: ITLNexus, identifier: UInt32?, serviceAction: UInt8) {
        self.work = work
        self.nexus = nexus
        self.identifier = identifier
        self.serviceAction = serviceAction
    }

    /// The segment that is being processed, counted from 0.
    var segment: Int { max(0, nextSegment - 1) }

    /// `mediumGeneration` of the medium that the operation is for on `disk`.
    func mediumGeneration(of disk: DiskDeviceServer) -> UInt32 {
        let identifier = ObjectIdentifier(disk)
        if let generation = mediumGenerations[identifier] { return generation }
        mediumGenerations[identifier] = disk.mediumGeneration
        return disk.mediumGeneration
    }

    /// Notes the medium that `disk` had when its command began; before anything asks for it.
    func noteMediumGeneration(_ generation: UInt32, of disk: DiskDeviceServer) {
        mediumGenerations[ObjectIdentifier(disk)] = generation
    }

    /// SEGMENTS PROCESSED: those that have been begun.
    var segmentsProcessed: Int {
        if case .segments = work { return nextSegment }
        return 0
    }
}

/// What is kept of a copy operation (SPC-5 clause 5.17.4.4).
struct CopyResult: Sendable {
    /// COPY OPERATION STATUS (SPC-5 table 249).
    enum Status: UInt8 {
        case completed = 0x01
        case failed = 0x02
        /// Without errors, but not all that was asked for is represented by the ROD token or was written.
        case partial = 0x03
        case inForeground = 0x11
        case terminated = 0x60
    }

    var serviceAction: UInt8
    var status: Status
    /// EXTENDED COPY COMPLETION STATUS.
    var completion: SCSIStatus
    /// The sense data that the originating command ended with.
    var sense: [UInt8]
    var operations: UInt16
    var segments: Int
    var written: Int
    /// TRANSFER COUNT in blocks, of POPULATE TOKEN and WRITE USING TOKEN.
    var blocks: Int
    /// The ROD token, until it has been fetched.
    var token: [UInt8]?
    /// Whether RECEIVE COPY STATUS(LID1) has fetched its part.
    var isStatusFetched = false
    /// Whether RECEIVE COPY FAILURE DETAILS(LID1) has fetched its part.
    var areDetailsFetched = false
}
