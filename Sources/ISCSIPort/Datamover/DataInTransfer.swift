internal import ISCSI
internal import Platform

/// The Data-In of a command on its way to the initiator as a stream of PDUs.
struct DataInTransfer {
    /// The data, while the output queue holds it.
    var payload: OutputQueue.Payload?
    /// How it is cut; what is not planned is not sent.
    var plan: DataInPlan?
    /// All of it is planned, and its status sent or queued.
    var isSent = false

    // ErrorRecoveryLevel 1 and 2.
    /// What the initiator has acknowledged: how many PDUs, and how many bytes.
    var acknowledgedDataSN: UInt32 = 0
    var acknowledgedLength = 0
    /// The plan from what is not acknowledged on.
    var start: DataInPlan?
    /// Whether the last Data-In carried the status.
    var carriesStatus = false
    /// The tag that a DataACK carries; 0 while none was asked for.
    var acknowledgementTag: UInt32 = 0
}
