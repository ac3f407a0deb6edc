internal import Bytes
internal import Platform
internal import SCSI
internal import TargetCore

/// MOVE MEDIUM, EXCHANGE MEDIUM and POSITION TO ELEMENT (SMC-3 clauses 6.6, 6.3 and 6.8).
extension ChangerDeviceServer {
    func moveMedium(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard isTransport(Int(block.bytes.loadBE16(at: 2))),
            let source = elements.element(at: Int(block.bytes.loadBE16(at: 4))),
            let destination = elements.element(at: Int(block.bytes.loadBE16(at: 6)))
        else { return task.fail(MoveRefusal.noSuchElement.sense) }
        return start(RobotJob(.move(from: .element(source), to: .element(destination)), requester: .task(task)), task)
    }

    func exchangeMedium(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard isTransport(Int(block.bytes.loadBE16(at: 2))),
            let source = elements.element(at: Int(block.bytes.loadBE16(at: 4))),
            let first = elements.element(at: Int(block.bytes.loadBE16(at: 6))),
            let second = elements.element(at: Int(block.bytes.loadBE16(at: 8)))
        else { return task.fail(MoveRefusal.noSuchElement.sense) }
        return start(RobotJob(.exchange(source, first: first, second: second), requester: .task(task)), task)
    }

    func positionToElement(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        guard isTransport(Int(block.bytes.loadBE16(at: 2))),
            elements.element(at: Int(block.bytes.loadBE16(at: 4))) != nil
        else { return task.fail(MoveRefusal.noSuchElement.sense) }
        return task.good()
    }

    /// Whether the address names the robot's hand; zero means the default one.
    private func isTransport(_ address: Int) -> Bool {
        address == 0 || elements.group(.mediumTransport).addresses.contains(address)
    }

    /// Gives the robot a command's job: refused at once when it rests and the job is impossible, else pending.
    private func start(_ job: RobotJob, _ task: SCSITask) -> CommandProgress {
        guard current == nil else {
            guard waiting.count < Self.maximumWaitingMoves else { return task.end(.busy) }
            waiting.append(job)
            return .pending
        }
        if let refusal = begin(job) { return task.fail(refusal.sense) }
        return .pending
    }
}

/// Moves that the operator asks for.
extension ChangerDeviceServer {
    /// Moves a cartridge on behalf of the operator: between elements, into the library or out of it. Any thread;
    /// `completion` is called on the changer's reactor with nil when the move is durable and, for a drive, the
    /// cartridge is loaded, else with the reason why nothing was moved.
    ///
    /// Mail slots are locked while an initiator prevents medium removal. Initiators learn of the move by a unit
    /// attention: IMPORT OR EXPORT ELEMENT ACCESSED when a cartridge came or went, else MEDIUM MAY HAVE CHANGED.
    ///
    /// `context` is for the inventory, which is told of it with the move.
    public func relocate(
        _ barcode: String, from origin: MediumPlace, to destination: MediumPlace, context: any Sendable = (),
        completion: @escaping @Sendable (MoveRefusal?) -> Void
    ) {
        let accepted = reactor.post {
            let job = RobotJob(
                .move(from: origin, to: destination), requester: .panel(barcode: barcode, context: context, completion))
            if self.current != nil {
                guard self.waiting.count < Self.maximumWaitingMoves else { return completion(.tooManyMoves) }
                self.waiting.append(job)
            } else if let refusal = self.begin(job) {
                completion(refusal)
            }
        }
        if !accepted { completion(.tooManyMoves) }
    }

    /// What is in the elements now. On the changer's reactor.
    public func content(of element: LibraryElement) -> ElementContent? {
        elements.has(element) ? elements[element] : nil
    }
}
