import Catalog
import Foundation
import Logging
import Resources

// Configurations, as a whole: what is described, what it would change, and the change, of which nothing stays when a
// part of it fails.
extension ControlPlane {
    /// What the problem of an interrupted `apply` is called.
    private static let problemName = "apply"

    /// The document that describes everything, without secrets.
    func exportConfiguration() throws(ManagementError) -> JSONValue {
        ConfigurationDocument.json(of: try configurationModel())
    }

    /// Makes of everything what `plan` says, or changes nothing. `job` hears how far it is, and may end it.
    ///
    /// Initiators see what they saw before until all is done. What cannot be taken back comes last: when the first of
    /// it fails, all before is taken back; when a later one does, the rest is done nevertheless, and the error says
    /// what is missing.
    func apply(_ plan: ConfigurationPlan, job: Job? = nil) throws(ManagementError) {
        guard !plan.steps.isEmpty else { return }
        try checkNothingIsInterrupted()
        var journal = ConfigurationJournal(
            reversible: plan.reversible, final: plan.final,
            portals: try query { () throws(CatalogError) in try catalog.portals() },
            asksInDiscovery: try asksInDiscovery())
        let path = folder.journalPath
        try journal.write(path, in: folder)
        do throws(ManagementError) {
            freeze = FrontEndFreeze(
                former: try frontEndPlan(), new: Self.newTargets(plan),
                portalGroups: plan.wanted.index.portalGroups, goingPortals: Self.goingPortals(plan))
        } catch {
            try? folder.remove(path)
            throw error
        }
        var begun = 0
        var left: [String] = []
        do throws(ManagementError) {
            for step in plan.reversible {
                try job?.check()
                begun += 1
                // All the rest is done, and in force before more initiators come.
                if step.opens { try freezeNewOnly() }
                try Self.perform(step, self)
                job?.report(done: begun, of: plan.steps.count)
            }
            try job?.commit()
            if plan.final.isEmpty {
                // This is the moment: without the journal it stays.
                try folder.remove(path)
            } else {
                journal.isCommitted = true
                try journal.write(path, in: folder)
                left = try performFinal(plan, job)
            }
        } catch {
            takeBack(Array(plan.reversible.prefix(begun)), &journal)
            throw error
        }
        endFreeze()
        if !plan.final.isEmpty { forgetJournal(path) }
        record(
            event(
                "apply", "configuration", "",
                new: .object(["changes": .array(plan.lines.prefix(1000).map { .text($0) })])))
        logger.notice("configuration applied", metadata: ["steps": "\(plan.steps.count)"])
        guard let first = left.first else { return }
        throw ManagementError(
            .system,
            "everything else is done, but \(first)" + (left.count > 1 ? "; and \(left.count - 1) more" : "")
                + "; 'carousel diff' shows what is missing, and 'carousel apply' tries again")
    }

    /// Does what cannot be taken back. Fails when the first of it does; what fails later is said.
    private func performFinal(_ plan: ConfigurationPlan, _ job: Job?) throws(ManagementError) -> [String] {
        var left: [String] = []
        for (index, step) in plan.final.enumerated() {
            do throws(ManagementError) {
                try Self.perform(step, self)
            } catch {
                let isGone = try isGone(step)
                guard index > 0 || isGone else { throw error }
                left.append(error.message)
            }
            // From here on it stays, so initiators see it.
            if index == 0 { endFreeze() }
            job?.report(done: plan.reversible.count + index + 1, of: plan.steps.count)
        }
        return left
    }

    /// Whether a deletion that has failed cannot be taken back any more.
    private func isGone(_ step: ConfigurationStep) throws(ManagementError) -> Bool {
        guard step.verb == .delete else { return false }
        return try Registry.configured(step.kind).present(self)[step.name] == nil
    }

    private static func perform(_ step: ConfigurationStep, _ plane: ControlPlane) throws(ManagementError) {
        let kind = try Registry.configured(step.kind)
        switch (step.former, step.wanted) {
        case (nil, let wanted?): try kind.make(step.name, wanted, plane)
        case (let former?, let wanted?): try kind.alter(step.name, former, wanted, plane)
        case (let former?, nil): try kind.remove(step.name, former, plane)
        case (nil, nil): break
        }
    }

    /// The names of the targets that are made, by themselves or with devices.
    private static func newTargets(_ plan: ConfigurationPlan) -> Set<String> {
        let targets = ISCSITarget.description.plural
        var names: Set<String> = []
        for step in plan.steps where step.verb == .create {
            if step.kind == targets { names.insert(step.name) }
            guard let kind = try? Registry.configured(step.kind), let wanted = step.wanted else { continue }
            names.formUnion(kind.companions(step.name, wanted).filter { $0.kind == targets }.map(\.name))
        }
        return names
    }

    /// Where the portals listen that are closed.
    private static func goingPortals(_ plan: ConfigurationPlan) -> Set<String> {
        Set(plan.steps.filter { $0.verb == .delete && $0.kind == Portal.description.plural }.map(\.name))
    }

    /// Has initiators see what there is now, but nothing of what is new: what they write there could not be kept if the
    /// rest failed.
    private func freezeNewOnly() throws(ManagementError) {
        guard let present = freeze, !present.isForNewOnly else { return }
        freeze = FrontEndFreeze(
            former: try storedFrontEndPlan(), new: present.new, portalGroups: present.portalGroups,
            goingPortals: present.goingPortals, isForNewOnly: true)
        try configureFrontEnd()
    }

    private func endFreeze() {
        guard freeze != nil else { return }
        freeze = nil
        forgetFrontEndSettings()
    }

    // MARK: Back again

    /// Takes back `steps`, the last of which may have been done in part, and forgets the journal. What cannot be taken
    /// back is a problem that `status` tells.
    private func takeBack(_ steps: [ConfigurationStep], _ journal: inout ConfigurationJournal) {
        let path = folder.journalPath
        if journal.isCommitted {
            journal.isCommitted = false
            // Otherwise a crash in the next moments would have the start go on with it.
            try? journal.write(path, in: folder)
        }
        // Initiators come through the former portals again when the former plan is in force.
        let reopened = steps.filter { $0.verb == .delete && (try? Registry.configured($0.kind))?.isDeletedLast == true }
        freeze?.portalGroups.formUnion(journal.portals.map(\.portalGroupTag))
        var failures = reverse(steps.filter { !reopened.contains($0) }, journal, leaving: [])
        endFreeze()
        failures += reverse(reopened, journal, leaving: [])
        if failures.isEmpty { forgetJournal(path) } else { setAside(failures) }
    }

    /// Takes back `steps`, as far as they have been done, the last one first, but not those of the kinds `left`; gives
    /// why some were not.
    private func reverse(
        _ steps: [ConfigurationStep], _ journal: ConfigurationJournal, leaving left: Set<String>
    ) -> [String] {
        var failures: [String] = []
        var model: ConfigurationModel
        do throws(ManagementError) { model = try configurationModel() } catch { return [error.message] }
        for step in steps.reversed() where !left.contains(step.kind) {
            do throws(ManagementError) {
                let kind = try Registry.configured(step.kind)
                switch (model[step.kind, step.name], step.former) {
                case (let present?, nil): try kind.remove(step.name, present, self)
                case (nil, let former?):
                    // What was to be changed, and was never made with what brings it along, needs nothing.
                    guard step.verb == .delete else { continue }
                    try kind.make(step.name, former, self)
                case (let present?, let former?):
                    if present != former { try kind.alter(step.name, present, former, self) }
                case (nil, nil): break
                }
                model[step.kind, step.name] = step.former
            } catch {
                failures.append(error.message)
            }
        }
        do throws(ManagementError) {
            // Nothing but credentials that are gone again has asked for it.
            let asks = try asksInDiscovery()
            if asks, !journal.asksInDiscovery { try clearAll(at: .discovery, isNotRequired: true) }
        } catch {
            failures.append(error.message)
        }
        return failures
    }

    private func asksInDiscovery() throws(ManagementError) -> Bool {
        try query { () throws(CatalogError) in try catalog.authenticationPlaces() }.contains(.discovery)
    }

    private func forgetJournal(_ path: String) {
        do {
            try removing { () throws(ManagementError) in try folder.remove(path) }
        } catch {
            setAside([error.message])
        }
    }

    /// Keeps the journal under another name, so that no start takes back by it what somebody has made since.
    private func setAside(_ failures: [String]) {
        for failure in failures {
            logger.error("what was interrupted could not be taken back", metadata: ["reason": "\(failure)"])
        }
        do {
            try folder.move(folder.journalPath, to: folder.interruptedJournalPath)
        } catch {
            logger.error("the journal stays", metadata: ["reason": "\(error.message)"])
        }
        noteInterrupted(failures.first)
    }

    private func noteInterrupted(_ reason: String?) {
        let path = folder.interruptedJournalPath
        setProblem(
            "the change of the configuration was interrupted and could not be taken back as a whole"
                + (reason.map { " (\($0))" } ?? "") + "; compare with 'carousel diff FILE', apply it or mend it, "
                + "and then remove \(path)", of: Self.problemName)
    }

    /// Refuses while the traces of another one are there.
    private func checkNothingIsInterrupted() throws(ManagementError) {
        guard !folder.exists(folder.journalPath) else {
            throw ManagementError(
                .conflict, "an interrupted change of the configuration is not taken back yet; start the daemon again")
        }
        forgetMendedInterruption()
    }

    /// Forgets that a change was interrupted when somebody has looked at its traces: they have removed them.
    func forgetMendedInterruption() {
        guard problems[Self.problemName] != nil else { return }
        // In this order: the one becomes the other.
        guard !folder.exists(folder.journalPath), !folder.exists(folder.interruptedJournalPath) else { return }
        setProblem(nil, of: Self.problemName)
    }

    // MARK: Start

    /// Takes back, or ends, what a crash has left of an `apply`. Before the portals are open, so that nobody sees it.
    ///
    /// - Throws: When what was left cannot be read, so that nobody knows what half of a change would be in force.
    func endInterruptedConfiguration() throws(ManagementError) {
        if folder.exists(folder.interruptedJournalPath) { noteInterrupted(nil) }
        let found: ConfigurationJournal?
        do throws(ManagementError) {
            found = try ConfigurationJournal.read(folder.journalPath)
        } catch {
            guard error.code == .damaged else { throw error }
            return setAside([error.message])
        }
        guard let journal = found else { return }
        do throws(ManagementError) {
            logger.notice(
                "a change of the configuration was interrupted",
                metadata: ["steps": "\(journal.reversible.count + journal.final.count)"])
            let failures = journal.isCommitted ? try end(journal) : try takeBackAtStart(journal)
            if failures.isEmpty { forgetJournal(folder.journalPath) } else { setAside(failures) }
        } catch {
            setAside([error.message])
        }
    }

    private func takeBackAtStart(_ journal: ConfigurationJournal) throws(ManagementError) -> [String] {
        try query { () throws(CatalogError) in try catalog.setPortals(journal.portals) }
        // No portal is open yet that could be asked for its group.
        freeze = FrontEndFreeze(
            former: FrontEndPlan(targets: [], discoveryCredentials: nil), new: [],
            portalGroups: Set(journal.portals.map(\.portalGroupTag)))
        // The front end has heard of the freeze, so it has to hear of its end, before a portal is open.
        defer { endFreeze() }
        return reverse(journal.reversible, journal, leaving: [Portal.description.plural])
    }

    /// Does the rest, of which nothing can be taken back.
    private func end(_ journal: ConfigurationJournal) throws(ManagementError) -> [String] {
        var failures: [String] = []
        let model = try configurationModel()
        for step in journal.final {
            guard let present = model[step.kind, step.name], present != step.wanted else { continue }
            do throws(ManagementError) {
                try Self.perform(step, self)
            } catch {
                failures.append(error.message)
            }
        }
        return failures
    }
}
