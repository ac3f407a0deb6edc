/// What a SCSI target port does for tasks: it moves their data and carries their outcome (SAM-5 clause 5.4).
///
/// A port implements it once a connection or session; all calls come on the reactor of the session.
public protocol TaskPort: AnyObject {
    /// Brings the first `length` bytes of the command's Data-Out into `task.dataOut.lease`, then calls
    /// `task.dataOutArrived()`: at once when they are there already. `length` is above zero and at most
    /// `task.expectedDataOutLength`.
    func requestDataOut(_ task: SCSITask, length: Int)

    /// The task has ended: its status, sense data and `dataIn` go to the initiator. The task may be used again as
    /// soon as the port has taken what it needs.
    func taskEnded(_ task: SCSITask)

    /// The task was aborted and has let go of everything; the initiator gets no response for it.
    func taskAborted(_ task: SCSITask)

    /// Calls `body` with each task of the nexus that has been submitted and has not ended.
    func forEachTask(_ body: (SCSITask) -> Void)

    /// A function of another nexus is about to end the tasks that `isAffected` selects; their `taskAborted` follows.
    func tasksWillBeCleared(where isAffected: (SCSITask) -> Bool)
}

extension TaskPort {
    /// The default does nothing.
    public func tasksWillBeCleared(where isAffected: (SCSITask) -> Bool) {}
}
