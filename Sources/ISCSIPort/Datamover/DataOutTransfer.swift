internal import ISCSI

/// An R2T that waits for its data.
struct OutstandingTransfer {
    /// The Target Transfer Tag.
    let tag: UInt32
    /// What was asked for.
    let request: ReadyToTransfer
    /// What the data must look like.
    var sequence: DataOutSequence

    init(tag: UInt32, request: ReadyToTransfer) {
        self.tag = tag
        self.request = request
        sequence = DataOutSequence(answering: request)
    }
}

/// The Data-Out of a command on its way from the initiator as a stream of PDUs: unsolicited data first, then what R2Ts
/// ask for.
struct DataOutTransfer {
    /// The most R2Ts outstanding for a command, whatever the initiator allows.
    static let maximumOutstanding = 8

    /// How many bytes the device asked for and still waits for.
    var requested = 0
    /// How many bytes from the start have come.
    var received = 0
    /// The unsolicited Data-Out PDUs, while they come.
    var unsolicited: DataOutSequence?
    /// What is asked for by R2T, when anything is.
    var plan: ReadyToTransferPlan?
    /// The first R2TSN of the next plan: the numbers go on after a reassignment.
    var firstR2TSN: UInt32 = 0

    // The Data-Out PDU that is being received.
    /// Whether it is the last of its sequence.
    var progress = DataOutProgress.more
    /// Where its data belongs.
    var offset = 0
    /// Which of the outstanding R2Ts it answers, from the oldest.
    var position = 0

    /// How many R2Ts are outstanding.
    private(set) var count = 0
    private var first = 0
    private var outstanding = InlineArray<8, OutstandingTransfer?>(repeating: nil)

    /// An outstanding R2T by its position, from the oldest on.
    subscript(position: Int) -> OutstandingTransfer? {
        get { position < count ? outstanding[index(of: position)] : nil }
        set { outstanding[index(of: position)] = newValue }
    }

    private func index(of position: Int) -> Int { (first + position) % Self.maximumOutstanding }

    /// The position of the R2T with that tag, among the oldest `limit`; nil when it is not outstanding.
    func position(ofTag tag: UInt32, limit: Int) -> Int? {
        for position in 0..<min(count, limit) where outstanding[index(of: position)]?.tag == tag { return position }
        return nil
    }

    /// Notes an R2T.
    mutating func append(_ transfer: OutstandingTransfer) {
        precondition(count < Self.maximumOutstanding, "R2Ts are bounded")
        outstanding[index(of: count)] = transfer
        count += 1
    }

    /// Forgets an R2T: its data is complete.
    mutating func remove(_ position: Int) {
        if position > 0 {
            for later in position..<(count - 1) { self[later] = self[later + 1] }
        } else {
            first = (first + 1) % Self.maximumOutstanding
        }
        count -= 1
        plan?.completed()
    }

    /// The data of the PDU that is being received is damaged, or does not come: all from there on comes again.
    mutating func breakOff() {
        if var sequence = unsolicited {
            sequence.breakOff(at: offset)
            unsolicited = sequence
        } else if var transfer = self[position] {
            transfer.sequence.breakOff(at: offset)
            self[position] = transfer
        }
    }

    /// Whether data is still to come, unsolicited or for an R2T.
    var isOutstanding: Bool { count > 0 || unsolicited != nil }

    /// Forgets all data that is still to come.
    mutating func cancel() {
        unsolicited = nil
        count = 0
    }

    /// Forgets what was asked for, so that all that has not come can be asked for again, on another connection; whether
    /// anything was.
    mutating func restart() -> Bool {
        defer {
            plan = nil
            cancel()
        }
        if let plan {
            firstR2TSN = plan.r2tSN
            received = plan.offset
            for position in 0..<count {
                if let transfer = self[position] { received = min(received, transfer.sequence.offset) }
            }
            return true
        }
        if let unsolicited { received = unsolicited.offset }
        return false
    }

    /// Begins with the data of a new command.
    mutating func begin() {
        requested = 0
        received = 0
        plan = nil
        cancel()
    }
}
