internal import Platform
internal import SCSI
internal import SRP
internal import TargetCore

// Task management functions (SRP r16a clause 6.7). They act on the nexus, whichever channel they come by.
extension Channel {
    func takeFunction(_ slot: CommandSlot, _ request: SRPTaskManagement) {
        slot.phase = .function
        guard let function = request.function else { return answerFunction(slot, .functionNotSupported) }
        guard let session, let nexus = session.nexus else { return release(slot) }
        if withdrawHeld(function, request, session, nexus) { return functionEnded(slot, .complete) }
        let reference = function == .abortTask ? session.task(withTag: request.managedTag, on: self) : nil
        slot.useCount &+= 1
        let (index, use) = (slot.index, slot.useCount)
        nexus.perform(
            function, logicalUnitNumber: request.logicalUnitNumber, reference: reference
        ) { [self] response in
            let slot = slots[index]
            if slot.phase == .function, slot.useCount == use { functionEnded(slot, response) }
        }
    }

    /// Ends the commands of a function that wait in their channels; whether that is all that it is for.
    private func withdrawHeld(
        _ function: TaskManagementFunction, _ request: SRPTaskManagement, _ session: Session, _ nexus: ITNexus
    ) -> Bool {
        let number = request.logicalUnitNumber
        guard function != .clearACA, session.channels.contains(where: { !$0.held.isEmpty }),
            nexus.unitNexus(number) != nil
        else { return false }
        let isAbortTask = function == .abortTask
        for channel in [self] + session.channels.filter({ $0 !== self }) {
            for slot in channel.slots where slot.phase == .held && slot.header.logicalUnitNumber.number == number.number
            {
                guard !isAbortTask || slot.header.tag == request.managedTag else { continue }
                channel.held.remove(slot, of: channel.slots)
                channel.release(slot)
                if isAbortTask { return true }
            }
            if channel !== self { channel.pump() }
        }
        return false
    }

    /// The devices have done it. The answer follows what is still on its way to or from the initiator, which may use
    /// the memory of the commands for something else when it has the answer.
    private func functionEnded(_ slot: CommandSlot, _ response: TaskManagementResponse) {
        let code: SRPResponseCode
        switch response {
        // A task that does not exist any more is one that ABORT TASK has nothing to do for (SAM-5 clause 7.2).
        case .complete, .succeeded, .taskDoesNotExist: code = .complete
        case .notSupported: code = .functionNotSupported
        case .incorrectLogicalUnitNumber: code = .functionFailed
        }
        guard state == .serving, let session else { return release(slot) }
        let fence = FunctionFence(session, self) { [self] in
            guard slot.phase == .function else { return }
            answerFunction(slot, code)
            pump()
        }
        fence.begin()
    }

    private func answerFunction(_ slot: CommandSlot, _ code: SRPResponseCode) {
        guard state == .serving else { return release(slot) }
        slot.responseCode = code
        answers.append(slot, of: slots)
        pump()
    }
}

/// Holds the answer of a function back until the commands that were on their way between port and initiator have
/// ended: those with RDMA Reads outstanding, and those whose outcome is being sent.
final class FunctionFence {
    private let session: Session
    private let channel: Channel
    private let answer: () -> Void
    private var slotsLeft = 1
    /// Responses of other channels that the initiator may not have yet.
    private var others: [(channel: Channel, posted: Int)] = []

    init(_ session: Session, _ channel: Channel, _ answer: @escaping () -> Void) {
        self.session = session
        self.channel = channel
        self.answer = answer
    }

    func begin() {
        for other in session.channels {
            for slot in other.slots where isOnItsWay(slot, other) {
                slotsLeft += 1
                slot.waitingFunctions.append(self)
            }
        }
        leave()
    }

    private func isOnItsWay(_ slot: CommandSlot, _ other: Channel) -> Bool {
        switch slot.phase {
        case .free, .held, .device, .function: false
        case .draining: true
        case .reading: slot.goal == .inTable
        case .answering: true
        }
    }

    /// One of the commands has ended.
    func leave() {
        slotsLeft -= 1
        guard slotsLeft == 0 else { return }
        // Responses of its own channel arrive before the answer, those of others when they have completed.
        for other in session.channels where other !== channel && other.endedAnswers < other.postedAnswers {
            others.append((other, other.postedAnswers))
        }
        if others.isEmpty { answer() } else { session.fences.append(self) }
    }

    /// Whether all responses of other channels have arrived; the answer is sent then.
    func advance() -> Bool {
        others.removeAll { $0.channel.state == .closed || $0.channel.endedAnswers >= $0.posted }
        guard others.isEmpty else { return false }
        answer()
        return true
    }
}

extension Session {
    /// Sends the answers of functions that nothing holds back any more.
    func advanceFences() {
        guard !fences.isEmpty else { return }
        let waiting = fences
        fences = []
        let left = waiting.filter { !$0.advance() }
        fences = left + fences
    }
}
