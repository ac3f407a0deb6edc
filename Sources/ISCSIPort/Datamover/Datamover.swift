internal import Bytes
internal import ISCSI
internal import Platform

/// The lower half of an iSCSI connection, as RFC 5047 cuts it: it moves PDUs and the data of tasks, and leaves
/// sessions, command numbering, task management, texts and logins to `Connection` and `Session` above it.
///
/// The first one is `StreamDatamover`: iSCSI over TCP. One for iSER (RFC 7145) sends control PDUs as messages, and
/// moves data by remote reads and writes of the same leases instead of Data-In, R2T and Data-Out PDUs.
///
/// Going up, a datamover calls the connection:
///
/// - `receiveControl(_:_:isDataValid:)` with each PDU that moves no data of a task (Control_Notify);
/// - `beginCommand(_:)` and `finishCommand(_:dataLength:isDataValid:)` with a command and its immediate data, which
///   goes straight into the lease of its task;
/// - `progressDataOut(_:)` when data that `getData` asked for is there (Data_Completion_Notify), `fail(_:_:)` when it
///   will not be;
/// - `dataInSent(_:)`, or `conclude(_:with:)` where data carries the status, when the data of `putData` is queued;
/// - `allSent()` when nothing is left to send, and `close(_:)` when the connection is lost
///   (Connection_Terminate_Notify).
///
/// Everything happens on the reactor of the connection. What is queued goes out at the end of the turn.
protocol Datamover: AnyObject {
    // MARK: The connection

    /// Begins to move PDUs on `reactor` (Allocate_Connection_Resources).
    func attach(to reactor: Reactor) throws(SystemError)

    /// Leaves the reactor; what was received and not handled, and what was queued, is kept.
    func detach()

    /// The login is over (Enable_Datamover): `response` ends it on `reactor`, and all that follows,
    /// in both directions, is as `parameters` say.
    func enable(
        _ parameters: NegotiatedParameters, on reactor: Reactor, after response: BasicHeaderSegment, data: RawSpan
    ) throws(SystemError)

    /// Parameters of the connection have changed since (Notice_Key_Values).
    func noticeParameters(_ parameters: NegotiatedParameters)

    /// Has `allSent` called when nothing is left to send.
    func finish()

    /// Ends the connection at once (Connection_Terminate): what is queued is dropped, with the leases.
    func terminate()

    /// `mayReceive` of the connection has changed; false when the connection is lost.
    @discardableResult func receptionChanged() -> Bool

    // MARK: Control PDUs

    /// Sends a PDU that moves no data of a task (Send_Control), with a copy of `data`, whose length its header has;
    /// false when the peer has let the queue fill up, and the connection is closed.
    @discardableResult func send(_ header: BasicHeaderSegment, data: RawSpan) -> Bool

    // MARK: Data

    /// Sends `lease`, of which `count` bytes are expected, as the Data-In of a task that has ended (Put_Data).
    func putData(_ slot: CommandSlot, _ lease: consuming BufferLease, count: Int)

    /// Fetches the Data-Out that the device wants and that is not here (Get_Data). The lease for it is there.
    func getData(_ slot: CommandSlot)

    /// Drops the Data-In of a command that is not sent completely (Deallocate_Task_Resources).
    func withdrawData(_ slot: CommandSlot)

    /// Gives the buffers of a command back to its task: it goes on on another connection.
    func returnBuffers(_ slot: CommandSlot)

    /// Drops what was to be sent of all commands: they go on on another connection.
    func withdrawAllData()

    // MARK: Sending again (ErrorRecoveryLevel 1 and 2)

    /// How many requests to send something again are under way.
    var resendCount: Int { get }

    /// Sends the answers again that the connection keeps from StatSN `next` up to `end`, exclusive.
    func resendAnswers(_ next: SequenceNumber, to end: SequenceNumber)

    /// Does what a SNACK for Data-In or R2Ts of a command asks for (Data/R2T, R-Data); the reason when it cannot.
    func resendData(_ request: SNACKRequestPDU, _ slot: CommandSlot) -> RejectReason?

    /// The initiator has acknowledged the Data-In PDUs of a command before `dataSN`; false when they were not sent, or
    /// before what it had already.
    func acknowledgeData(_ slot: CommandSlot, upTo dataSN: UInt32) -> Bool

    /// Drops the Data-In of an answered command: it is not sent again.
    func releaseData(_ slot: CommandSlot)
}
