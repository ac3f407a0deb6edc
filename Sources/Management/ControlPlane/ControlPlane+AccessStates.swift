import Catalog
import Foundation
import Logging
import Resources
import TargetCore

// Through which portal groups devices let themselves be used.
extension ControlPlane {
    /// The access states of all devices, by name.
    func accessStates() throws(ManagementError) -> [Resource<AccessState>] {
        let kept = try query { () throws(CatalogError) in try catalog.accessStates() }
        let running = assembly.accessStates(ofUnit: nil)
        let (units, groups) = (try deviceUnits(), openPortalGroups)
        return units.units.map { key, unit in
            Self.resource(unit.name, running[key] ?? Self.shown(kept[key] ?? []), groups)
        }.sorted { $0.name < $1.name }
    }

    /// Those of the device `name`.
    func accessState(_ name: String) throws(ManagementError) -> Resource<AccessState> {
        let key = try deviceUnits(named: [name]).key(name)
        return Self.resource(name, try accessStates(ofUnit: key), openPortalGroups)
    }

    /// Changes the state of the device `name` in a portal group, and gives what is there then.
    func setAccessState(
        _ name: String, _ arguments: AccessState.SetState.Arguments
    ) throws(ManagementError) -> AccessState.Group {
        let key = try deviceUnits(named: [name]).key(name)
        let present = try accessState(name).status.groups
        guard let former = present.first(where: { $0.group == arguments.group }) else {
            let known = present.map { "\($0.group)" }
            throw ManagementError(
                .notFound,
                "there is no portal group \(arguments.group); "
                    + (known.isEmpty ? "no portal is open" : "give \(known.joined(separator: " or "))"),
                field: "group")
        }
        var wanted = AccessState.Group(group: arguments.group)
        wanted.state = arguments.state
        wanted.isPreferred = arguments.isPreferred
        wanted.transition = arguments.transition
        let event = event("set", "accessState", name, old: former.json, new: arguments.json)
        let logger = logger
        let whenSet: @Sendable () -> Void = { [self, wanted] in
            record(event)
            logger.notice(
                "access state set",
                metadata: ["device": "\(name)", "group": "\(wanted.group)", "state": "\(wanted.state.rawValue)"])
        }
        switch assembly.setAccessState(wanted, ofUnit: key, whenSet: whenSet) {
        case .set?: break
        case .busy?:
            throw ManagementError(
                .conflict,
                "another change of the access states of '\(name)' has not ended; try again when its transition is "
                    + "over: 'carousel alua show \(name)' tells")
        case .tooMany?:
            throw ManagementError(
                .conflict,
                "'\(name)' has states of \(AttachedNexuses.accessStateLimit) portal groups already; make some of them "
                    + "active/optimized first, without --preferred and --transition")
        case .refused?:
            throw ManagementError(
                .system, "the access state of '\(name)' stays, for it cannot be kept; see the log, and try again")
        case .waiting?:
            throw ManagementError(
                .system,
                "the access state of '\(name)' is not changed yet, for the catalog does not answer; it will be then: "
                    + "'carousel alua show \(name)' tells")
        case nil:
            try keep(wanted, ofUnit: key)
            whenSet()
        }
        let changed = try accessState(name).status.groups.first { $0.group == arguments.group }
        return changed ?? wanted
    }

    /// Keeps the state of a unit that does not run.
    private func keep(_ wanted: AccessState.Group, ofUnit key: Int64) throws(ManagementError) {
        var records = (try query { () throws(CatalogError) in try catalog.accessStates()[key] } ?? [])
            .map { AccessStateRecord($0) }
        var record = wanted.record
        record.cause = .implicit
        if let index = records.firstIndex(where: { $0.group == record.group }) {
            if records[index].state == record.state { record.cause = records[index].cause }
            records[index] = record
        } else {
            if record.state == .activeOptimized { record.cause = .none }
            records.append(record)
        }
        let states = records.map { KeptAccessState($0, time: Date()) }
        try query { () throws(CatalogError) in try catalog.keep(states, ofUnit: key) }
    }

    private func accessStates(ofUnit key: Int64) throws(ManagementError) -> [AccessState.Group] {
        if let running = assembly.accessStates(ofUnit: key)[key] { return running }
        return Self.shown(try query { () throws(CatalogError) in try catalog.accessStates()[key] } ?? [])
    }

    /// The tags of the groups of open portals.
    private var openPortalGroups: Set<Int> { Set(portals.map(\.group)) }

    private static func shown(_ kept: [KeptAccessState]) -> [AccessState.Group] {
        kept.map { AccessState.Group(AccessStateRecord($0), isTransitioning: false) }
    }

    /// With the groups of open portals that are as at first.
    private static func resource(
        _ name: String, _ known: [AccessState.Group], _ open: Set<Int>
    ) -> Resource<AccessState> {
        var groups = Dictionary(known.map { ($0.group, $0) }, uniquingKeysWith: { first, _ in first })
        for tag in open { groups[tag, default: AccessState.Group(group: tag)].isOpen = true }
        var status = AccessState.Status()
        status.groups = groups.values.sorted { $0.group < $1.group }
        return Resource(name: name, spec: NoFields(), status: status)
    }
}
