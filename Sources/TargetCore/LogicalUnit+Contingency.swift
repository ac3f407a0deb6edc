internal import SCSI

// What a command that ends with CHECK CONDITION means for others: auto contingent allegiance (SAM-5 clause 5.9) and
// queue error management (SPC-5 clause 7.5.10).
//
// An auto contingent allegiance faults the task set: that of the nexus, or on a serial unit, whose nexuses share one,
// those of all. It is a hold of these task sets and a condition of the gate of each nexus: commands that are blocked
// stay so, new ones do not come in, and those that have begun end as usual.
extension LogicalUnit {
    /// A task ends with another status than GOOD. Before others start; on the reactor of the nexus.
    func noteUnusualEnd(_ task: SCSITask, _ nexus: ITLNexus) {
        guard task.status == .checkCondition else {
            if control.unitAttentionInterlock == .keepsAndEstablishes, let code = Self.previousStatus(task.status) {
                nexus.establishUnitAttention(code)
            }
            return
        }
        noteFailure(task)
        if task.commandDescriptorBlock.isNormalACARequested {
            establishContingentAllegiance(of: nexus)
        } else if task.attribute == .autoContingentAllegiance {
            endContingentAllegiance(of: nexus)
        }
        switch control.queueErrorManagement {
        case .none: break
        case .abortsTaskSet where isSerial:
            nexus.iTNexus.clear(self, attention: .commandsClearedByAnotherInitiator, isReset: false) { _ in }
        case .abortsTaskSet, .abortsNexus:
            nexus.iTNexus.abortTasks { $0.nexus === nexus && $0 !== task }
        }
    }

    /// The unit attention that tells of a status with interlock 11b (SPC-5 clause 7.5.10).
    private static func previousStatus(_ status: SCSIStatus) -> AdditionalSenseCode? {
        switch status {
        case .busy: .previousBusyStatus
        case .taskSetFull: .previousTaskSetFullStatus
        case .reservationConflict: .previousReservationConflictStatus
        default: nil
        }
    }

    // MARK: Auto contingent allegiance

    /// Faults the task set of `nexus`. One that is faulted stays so: of a command with the ACA attribute, as another
    /// condition in the place of the first.
    private func establishContingentAllegiance(of nexus: ITLNexus) {
        guard !nexus.taskSet.isFaulted else { return }
        nexus.raise(.contingentAllegiance)
        nexus.taskSet.fault()
        guard isSerial else { return }
        turns.value.fault()
        for other in attachedNexuses.all where other !== nexus {
            other.raise(.contingentAllegianceOfAnother)
            other.taskSet.fault()
        }
    }

    /// Ends the auto contingent allegiance that `nexus` has, if there is one: commands that were held back start. On
    /// the reactor of the nexus.
    func endContingentAllegiance(of nexus: ITLNexus) {
        guard nexus.conditions.contains(.contingentAllegiance) else { return }
        nexus.lower(.contingentAllegiance)
        nexus.taskSet.mend()
        guard isSerial else { return startBlocked(behind: nexus) }
        turns.value.mend()
        let others = attachedNexuses.all.filter { $0.conditions.contains(.contingentAllegianceOfAnother) }
        for other in others {
            other.lower(.contingentAllegianceOfAnother)
            other.taskSet.mend()
        }
        startBlocked(behind: nexus)
        for other in others { startBlocked(behind: other) }
    }

    /// A nexus comes to a serial unit that is faulted.
    func joinContingentAllegiance(_ nexus: ITLNexus) {
        guard isSerial, turns.value.isFaulted else { return }
        nexus.raise(.contingentAllegianceOfAnother)
        nexus.taskSet.fault()
    }

    /// CLEAR ACA (SAM-5 clause 7.4): the command with the ACA attribute is aborted, and the condition ends. Without one
    /// that `nexus` has, nothing happens, which is no error.
    func clearContingentAllegiance(of nexus: ITLNexus, _ join: Join) {
        guard nexus.conditions.contains(.contingentAllegiance) else { return join.leave() }
        nexus.iTNexus.abortTasks(
            where: { $0.nexus === nexus && $0.attribute == .autoContingentAllegiance },
            whenPending: join.wait(for:))
        endContingentAllegiance(of: nexus)
        join.leave()
    }

    /// Why a command may not come into a faulted task set (SAM-5 clause 5.9.4); nil when it may. Of commands with the
    /// ACA attribute one at a time is let in.
    func contingencyStatus(of task: SCSITask, _ nexus: ITLNexus, _ conditions: GateConditions) -> SCSIStatus? {
        if conditions.contains(.contingentAllegianceOfAnother) {
            guard task.attribute != .autoContingentAllegiance else { return nil }
            return task.commandDescriptorBlock.isNormalACARequested ? .acaActive : .busy
        }
        guard task.attribute == .autoContingentAllegiance else { return .acaActive }
        var isAnotherThere = false
        nexus.iTNexus.forEachTask { other in
            if other !== task, other.nexus === nexus, other.attribute == .autoContingentAllegiance {
                isAnotherThere = true
            }
        }
        return isAnotherThere ? .acaActive : nil
    }
}
