import Foundation
import ISCSI
import ManagementTestSupport
import Resources
import TestSupport
import Testing

@testable import Management

/// What there is, as the controller tells it and as the files are, one line each.
struct WalkState {
    var lines: Set<String> = []
    var permissions: Set<Permission> = []
    var events = 0
    var unclaimed: Set<String> = []
    /// Whether something says that not all is well.
    var isNamed = false

    init(_ controller: Controller, _ folder: WalkFolder) async throws {
        try await addDevices(controller)
        try await addAccess(controller)
        addFiles(folder)
        permissions = World.permissions(try controller.plane.frontEndPlan(), try await controller.allPortals())
        events = try await controller.events().count
        let status = try await controller.status()
        for problem in status.problems { lines.insert("problem: \(problem)") }
        unclaimed = Set(status.unclaimed.map { ($0 as NSString).lastPathComponent })
        for name in unclaimed { lines.insert("unclaimed: \(name)") }
        isNamed = isNamed || !status.problems.isEmpty
    }

    private mutating func addDevices(_ controller: Controller) async throws {
        for disk in try await controller.disks() {
            let (spec, status) = (disk.spec, disk.status)
            let medium = status.medium.map { "\($0)" } ?? "fixed"
            lines.insert(
                """
                disk \(disk.name): \(spec.size ?? 0) \(status.state) \(medium) \(spec.isReadOnly) \(spec.cache) \
                \(spec.threshold ?? 0)
                """)
            isNamed = isNamed || disk.status.state != .serving
        }
        for library in try await controller.libraries() {
            lines.insert("library \(library.name): \(library.spec.slots) slots \(library.status.state)")
            isNamed = isNamed || library.status.state != .serving
        }
        for cartridge in try await controller.cartridges() {
            lines.insert("cartridge \(cartridge.name): \(cartridge.status.place) \(cartridge.status.state)")
            isNamed = isNamed || cartridge.status.state != .ready
        }
        for profile in try await controller.profileSummaries() { lines.insert("profile \(profile.name)") }
    }

    private mutating func addAccess(_ controller: Controller) async throws {
        func words(_ units: [Int: String]) -> [String] { units.sorted { $0.key < $1.key }.map { "\($0)=\($1)" } }
        for target in try await controller.targets() {
            let spec = target.spec
            let groups = spec.groups.sorted { $0.key < $1.key }
                .map { "\($0): \($1.units.map(words)?.description ?? "all")" }
            lines.insert(
                """
                target \(target.name): \(spec.access) proof \(spec.authentication), units \(words(spec.units)), \
                groups \(groups), portals \(spec.portalGroups ?? []), to \(spec.redirection ?? "-")
                """)
        }
        for group in try await controller.initiatorGroups() {
            let spec = group.spec
            lines.insert(
                "group \(group.name): \(spec.names) \(spec.addresses) \(spec.rank ?? 0) proof \(spec.authentication)")
        }
        for (scope, credentials) in controller.plane.secrets.entries {
            for user in credentials.initiators {
                lines.insert("secret \(scope) \(user.name) \(user.secret) \(credentials.algorithms.count)")
            }
        }
        for portal in try await controller.allPortals() {
            lines.insert("portal \(portal.name) \(portal.spec.portalGroup)")
        }
        if let server = try await controller.nameServer() {
            lines.insert("server \(server.spec.server) \(server.spec.accessControl)")
        }
    }

    /// Media with their lengths, in the state folder and beside it.
    private mutating func addFiles(_ folder: WalkFolder) {
        for (root, name) in [(folder.path, "file"), (folder.elsewhere, "file elsewhere")] {
            for entry in FileManager.default.enumerator(atPath: root)?.compactMap({ $0 as? String }) ?? []
            where entry.hasPrefix("disks/") || entry.hasPrefix("libraries/") || root != folder.path {
                let attributes = try? FileManager.default.attributesOfItem(atPath: root + "/" + entry)
                let isFolder = attributes?[.type] as? FileAttributeType == .typeDirectory
                lines.insert("\(name) \(entry) \(isFolder ? "-" : "\(attributes?[.size] ?? 0)")")
            }
        }
    }

    /// What this one has, or lacks, in comparison.
    func difference(from other: WalkState) -> String {
        "\(lines.subtracting(other.lines).sorted()) instead of \(other.lines.subtracting(lines).sorted())"
    }
}

/// The folder that all of them begin with; its controller has ended.
private let template = Task { try await WalkFolder.make() }

/// One run of an operation.
struct Run {
    let operation: WalkOperation
    let folder: WalkFolder
    let gate = EffectGate()
    var (controller, devices): (Controller, FakeDevices)

    init(_ operation: WalkOperation) async throws {
        self.operation = operation
        folder = try await template.value.copy()
        (controller, devices) = try ControllerFixture.make(folder.path) { [gate] path throws(ManagementError) in
            try gate.pass(path)
        }
        try await controller.start()
        try await operation.prepare(controller, folder)
    }

    func snapshot() async throws -> WalkState { try await WalkState(controller, folder) }

    /// Does it, or `other`; the refusal, if there is one.
    func perform(_ other: WalkOperation.Body? = nil) async -> ManagementError? {
        do {
            try await (other ?? operation.perform)(controller, folder)
            return nil
        } catch {
            return error as? ManagementError ?? ManagementError(.internal, "\(error)")
        }
    }

    /// The end of this controller, and another one on the folder.
    mutating func restart() async throws {
        await end()
        (controller, devices) = try ControllerFixture.make(folder.path)
        try await controller.start()
    }

    func end() async {
        await controller.shutDown()
        controller.folder.release()
    }
}

@Suite("A crash and a refusal at every effect")
struct WalkTests {
    @Test(
        "all of it or nothing, rows and files agree, and nobody sees more",
        arguments: WalkOperation.all)
    func walk(_ operation: WalkOperation) async throws {
        let reference = try await Run(operation)
        let before = try await reference.snapshot()
        reference.gate.arm()
        let refusal = await reference.perform()
        #expect(refusal == nil, "\(refusal?.message ?? "")")
        reference.gate.disarm()
        let after = try await reference.snapshot()
        let kinds = Set(try await reference.controller.events().map(\.kind))
        #expect(kinds.isSubset(of: EventDriver.kinds), "events can be asked for by their kinds")
        await reference.end()
        let count = reference.gate.paths.count
        #expect(count > 0)
        print("\(operation.testDescription): \(count) effects")
        if !operation.gives {
            #expect(after.permissions.isSubset(of: before.permissions))
        }
        guard refusal == nil, count > 0 else { return }
        let salt = WalkOperation.all.firstIndex { $0.testDescription == operation.testDescription } ?? 0
        for mode in EffectGate.Mode.allCases {
            for number in 1...count where mode == .crash || Effort.includes(number, salt: salt) {
                try await check(operation, failing: number, mode, before, after)
            }
        }
    }

    private func check(
        _ operation: WalkOperation, failing number: Int, _ mode: EffectGate.Mode, _ before: WalkState,
        _ after: WalkState
    ) async throws {
        var run = try await Run(operation)
        run.gate.arm(failing: number, mode)
        let refusal = await run.perform()
        let place = "\(mode) at effect \(number), \(run.gate.paths.dropFirst(number - 1).first ?? "none")"
        if mode != .crash { run.gate.disarm() }
        #expect(run.gate.hasFailed, "\(place)")
        let limit = operation.gives ? before.permissions.union(after.permissions) : before.permissions
        if mode != .crash {
            let live = try await run.snapshot()
            let isBefore = live.lines == before.lines
            let isAfter = live.lines == after.lines
            if refusal == nil {
                #expect(isAfter, "\(place), live, not refused: \(live.difference(from: after))")
            } else {
                let isHalf = operation.resume != nil && live.unclaimed.isStrictSuperset(of: before.unclaimed)
                let isTold = isBefore || isAfter || isHalf || operation.hasSteps && live.isNamed
                #expect(isTold, "\(place), live, refused: \(live.difference(from: before))")
            }
            let added = live.permissions.subtracting(limit)
            #expect(added.isEmpty, "\(place), live: \(added.prefix(1))")
        }
        try await run.restart()
        let found = try await run.snapshot()
        let isAfter = found.lines == after.lines
        let isHalf = operation.resume != nil && found.unclaimed.isStrictSuperset(of: before.unclaimed)
        if refusal == nil {
            #expect(isAfter, "\(place), restarted, not refused: \(found.difference(from: after))")
        } else {
            let isWhole = isAfter || isHalf || found.lines == before.lines
            #expect(
                isWhole,
                """
                \(place), restarted: \(found.difference(from: before)), and \(found.difference(from: after)); \
                \(refusal?.message ?? "")
                """)
        }
        let added = found.permissions.subtracting(limit)
        #expect(added.isEmpty, "\(place), restarted: \(added.prefix(1))")
        if mode == .crash, !operation.hasOwnEvent {
            #expect(
                found.events == (isAfter ? after : before).events, "\(place): \(found.events) events")
        }
        if !isAfter {
            // Nothing is in the way of doing it again.
            let again = await run.perform(isHalf ? operation.resume : nil)
            let done = try await run.snapshot()
            #expect(again == nil, "\(place), again: \(again?.message ?? "")")
            #expect(done.lines == after.lines, "\(place), again: \(done.difference(from: after))")
        }
        await run.end()
    }
}
