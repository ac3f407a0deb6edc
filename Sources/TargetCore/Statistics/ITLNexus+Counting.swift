internal import Platform
internal import SCSI

// What a nexus has counted of its tasks: once for the unit, where it is performed, and once for the I_T nexus.
extension ITLNexus {
    /// A task comes, at `time`.
    @inline(__always)
    func countBegin(_ task: SCSITask, at time: MonotonicTime) {
        task.fields.start = time
        unitCounters?.begin()
        nexusCounters?.begin()
    }

    /// A task ends, with its outcome or aborted. Its data are still there.
    @inline(__always)
    func countEnd(_ task: SCSITask) {
        guard !task.isAborted else {
            unitCounters?.abort()
            nexusCounters?.abort()
            return
        }
        let outcome = CommandOutcome(task)
        nexusCounters?.end(outcome)
        guard let unitCounters else { return }
        unitCounters.end(outcome)
        if outcome.status != .good { logicalUnit.noteUnusualEnd(task, self) }
    }
}
