import Platform
import TestSupport
import Testing

@testable import Media

/// How the calls of a store fail.
struct StoreFault: Sendable, CustomStringConvertible {
    let errorNumber: Int32
    let fromThenOn: Bool
    let counting: RecordingStore.Counting

    static let all = [Errno.inputOutput, Errno.noSpace].flatMap { code in
        [false, true].flatMap { fromThenOn in
            [RecordingStore.Counting.changes, .all].map {
                StoreFault(errorNumber: code, fromThenOn: fromThenOn, counting: $0)
            }
        }
    }

    var description: String {
        "error \(errorNumber), \(fromThenOn ? "from then on" : "once"), \(counting == .all ? "reads too" : "changes")"
    }
}

@Suite("Failing stores under disks with snapshots")
struct FamilyFaultTests {
    @Test("The n-th call fails: nothing is wrong, and what was flushed is there", arguments: StoreFault.all)
    func walk(fault: StoreFault) throws {
        for scenario in FaultScenario.all { try Self.walk(scenario, fault) }
    }

    @Test(
        "The n-th call fails of a family with checksums",
        arguments: [
            StoreFault(errorNumber: Errno.inputOutput, fromThenOn: false, counting: .all),
            StoreFault(errorNumber: Errno.noSpace, fromThenOn: true, counting: .changes),
        ])
    func walkWithChecksums(fault: StoreFault) throws {
        for scenario in FaultScenario.all { try Self.walk(scenario, fault, checksums: true) }
    }

    @Test("The same with compressed extents", arguments: StoreFault.all)
    func compressedWalk(fault: StoreFault) throws {
        try Self.walk(.extents, fault, compression: 3)
    }

    private static func walk(
        _ scenario: FaultScenario, _ fault: StoreFault, checksums: Bool = false, compression: Int? = nil
    ) throws {
        do {
            var number = 1
            while true {
                if Effort.includes(number, salt: Int(fault.errorNumber)) {
                    let place = "\(scenario.name), call \(number), \(fault)"
                    do {
                        guard try scenario.run(fault, at: number, checksums, compression: compression) else { break }
                    } catch {
                        throw ProofFailure("\(place): \(error)")
                    }
                }
                number += 1
            }
            #expect(number > 10, "\(scenario.name)")
        }
    }
}

/// Operations that go on after failures of data, and end with a failure of the control plane.
struct FaultScenario: Sendable {
    let name: String
    let body: @Sendable (FamilyRun) throws -> Void

    /// Does it with the `number`-th call failing; false when there are not that many.
    func run(
        _ fault: StoreFault, at number: Int, _ checksums: Bool = false, compression: Int? = nil
    ) throws -> Bool {
        let run = try FamilyRun(
            DiskLayout(units: 96, growsTo: 120).withChecksums(checksums), seed: 1, keepsHistory: false,
            compression: compression)
        try run.write(run.head, 0, 200)
        try run.snapshot(run.head)
        try run.write(run.head, 100, 50)
        try run.checkpoint()
        try run.write(run.head, 300, 30)
        run.store.fail(at: number, fault.errorNumber, fromThenOn: fault.fromThenOn, counting: fault.counting)
        do {
            try body(run)
        } catch let error as ProofFailure {
            throw error
        } catch {
            guard run.store.hasFailed else { throw error }
        }
        let hasFailed = run.store.hasFailed
        run.store.fail(at: nil, 0)
        do {
            try run.verifyDoubtful(isLive: true)
        } catch {
            throw ProofFailure("as it is: \(error)")
        }
        for choice in [CrashChoice.all, .random(UInt64(number)), .none] {
            let store = RecordingStore(run.store.afterCrash(choice), keepsHistory: false)
            let family: DiskFamily
            do {
                family = try DiskFamily.open(FamilyCipher.over(store))
            } catch {
                throw ProofFailure("after a crash (\(choice)) it does not open: \(error)")
            }
            do {
                try run.verifyDoubtful(family, isLive: false)
            } catch {
                throw ProofFailure("after a crash (\(choice)): \(error)")
            }
        }
        return hasFailed
    }

    /// Extents that are written, in part as well, discarded and shared.
    static let extents = FaultScenario(name: "compressed extents") { run in
        for round in 0..<2 {
            run.writeOrPin(run.head, 128 * round, 256)
            run.tryFlush()
            run.writeOrPin(run.head, 128 * round + 70, 90)
            run.discardOrPin(run.head, 128 * round + 5, 60)
            run.discardOrPin(run.head, 128 * round + 128, 128)
            if round % 2 == 1 { try run.snapshot(run.head) }
            run.writeOrPin(run.head, 128 * round + 16, 8)
            run.tryCheckpoint()
        }
        if let snapshot = run.model.snapshots.first { try run.delete(snapshot) }
        for _ in 0..<3 { try run.mergeStep() }
        run.tryFlush()
        try run.rethrowPinFailure()
    }

    static let all = [
        FaultScenario(name: "data") { run in
            for round in 0..<6 {
                run.writeOrPin(run.head, 40 * round, 30)
                run.tryFlush()
                run.writeOrPin(run.head, 40 * round + 3, 9)
                run.discardOrPin(run.head, 16 * round, 24)
                if round % 2 == 1 { run.tryCheckpoint() }
            }
            run.tryFlush()
            try run.rethrowPinFailure()
        },
        FaultScenario(name: "snapshots") { run in
            for round in 0..<3 {
                run.writeOrPin(run.head, 40 * round, 30)
                try run.snapshot(run.head)
                run.writeOrPin(run.head, 40 * round + 3, 9)
                run.tryFlush()
            }
            if let snapshot = run.model.snapshots.last {
                try run.lock(snapshot, for: 100)
                try run.clone(snapshot)
            }
            if let snapshot = run.model.snapshots.first {
                try run.rollBack(run.head, to: snapshot)
            }
            run.tryCheckpoint()
            try run.rethrowPinFailure()
        },
        FaultScenario(name: "deletions") { run in
            run.writeOrPin(run.head, 0, 64)
            try run.snapshot(run.head)
            run.writeOrPin(run.head, 32, 64)
            for snapshot in run.model.snapshots {
                try run.delete(snapshot)
                for _ in 0..<4 {
                    try run.mergeStep()
                    run.writeOrPin(run.head, 8, 40)
                }
            }
            run.tryCheckpoint()
            try run.resize(run.head, 120 * 8)
            try run.rethrowPinFailure()
        },
    ]
}
