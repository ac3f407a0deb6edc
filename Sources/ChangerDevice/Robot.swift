internal import Platform
internal import SCSI
internal import TargetCore

/// A job of the robot, and its progress.
final class RobotJob {
    enum Plan {
        /// One cartridge from a place to another.
        case move(from: MediumPlace, to: MediumPlace)
        /// The cartridge of the source goes to `first`, the one that is there to `second`, which may be the source.
        case exchange(LibraryElement, first: LibraryElement, second: LibraryElement)
    }

    /// Who asked for it.
    enum Requester {
        /// An initiator's command, which is pending.
        case task(SCSITask)
        /// The operator, who names the cartridge, with what the inventory is to be told.
        case panel(barcode: String, context: any Sendable, @Sendable (MoveRefusal?) -> Void)
    }

    let plan: Plan
    let requester: Requester
    /// The moves that the plan means, when it has been checked.
    var moves: [MediumMove] = []
    /// Drives that have yet to give their cartridge.
    var drivesToUnload: [Int] = []
    /// Drives that gave their cartridge for this job, with its label: if the job fails, they get it back.
    var unloadedDrives: [(drive: Int, barcode: String)] = []
    /// Drives that have yet to load.
    var drivesToLoad: [(drive: Int, barcode: String)] = []
    /// Why the job failed.
    var refusal: MoveRefusal?

    init(_ plan: Plan, requester: Requester) {
        self.plan = plan
        self.requester = requester
    }
}

/// The robot: one job at a time, each in steps. Drives give their cartridges (rewound, durable, closed); the inventory
/// makes the moves durable; then they count, and drives load what they got. When a step fails nothing was moved, and
/// drives that gave a cartridge load it again.
extension ChangerDeviceServer {
    /// Checks a job and begins it; the reason when it is impossible. The robot rests.
    func begin(_ job: RobotJob) -> MoveRefusal? {
        do throws(MoveRefusal) {
            job.moves = try moves(job)
        } catch {
            return error
        }
        for case .element(let origin) in job.moves.map(\.origin) where origin.type == .dataTransfer {
            if drives[origin.number - 1].preventsMediumRemoval { return .removalPrevented }
            job.drivesToUnload.append(origin.number - 1)
        }
        for move in job.moves {
            guard case .element(let destination) = move.destination, destination.type == .dataTransfer else { continue }
            job.drivesToLoad.append((destination.number - 1, move.barcode))
        }
        current = job
        unloadNext()
        return nil
    }

    /// The moves that a job means, if they are possible now.
    private func moves(_ job: RobotJob) throws(MoveRefusal) -> [MediumMove] {
        switch job.plan {
        case .move(let origin, let destination):
            let barcode = try barcode(at: origin, for: job.requester)
            try checkFree(destination)
            try checkMailSlots(origin, destination)
            return [MediumMove(barcode: barcode, origin: origin, destination: destination)]
        case .exchange(let source, let first, let second):
            let moving = try barcode(at: .element(source), for: job.requester)
            let displaced = try barcode(at: .element(first), for: job.requester)
            guard source != first, first != second else { throw .destinationFull }
            if second != source { try checkFree(.element(second)) }
            return [
                MediumMove(barcode: moving, origin: .element(source), destination: .element(first)),
                MediumMove(barcode: displaced, origin: .element(first), destination: .element(second)),
            ]
        }
    }

    private func barcode(at place: MediumPlace, for requester: RobotJob.Requester) throws(MoveRefusal) -> String {
        var named: String?
        if case .panel(let barcode, _, _) = requester { named = barcode }
        guard case .element(let element) = place else {
            guard let named else { throw .noSuchElement }
            return named
        }
        guard elements.has(element) else { throw .noSuchElement }
        guard let content = elements[element], named == nil || named == content.barcode else { throw .sourceEmpty }
        return content.barcode
    }

    private func checkFree(_ place: MediumPlace) throws(MoveRefusal) {
        guard case .element(let element) = place else { return }
        guard elements.has(element), element.type != .mediumTransport else { throw .noSuchElement }
        guard elements[element] == nil else { throw .destinationFull }
    }

    /// Mail slots are locked for the operator while an initiator prevents medium removal (SMC-3 clause 6.9).
    private func checkMailSlots(_ origin: MediumPlace, _ destination: MediumPlace) throws(MoveRefusal) {
        guard attachedNexuses.isMediumRemovalPrevented, origin == .outside || destination == .outside else { return }
        for case .element(let element) in [origin, destination] where element.type == .importExport {
            throw .removalPrevented
        }
    }

    // MARK: Steps

    private var job: RobotJob {
        guard let current else { preconditionFailure("the robot works on a job") }
        return current
    }

    /// Drives give their cartridges, one after another; then the inventory is asked.
    private func unloadNext() {
        guard let drive = job.drivesToUnload.first else { return commit() }
        // By way of the mailbox even when the drive answers at once: a task must not end inside its own handler.
        drives[drive].unload { release in
            self.reactor.postCompletion { self.unloaded(release) }
        }
    }

    private func unloaded(_ release: BayRelease) {
        let drive = job.drivesToUnload.removeFirst()
        guard release == .released else {
            return giveUp(release == .prevented ? .removalPrevented : .driveBusy)
        }
        if let content = elements[LibraryElement(.dataTransfer, drive + 1)] {
            job.unloadedDrives.append((drive, content.barcode))
        }
        unloadNext()
    }

    private func commit() {
        let requester: MoveRequester =
            switch job.requester {
            case .task(let task): .initiator(task.nexus?.iTNexus.initiatorPort.name ?? "")
            case .panel(_, let context, _): .operatorPanel(context)
            }
        inventory.commit(job.moves, by: requester) { failure in
            self.reactor.postCompletion { self.committed(failure) }
        }
    }

    private func committed(_ failure: String?) {
        if let failure { return giveUp(.notCommitted(failure)) }
        elements.apply(job.moves)
        loadNext()
    }

    /// Nothing is moved: drives that gave a cartridge load it again.
    private func giveUp(_ refusal: MoveRefusal) {
        job.refusal = refusal
        job.drivesToLoad = job.unloadedDrives
        loadNext()
    }

    private func loadNext() {
        guard !job.drivesToLoad.isEmpty else { return finish() }
        let next = job.drivesToLoad.removeFirst()
        drives[next.drive].load(next.barcode) {
            self.reactor.postCompletion { self.loadNext() }
        }
    }

    private func finish() {
        let job = job
        current = nil
        switch job.requester {
        case .task(let task):
            if let refusal = job.refusal { _ = task.fail(refusal.sense) } else { _ = task.good() }
            task.finish()
        case .panel(_, _, let completion):
            if job.refusal == nil { tellInitiators(of: job.moves) }
            completion(job.refusal)
        }
        startWaiting()
    }

    private func tellInitiators(of moves: [MediumMove]) {
        let isDoorUsed = moves.contains { $0.origin == .outside || $0.destination == .outside }
        attachedNexuses.establishUnitAttention(isDoorUsed ? .importOrExportElementAccessed : .mediumMayHaveChanged)
    }

    /// Begins the next waiting job that is possible.
    private func startWaiting() {
        while current == nil, !waiting.isEmpty {
            let next = waiting.removeFirst()
            if case .task(let task) = next.requester, task.isAborted {
                task.finish()
                continue
            }
            guard let refusal = begin(next) else { return }
            switch next.requester {
            case .task(let task):
                _ = task.fail(refusal.sense)
                task.finish()
            case .panel(_, _, let completion): completion(refusal)
            }
        }
    }
}
