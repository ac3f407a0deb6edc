import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import Profiles
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import Media
@testable import TapeDevice

/// Where a host fails.
enum FailingPlace: CaseIterable, Sendable {
    /// The data file: its writes, synchronisations and truncations.
    case data
    /// The index: what SQLite writes, synchronises, cuts off and deletes.
    case index
}

/// How a host fails.
struct HostFailure: Sendable, CustomTestStringConvertible {
    var place: FailingPlace
    var errorNumber: Int32
    /// Whether all later calls fail too.
    var fromThenOn: Bool

    var testDescription: String {
        "\(place), \(errorNumber == Errno.noSpace ? "ENOSPC" : "EIO")\(fromThenOn ? ", from then on" : "")"
    }

    static let all: [HostFailure] = FailingPlace.allCases.flatMap { place in
        [Errno.inputOutput, Errno.noSpace].flatMap { code in
            [false, true].map { HostFailure(place: place, errorNumber: code, fromThenOn: $0) }
        }
    }
}

/// A drive with a cartridge on simulated stores, commands in flight on nexuses of two reactors, and what became of
/// them.
final class TapeLossRun: @unchecked Sendable {
    /// A command that has ended, in the order in which the drive has performed them.
    struct Performed {
        let command: TapeLossModel.Command
        /// The session that has sent it, in the order of their logins.
        let session: Int
        let result: CommandResult
        /// How many objects the tape has then, and where it is; nil without a cartridge.
        let tape: (endOfData: Int, position: Int)?
    }

    let store: SimulatedStore
    let index = SimulatedDatabase()
    let engine: SimulatedEngine
    let drive: TapeDeviceServer
    let target: Target
    private(set) var ports: [InMemoryPort] = []
    /// The session of each port.
    private(set) var sessions: [Int] = []
    private var sessionCount = 0
    private let reactor = TestReactors.first
    private let cartridge = Lock<WeakCartridge>(WeakCartridge())
    private let ends: EndLog
    /// What commands came back with, by session.
    private let outcomes = Lock<[[(command: TapeLossModel.Command, result: CommandResult)]]>([])
    private let inFlight = Lock<[Int]>([])
    private var random: SeededRandom

    private struct WeakCartridge {
        weak var cartridge: Cartridge?
    }

    /// A drive that is ready, with nexuses 0 and 1, whose host has not failed yet.
    init(seed: UInt64) throws {
        let identity = CartridgeIdentity(
            uuid: [UInt8](repeating: 7, count: 16), barcode: "T00001L8", mediumSerialNumber: "1", capacity: 64 << 20,
            densityCode: 0x5E, isWORM: false)
        let superblock = Superblock(identity: identity, partition: 0)
        store = SimulatedStore(superblock.encoded() + superblock.encoded(), forgetsAfterFailedSynchronization: true)
        try CartridgeIndex.open(path: index.path).writeEmpty(superblock)
        engine = SimulatedEngine(seed: seed)
        random = SeededRandom(seed: seed)
        let profile = try ProfileLibrary().drive(named: "ibm-ult3580-td8")
        drive = TapeDeviceServer(
            identity: TapeDeviceServer.identity(serialNumber: "1", naa: 0x3000_0000_0000_0001, profile: profile),
            profile: profile, reactor: reactor, engine: engine)
        target = Target(name: "iqn.2026-11.dev.carousel:tape", alias: "", homeReactor: nil)
        target.map(LogicalUnit(drive), at: 0)
        ends = EndLog(drive)
        drive.attachedNexuses.intercept(with: ends)
        try insert(store, index)
        for number in 0..<2 { logIn(number) }
        store.fail(at: .max, errorNumber: 0, fromThenOn: false)
        index.fail(at: .max, errorNumber: 0, fromThenOn: false)
    }

    /// The commands that have ended.
    var performed: [Performed] {
        var left = outcomes.withLock { $0.map { $0[...] } }
        var performed: [Performed] = []
        for end in ends.all {
            // The commands of a session end in their order. An outcome may still be on its way to the session.
            guard let outcome = left[end.session].popFirst() else { break }
            performed.append(
                Performed(command: outcome.command, session: end.session, result: outcome.result, tape: end.tape))
        }
        return performed
    }
    var hasFailed: Bool { store.hasFailed || index.hasFailed }

    /// Makes the `call`-th changing call from now on fail.
    func fail(at call: Int, _ failure: HostFailure) {
        switch failure.place {
        case .data: store.fail(at: call, errorNumber: failure.errorNumber, fromThenOn: failure.fromThenOn)
        case .index: index.fail(at: call, errorNumber: failure.errorNumber, fromThenOn: failure.fromThenOn)
        }
    }

    /// Lets the host work again.
    func stopFailing() {
        store.stopFailing()
        index.stopFailing()
    }

    // MARK: Nexuses and the robot

    /// The port of that number logs in, anew if it was logged in; odd numbers on another reactor than the drive's. Its
    /// unit attention waits.
    func logIn(_ number: Int) {
        let port = InMemoryPort(
            EndLog.name(ofSession: sessionCount), target: target,
            reactor: number % 2 == 0 ? reactor : TestReactors.second)
        outcomes.withLock { $0.append([]) }
        if number < ports.count {
            ports[number].logOut()
            ports[number] = port
        } else {
            ports.append(port)
            sessions.append(0)
            inFlight.withLock { $0.append(0) }
        }
        sessions[number] = sessionCount
        sessionCount += 1
    }

    /// Lets the robot put in the cartridge of those files. Its checkpoints come often.
    func insert(_ store: SimulatedStore, _ index: SimulatedDatabase) throws {
        let failure = Lock<CartridgeError?>(nil)
        wait { done in
            drive.insertMedium(
                opening: { [self] () throws(CartridgeError) in
                    let opened = try Self.open(store, index)
                    opened.checkpointInterval = 200_000
                    cartridge.withLock { $0.cartridge = opened }
                    return opened
                },
                completion: { error in
                    failure.withLock { $0 = error }
                    done()
                })
        }
        if let failure = failure.withLock({ $0 }) { throw failure }
    }

    /// Lets the robot put the same cartridge in again, when the files of the last time are closed.
    func insertAgain() throws {
        while index.isOpen { sleepMilliseconds(0) }
        try insert(store, index)
    }

    /// The cartridge in the drive.
    var opened: Cartridge? { cartridge.withLock { $0.cartridge } }

    /// The cartridge of those files.
    static func open(_ store: SimulatedStore, _ index: SimulatedDatabase) throws(CartridgeError) -> Cartridge {
        let opening = CartridgeOpening(store: store, file: nil, path: "test")
        let opened: CartridgeIndex
        do throws(CartridgeIndex.OpenError) {
            opened = try CartridgeIndex.open(path: index.path)
        } catch {
            throw .damaged(path: "index", reason: "\(error)")
        }
        return try opening.open(index: opened)
    }

    /// Lets the robot take the cartridge out.
    func remove() -> MediumRemoval {
        let result = Lock(MediumRemoval.busy)
        wait { done in
            drive.removeMedium { removal in
                result.withLock { $0 = removal }
                done()
            }
        }
        return result.withLock { $0 }
    }

    /// Acknowledges the loss on the cartridge that is in the drive.
    func acknowledgeLoss() -> LossAcknowledgement {
        let result = Lock(LossAcknowledgement.busy)
        wait { done in
            drive.acknowledgeLoss { acknowledgement in
                result.withLock { $0 = acknowledgement }
                done()
            }
        }
        return result.withLock { $0 }
    }

    private func wait(for body: (_ done: @escaping @Sendable () -> Void) -> Void) {
        let semaphore = DispatchSemaphore(value: 0)
        body { semaphore.signal() }
        while semaphore.wait(timeout: .now()) == .timedOut { if !step() { settle() } }
    }

    // MARK: Commands

    /// Sends a command; its outcome goes to `performed`.
    func submit(_ command: TapeLossModel.Command, on number: Int) {
        let (block, dataOut) = command.bytes
        let session = sessions[number]
        inFlight.withLock { $0[number] += 1 }
        ports[number].submit(block, dataOut: dataOut) { [self] result in
            outcomes.withLock { $0[session].append((command, result)) }
            inFlight.withLock { $0[number] -= 1 }
        }
    }

    /// Sends a command and steps until all have ended; gives its outcome.
    @discardableResult
    func execute(_ command: TapeLossModel.Command, on number: Int) -> CommandResult {
        finish()
        submit(command, on: number)
        finish()
        guard let last = performed.last else { preconditionFailure("a command has ended") }
        return last.result
    }

    /// Performs one request of the drive's lane; false when there is none.
    @discardableResult
    func step() -> Bool {
        let hasStepped = engine.step()
        settle()
        return hasStepped
    }

    /// Steps until nothing is left to do.
    func finish() {
        while step() {}
    }

    /// Waits until the index's writer and the reactors have done what they can, with what they have told each other.
    private func settle() {
        for _ in 0..<4 {
            for reactor in [reactor, TestReactors.second] {
                let done = DispatchSemaphore(value: 0)
                reactor.postCompletion { done.signal() }
                done.wait()
            }
        }
        while cartridge.withLock({ $0.cartridge })?.writer.isBusy == true { sleepMilliseconds(0) }
    }

    // MARK: The workload

    /// Commands in flight on two nexuses; the first logs in anew on the way. `whileRunning` is called half-way.
    func run(whileRunning: () throws -> Void = {}) rethrows {
        var commands = TapeLossModel.Commands(seed: UInt64.random(in: 0...UInt64.max, using: &random))
        for number in 0..<2 {
            execute(.testUnitReady, on: number)
            execute(.selectMode(blockLength: 512, isBuffered: true), on: number)
        }
        engine.hold()
        for round in 0..<60 {
            while inFlight.withLock({ $0.reduce(0, +) }) > 6 || Int.random(in: 0..<3, using: &random) == 0 {
                guard step() else { break }
            }
            if round == 30 {
                // What this nexus has written may be lost when it has gone.
                while inFlight.withLock({ $0[0] }) > 0, step() {}
                logIn(0)
                submit(.testUnitReady, on: 0)
                submit(.selectMode(blockLength: 512, isBuffered: true), on: 0)
                try whileRunning()
            }
            let number = Int.random(in: 0..<2, using: &random)
            for command in commands.next(round) { submit(command, on: number) }
            settle()
        }
        finish()
        engine.release()
    }
}

/// In which order a drive performs the commands of all sessions, noted where it does.
private final class EndLog: TaskInterposer {
    struct End {
        let session: Int
        let tape: (endOfData: Int, position: Int)?
    }

    private let drive: TapeDeviceServer
    private let ends = Lock<[End]>([])
    private static let prefix = "iqn.2026-11.test:"

    init(_ drive: TapeDeviceServer) {
        self.drive = drive
    }

    static func name(ofSession session: Int) -> String { "\(prefix)\(session)" }

    var all: [End] { ends.withLock { $0 } }

    func taskWillBegin(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress? { nil }

    func taskWillEnd(_ task: SCSITask, _ nexus: ITLNexus) {
        let name = nexus.iTNexus.initiatorPort.name
        guard let session = Int(name.dropFirst(Self.prefix.count)) else { return }
        let tape = drive.readyCartridge.map { (endOfData: Int($0.endOfData), position: Int($0.position)) }
        ends.withLock { $0.append(End(session: session, tape: tape)) }
    }
}
