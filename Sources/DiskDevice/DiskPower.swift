internal import SCSI
internal import TargetCore

/// START STOP UNIT (SBC-4 clause 5.31).
extension DiskDeviceServer {
    /// POWER CONDITION (SBC-4 table 82).
    private enum PowerCondition {
        static let startValid: UInt8 = 0x0
        /// ACTIVE, IDLE and STANDBY, which end the stopped power condition too.
        static let conditions: ClosedRange<UInt8> = 0x1...0x3
    }

    func startStop(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let condition = block[4] >> 4
        guard condition == PowerCondition.startValid else { return changePowerCondition(condition, task, nexus) }
        guard block[3] & 0x0F == 0 else { return task.failInvalidField(byte: 3, bit: 3) }
        let starts = block[4] & 0x01 != 0
        // LOEJ.
        if block[4] & 0x02 != 0 { return starts ? load(task) : eject(task) }
        if starts {
            guard hasMedium else { return task.fail(.notReady, .mediumNotPresent) }
            isStopped = false
            nexus.logicalUnit.noteStartStop(isStart: true, on: task.reactor)
            return task.good()
        }
        // NO_FLUSH. Without a medium there is nothing to make durable.
        return block[4] & 0x04 != 0 || !hasMedium ? stop(task) : synchronizeBuffered(task, .synchronizeBeforeStop)
    }

    func synchronizedBeforeStop(_ task: SCSITask) -> CommandProgress {
        synchronizationFailure(task) ?? stop(task)
    }

    private func stop(_ task: SCSITask) -> CommandProgress {
        isStopped = true
        task.nexus?.logicalUnit.noteStartStop(isStart: false, on: task.reactor)
        return task.good()
    }

    /// The medium can be used in all conditions but stopped, so that nothing has to be written before.
    private func changePowerCondition(_ condition: UInt8, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let modifier = task.commandDescriptorBlock[3] & 0x0F
        guard
            nexus.logicalUnit.changePowerCondition(condition, modifier: modifier, on: task.reactor)
        else {
            return modifier == 0 ? task.failInvalidField(byte: 4, bit: 7) : task.failInvalidField(byte: 3, bit: 3)
        }
        if PowerCondition.conditions.contains(condition) { isStopped = false }
        return task.good()
    }
}
