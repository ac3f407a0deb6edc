internal import Platform
internal import SCSI

/// A task management function that ends the tasks of all nexuses on logical units: CLEAR TASK SET on a serial unit, a
/// logical unit reset, a target reset. Also what PREEMPT AND ABORT does to the tasks of some nexuses.
///
/// Its work is that of the nexuses and tasks that there are, whatever units and slots there could be, and every reactor
/// does `turnWork` of it in a turn:
///
/// 1. The nexuses of the units are gathered. Each reactor that has some gets one message, with all of them.
/// 2. There, the tasks that are blocked are aborted, of all nexuses: on a serial unit those of one nexus may wait for
///    those of another.
/// 3. Then the others are aborted. From a clearing that is no reset the nexuses get their unit attention now, which
///    covers what they have lost. A reset holds back what they submit from now on.
/// 4. When all reactors have come so far, what comes back from the medium later is waited for. A reset takes effect:
///    on no task from before it, for none runs, and on nothing that a nexus does after its unit attention.
/// 5. After a reset each reactor gets another message: the nexuses get their unit attention, and their tasks start.
///
/// What the nexus that asks submits later than the function is not affected. Others cannot tell what was before.
final class TaskClearing: @unchecked Sendable {
    /// The work of a reactor in a turn: an I_T nexus counts `nexusWork`, for its tasks, and an I_T_L nexus 1.
    static let turnWork = 4096
    static let nexusWork = 64

    /// The nexuses of one reactor, and how far the work on them has come. There only, once it has begun.
    private final class Part: @unchecked Sendable {
        let reactor: Reactor
        var nexuses: [(nexus: ITNexus, unitNexuses: [ITLNexus])] = []
        var positions: [ObjectIdentifier: Int] = [:]
        var next = 0

        init(_ reactor: Reactor) { self.reactor = reactor }

        func add(_ nexus: ITLNexus) {
            let position = positions[ObjectIdentifier(nexus.iTNexus)] ?? nexuses.count
            if position == nexuses.count {
                positions[ObjectIdentifier(nexus.iTNexus)] = position
                nexuses.append((nexus.iTNexus, []))
            }
            nexuses[position].unitNexuses.append(nexus)
        }

        func takeNext() -> (nexus: ITNexus, unitNexuses: [ITLNexus])? {
            guard next < nexuses.count else { return nil }
            defer { next += 1 }
            return nexuses[next]
        }
    }

    private let origin: ITNexus
    /// What nexuses learn whose tasks have ended; nil when they learn of something else.
    private let attention: AdditionalSenseCode?
    private let isReset: Bool
    /// The nexuses whose tasks end, of one unit; nil for all.
    private let chosen: [ITLNexus]?
    private let chosenNames: Set<ObjectIdentifier>
    private let join: Join

    // On the reactor of the nexus that asks; what others read is complete before their parts begin.
    private let table: LogicalUnitTable<LogicalUnit>
    private var number = 0
    private var units: Set<LogicalUnit> = []
    private var unitList: [LogicalUnit] = []
    /// Those where TAS was one when they were gathered. It may change meanwhile; a task that ends without an answer and
    /// its nexus's unit attention belong together.
    private var unitsWithTaskAborted: Set<LogicalUnit> = []
    /// The nexuses of the parts, of which nobody else needs to be told.
    private var gathered: Set<ObjectIdentifier> = []
    private var parts: [ObjectIdentifier: Part] = [:]
    /// How many reactors have not done their part of a step.
    private(set) var remainingParts = 0

    /// A function of `origin` on the units of `table`, whatever their numbers are.
    init(
        _ table: LogicalUnitTable<LogicalUnit>, origin: ITNexus, attention: AdditionalSenseCode?, isReset: Bool,
        only chosen: [ITLNexus]? = nil, _ join: Join
    ) {
        self.table = table
        self.origin = origin
        self.attention = attention
        self.isReset = isReset
        self.chosen = chosen
        chosenNames = Set((chosen ?? []).map(ObjectIdentifier.init))
        self.join = join
    }

    /// Begins, on the reactor of the nexus that asks, whose affected tasks are marked. The join is left when everything
    /// has been begun that is waited for.
    func begin() {
        inPieces(on: origin.reactor, gather, then: abortAll)
    }

    /// Calls `step`, which gives its work, until it gives nil, and then `end`. When a turn has had its share of work,
    /// the next one goes on.
    private func inPieces(
        on reactor: Reactor, _ step: @escaping @Sendable () -> Int?, then end: @escaping @Sendable () -> Void
    ) {
        var work = 0
        while work < Self.turnWork {
            guard let more = step() else { return end() }
            work += more
        }
        let isPosted = reactor.postCompletion { self.inPieces(on: reactor, step, then: end) }
        // A reactor that stops has no tasks to wait for. If it is the one that asks, nobody waits for the answer, and
        // the steps that follow would meet what this one has left undone.
        if !isPosted, reactor !== origin.reactor { end() }
    }

    // MARK: The nexuses

    /// Takes notice of the nexuses of one unit.
    @Sendable private func gather() -> Int? {
        guard number < table.end else { return nil }
        defer { number += 1 }
        guard let unit = table[number], origin.performs(unit), units.insert(unit).inserted else { return 1 }
        unitList.append(unit)
        if unit.control.endsWithTaskAborted { unitsWithTaskAborted.insert(unit) }
        let nexuses = chosen ?? unit.attachedNexuses.all
        for nexus in nexuses {
            gathered.insert(ObjectIdentifier(nexus))
            let reactor = nexus.iTNexus.reactor
            let part = parts[ObjectIdentifier(reactor)] ?? Part(reactor)
            parts[ObjectIdentifier(reactor)] = part
            part.add(nexus)
        }
        return 1 + nexuses.count
    }

    /// Has every reactor take a step of its part, and then calls `end`, on the reactor of the nexus that asks.
    private func onAllReactors(
        _ step: @escaping @Sendable (Part, _ end: @escaping @Sendable () -> Void) -> Void,
        then end: @escaping @Sendable () -> Void
    ) {
        let partEnded: @Sendable () -> Void = { [self] in
            remainingParts -= 1
            if remainingParts == 0 { end() }
        }
        var others = parts
        let own = others.removeValue(forKey: ObjectIdentifier(origin.reactor)) ?? Part(origin.reactor)
        remainingParts = 1 + others.count
        for part in others.values {
            let isPosted = part.reactor.postCompletion { [origin] in
                step(part) { origin.reactor.postCompletion(partEnded) }
            }
            // A reactor that stops has no tasks to wait for.
            if !isPosted { remainingParts -= 1 }
        }
        step(own, partEnded)
    }

    // MARK: The tasks

    @Sendable private func abortAll() {
        onAllReactors(abortTasks) { [self] in
            number = 0
            inPieces(on: origin.reactor, finishUnit) { [self] in
                guard isReset else { return join.leave() }
                onAllReactors(tell) { [join] in join.leave() }
            }
        }
    }

    /// On the part's reactor.
    @Sendable private func abortTasks(of part: Part, then end: @escaping @Sendable () -> Void) {
        inPieces(on: part.reactor, { self.abortBlocked(part) }) { [self] in
            part.next = 0
            inPieces(on: part.reactor, { self.abortOthers(part) }, then: end)
        }
    }

    /// Which tasks of a nexus are affected.
    private func isAffected(_ task: SCSITask, of nexus: ITNexus) -> Bool {
        guard nexus !== origin || task.fields.isToBeCleared, let unitNexus = task.nexus else { return false }
        return chosen == nil
            ? units.contains(unitNexus.logicalUnit) : chosenNames.contains(ObjectIdentifier(unitNexus))
    }

    /// Whether a task that is affected ends with TASK ABORTED: another nexus ends it, and TAS is one.
    private func endsWithTaskAborted(_ task: SCSITask, of nexus: ITNexus) -> Bool {
        guard nexus !== origin, let unit = task.nexus?.logicalUnit else { return false }
        return unitsWithTaskAborted.contains(unit)
    }

    /// Why tasks end here: the second only where a unit has TAS, as each costs a look at all tasks.
    private var reasons: [AbortReason] {
        unitsWithTaskAborted.isEmpty ? [.withoutAnswer] : [.withoutAnswer, .byAnotherNexus]
    }

    private func isAffected(_ task: SCSITask, of nexus: ITNexus, _ reason: AbortReason) -> Bool {
        isAffected(task, of: nexus) && endsWithTaskAborted(task, of: nexus) == (reason == .byAnotherNexus)
    }

    private func abortBlocked(_ part: Part) -> Int? {
        guard let (nexus, _) = part.takeNext() else { return nil }
        if nexus !== origin {
            nexus.announceClearing { self.isAffected($0, of: nexus) && !self.endsWithTaskAborted($0, of: nexus) }
        }
        for reason in reasons {
            nexus.abortBlocked(reason, where: { isAffected($0, of: nexus, reason) }) {
                if reason == .withoutAnswer { $0.nexus?.hasLostTask = true }
            }
        }
        return Self.nexusWork
    }

    private func abortOthers(_ part: Part) -> Int? {
        guard let (nexus, unitNexuses) = part.takeNext() else { return nil }
        if isReset { for unitNexus in unitNexuses { unitNexus.taskSet.hold() } }
        for reason in reasons {
            nexus.abortTasks(
                reason,
                where: { task in
                    guard isAffected(task, of: nexus, reason) else { return false }
                    if reason == .withoutAnswer { task.nexus?.hasLostTask = true }
                    return true
                }, whenPending: join.wait(for:))
        }
        for unitNexus in unitNexuses {
            if isReset || chosen != nil { unitNexus.logicalUnit.endContingentAllegiance(of: unitNexus) }
            if !isReset, unitNexus.hasLostTask, nexus !== origin { establish(for: unitNexus) }
            unitNexus.hasLostTask = false
            // As if it had allowed the removal (SPC-5 clause 5.14.11.5). It has no command left that could prevent it.
            if chosen != nil, nexus !== origin { unitNexus.preventsMediumRemoval = false }
            unitNexus.logicalUnit.startBlocked(behind: unitNexus)
        }
        return Self.nexusWork + unitNexuses.count
    }

    // MARK: The units

    /// On the reactor of the nexus that asks.
    @Sendable private func finishUnit() -> Int? {
        guard number < unitList.count else { return nil }
        defer { number += 1 }
        let unit = unitList[number]
        join.wait(for: unit.lostTasks)
        guard isReset else { return Self.nexusWork }
        unit.reset()
        let nexuses = unit.attachedNexuses.all
        // Those that came meanwhile may have set what the reset has undone.
        for nexus in nexuses where !gathered.contains(ObjectIdentifier(nexus)) {
            establish(for: nexus)
        }
        return Self.nexusWork + nexuses.count
    }

    // MARK: The unit attentions

    private func establish(for nexus: ITLNexus) {
        if let attention { nexus.establishUnitAttention(attention) }
    }

    /// On the part's reactor. The nexus that asked also learns of a reset (SAM-5 clause 6.3.3).
    @Sendable private func tell(_ part: Part, then end: @escaping @Sendable () -> Void) {
        part.next = 0
        inPieces(on: part.reactor, { self.tellNexus(of: part) }, then: end)
    }

    private func tellNexus(of part: Part) -> Int? {
        guard let (_, unitNexuses) = part.takeNext() else { return nil }
        for unitNexus in unitNexuses {
            establish(for: unitNexus)
            unitNexus.taskSet.release()
            unitNexus.logicalUnit.startBlocked(behind: unitNexus)
        }
        return Self.nexusWork + unitNexuses.count
    }
}
