import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice
@testable import Media

/// A host in memory with the image of a disk, the file beside it, and what keeps its type.
private final class FormatHost: DiskProtectionKeeper {
    static let blocks: UInt64 = 64

    struct State {
        /// The file beside the image; nil when nothing has its name.
        var tags: SimulatedStore?
        /// The type that is kept.
        var kept: ProtectionType?
        /// How many calls there were of those that fail.
        var calls = 0
        var failingCall: Int?
        /// Whether a call that fails has had its effect.
        var failsAfterwards = false
        var observer: (@Sendable () -> Void)?
    }

    let data: SimulatedStore
    let state: Lock<State>

    init(_ type: ProtectionType?) {
        data = SimulatedStore([UInt8](repeating: 3, count: Int(Self.blocks) * 512))
        state = Lock(State(kept: type))
        if let type {
            var content = ProtectionHeader(
                type, blockSize: 512, blocks: Self.blocks, identity: ProtectionHeader.newIdentity()
            ).encoded
            content += [UInt8](repeating: 0, count: Int(ProtectionFile.length(Self.blocks)) - content.count)
            state.withLock { $0.tags = SimulatedStore(content) }
        }
    }

    private init(_ data: SimulatedStore, _ state: State) {
        self.data = data
        self.state = Lock(state)
    }

    /// What a crash now leaves.
    func afterCrash(_ random: inout SeededRandom) -> FormatHost {
        let (tags, kept) = state.withLock { ($0.tags, $0.kept) }
        let left = tags.map { $0.afterCrash(using: &random) }
        return FormatHost(data.afterCrash(using: &random), State(tags: left, kept: kept))
    }

    func observe(_ body: (@Sendable () -> Void)?) {
        data.whenChanging(body)
        state.withLock { state in
            state.observer = body
            state.tags?.whenChanging(body)
        }
    }

    /// Counts a call that may fail, with its effect or without.
    private func call(_ effect: (inout State) -> Void) -> Int32 {
        state.withLock { $0.observer }?()
        return state.withLock { state in
            state.calls += 1
            guard state.calls == state.failingCall else {
                effect(&state)
                return 0
            }
            if state.failsAfterwards { effect(&state) }
            return Errno.inputOutput
        }
    }

    private var place: ProtectionPlace {
        ProtectionPlace { [self] store in
            state.withLock { $0.tags === store as? SimulatedStore } ? 0 : Errno.fileExists
        } make: { [self] header throws(SystemError) in
            let made = SimulatedStore(
                header.encoded
                    + [UInt8](
                        repeating: 0, count: Int(ProtectionFile.length(header.blocks)) - header.encoded.count))
            let code = call { state in
                made.whenChanging(state.observer)
                state.tags = made
            }
            if code != 0 { throw SystemError(code: code, operation: "make", path: "test.pi") }
            return made
        } remove: { [self] _ in
            call { $0.tags = nil }
        }
    }

    func keep(protection: ProtectionType?, initiatorPort: String?) -> Bool {
        #expect(initiatorPort?.hasPrefix("iqn.2026-11.test:a") != false)
        return call { $0.kept = protection } == 0
    }

    /// Opens the image as the daemon does.
    func open(_ engine: any MediumEngine) throws(DiskImageError) -> RawDiskImage {
        let notes = RawDiskImage.ProtectionNotes(data)
        let (tags, kept) = state.withLock { ($0.tags, $0.kept) }
        let file = try RawDiskImage.openProtection(kept, notes) { types, mended throws(DiskImageError) in
            guard let tags else { throw .protection(path: "test.pi", reason: "is missing") }
            return try ProtectionFile.open(
                tags, "test.pi", types, mending: mended, blockSize: 512, capacity: Int64(Self.blocks) * 512,
                identity: notes.identity, clock: .system)
        }
        let image = RawDiskImage(
            store: data, engine: engine, path: "test", blockSize: 512, capacity: data.size(), protection: file,
            protectionChange: notes.unsettled, protectionPlace: place)
        image.keepIdentity()
        image.startRecovery()
        if image.protection != kept { state.withLock { $0.kept = image.protection } }
        return image
    }

    func fixture() throws -> DiskFixture {
        try DiskFixture(protectionKeeper: self) { _, _ in try self.open(SimulatedEngine()) }
    }
}

@Suite("FORMAT UNIT to another type of protection information: failures and crashes")
struct FormatProtectionCrashTests {
    private static let changes: [(ProtectionType?, ProtectionType?)] = [
        (nil, .type1), (.type1, nil), (.type1, .type2), (.type3, .type1), (nil, .type2), (.type2, nil),
    ]
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let corrupt = SenseData(.mediumError, .mediumFormatCorrupted)

    /// What was on the disk before: a block with all that its type has.
    private func fill(_ port: DiskInitiator) {
        #expect(port.write(5, [UInt8](repeating: 7, count: 512), flags: 0x08).status == .good)
    }

    /// Opens what a crash or a failure has left: the disk is what it was, or what it was to be, or is corrupt, and then
    /// formatted again. Which of them.
    @discardableResult
    private func check(
        _ host: FormatHost, _ former: ProtectionType?, _ type: ProtectionType?, _ words: String
    ) throws -> String {
        let fixture = try host.fixture()
        let port = fixture.initiator()
        let present = fixture.image.protection
        #expect(present == former || present == type, "\(words)")
        #expect(host.state.withLock { $0.kept } == present, "\(words)")
        var outcome = "corrupt"
        switch port.sense(testUnitReady) {
        case nil:
            let content = port.execute(CDB.sixteen(OperationCode.read16, lba: 5, count: 1))
            #expect(content.status == .good, "\(words)")
            let isOld = content.dataIn == [UInt8](repeating: 7, count: 512)
            #expect(isOld ? present == former : present == type, "\(words)")
            #expect(isOld || content.dataIn == [UInt8](repeating: 0, count: 512), "\(words)")
            #expect(host.data.notes[.operation] == nil, "\(words)")
            outcome = isOld ? "old" : "new"
        case let sense:
            #expect(sense == corrupt, "\(words)")
            // Either by the same command or by one that keeps what is there.
            let wanted = words.count % 2 == 0 ? type : present
            if fixture.image.loss != nil { #expect(fixture.unit.acknowledgeLoss() == nil) }
            #expect(port.format(wanted).status == .good, "\(words)")
            #expect(fixture.image.protection == wanted, "\(words)")
        }
        #expect(host.data.notes[.protectionChange] == nil || outcome != "corrupt", "\(words)")
        fill(port)
        #expect(fixture.unit.close() == nil)
        // And once more: what is kept fits what is there.
        let again = try host.fixture()
        let other = again.initiator()
        #expect(other.execute(testUnitReady).status == .good, "\(words)")
        #expect(other.read(5, 1) == [UInt8](repeating: 7, count: 512), "\(words)")
        #expect(again.image.protection == fixture.image.protection, "\(words)")
        return outcome
    }

    @Test("a crash at any call leaves what was, what was to be, or a corrupt medium that is formatted again")
    func crashes() throws {
        let random = Lock(SeededRandom(seed: 5))
        for (former, type) in Self.changes {
            let host = FormatHost(former)
            let left = Lock<[FormatHost]>([])
            do {
                let fixture = try host.fixture()
                let port = fixture.initiator()
                fill(port)
                host.observe {
                    let now = random.withLock { random in (0..<3).map { _ in host.afterCrash(&random) } }
                    left.withLock { $0 += now }
                }
                #expect(port.format(type).status == .good)
                host.observe(nil)
                left.withLock { left in random.withLock { left.append(host.afterCrash(&$0)) } }
            }
            var outcomes: Set<String> = []
            for (number, host) in left.withLock({ $0 }).enumerated() {
                outcomes.insert(
                    try check(host, former, type, "\(former as Any) to \(type as Any), crash \(number)"))
            }
            #expect(outcomes == ["old", "new", "corrupt"], "\(former as Any) to \(type as Any)")
        }
    }

    @Test("a failure of any call of image or file fails the command or nothing, and is as a crash after a restart")
    func failures() throws {
        var random = SeededRandom(seed: 6)
        for (former, type) in Self.changes {
            for failsTags in [false, true] where !failsTags || former != nil {
                for (errorNumber, lasts) in [
                    (Errno.inputOutput, false), (Errno.noSpace, false), (Errno.noSpace, true),
                ] {
                    for call in 1...60 {
                        let words = "\(former as Any) to \(type as Any), \(failsTags), \(lasts), call \(call)"
                        let host = FormatHost(former)
                        let fixture = try host.fixture()
                        let port = fixture.initiator()
                        fill(port)
                        let store: SimulatedStore? = failsTags ? host.state.withLock { $0.tags } : host.data
                        store?.fail(at: call, errorNumber: errorNumber, fromThenOn: lasts)
                        let result = port.format(type)
                        let hasFailed = store?.hasFailed == true
                        store?.stopFailing()
                        if result.status == .good {
                            #expect(fixture.image.protection == type && fixture.unit.protection == type, "\(words)")
                        } else {
                            #expect(hasFailed, "\(words)")
                            #expect(fixture.unit.protection == fixture.image.protection, "\(words)")
                        }
                        try check(host.afterCrash(&random), former, type, words)
                        if !hasFailed { break }
                        #expect(call < 60, "\(words)")
                    }
                }
            }
        }
    }

    @Test("where the file or its type is not kept the command fails, and the next one, also of the same type, mends it")
    func refusedSteps() throws {
        var random = SeededRandom(seed: 7)
        for (former, type) in Self.changes {
            for call in 1...2 {
                for failsAfterwards in [false, true] {
                    let words = "\(former as Any) to \(type as Any), call \(call), \(failsAfterwards)"
                    let host = FormatHost(former)
                    let fixture = try host.fixture()
                    let port = fixture.initiator()
                    fill(port)
                    host.state.withLock { ($0.failingCall, $0.failsAfterwards) = (call, failsAfterwards) }
                    let result = port.format(type)
                    let isRetyped = former != nil && type != nil
                    if isRetyped, call == 2 {
                        #expect(result.status == .good, "\(words)")
                        continue
                    }
                    #expect(result.sense == SenseData(.mediumError, .formatCommandFailed), "\(words)")
                    #expect(port.sense(testUnitReady) == corrupt, "\(words)")
                    #expect(fixture.unit.protection == fixture.image.protection, "\(words)")
                    try check(host.afterCrash(&random), former, type, words)
                    // Without a restart. A name that was made, and could not be told of, is in the way until then.
                    let isInTheWay = former == nil && call == 1 && failsAfterwards
                    if isInTheWay {
                        #expect(port.format(type).sense == invalidField(1, bit: 7), "\(words)")
                        #expect(port.format(nil).status == .good, "\(words)")
                        continue
                    }
                    #expect(port.format(type).status == .good, "\(words)")
                    #expect(host.state.withLock { $0.kept } == type, "\(words)")
                    #expect(fixture.image.protection == type && fixture.unit.protection == type, "\(words)")
                    fill(port)
                    #expect(fixture.unit.close() == nil)
                    try check(host, type, type, words)
                }
            }
        }
    }

    @Test("a sanitize operation after a format operation that has failed keeps the type that is there")
    func sanitize() throws {
        for (former, type) in Self.changes {
            let host = FormatHost(former)
            let fixture = try host.fixture()
            let port = fixture.initiator()
            host.state.withLock { $0.failingCall = former != nil && type != nil ? 1 : 2 }
            #expect(port.format(type).sense == SenseData(.mediumError, .formatCommandFailed))
            #expect(host.state.withLock { $0.kept } == former)
            #expect(port.execute(OperationCDB.blockErase()).status == .good)
            #expect(host.state.withLock { $0.kept } == type)
            #expect(fixture.unit.protection == type)
            fill(port)
            #expect(fixture.unit.close() == nil)
            try check(host, type, type, "\(former as Any) to \(type as Any)")
        }
    }

    @Test("EXIT FAILURE MODE has the type kept that a format operation has left, or the failure stays")
    func exit() throws {
        let host = FormatHost(.type1)
        let fixture = try host.fixture()
        let port = fixture.initiator()
        host.state.withLock { $0.failingCall = 2 }
        #expect(port.format(nil).sense == SenseData(.mediumError, .formatCommandFailed))
        #expect(fixture.image.protection == nil && host.state.withLock { $0.kept } == .type1)
        // The note and its synchronisation, then the erasure.
        host.data.fail(at: 3, errorNumber: Errno.inputOutput, fromThenOn: false)
        #expect(port.sense(OperationCDB.blockErase(ause: true)) == sanitizeFailed)
        host.data.stopFailing()
        #expect(fixture.image.hasUnsettledProtection)
        host.state.withLock { $0.failingCall = $0.calls + 1 }
        #expect(port.sense(OperationCDB.exitFailureMode)?.key == .mediumError)
        #expect(port.sense(testUnitReady) == sanitizeFailed)
        #expect(host.data.notes[.operation] != nil && host.data.notes[.protectionChange] != nil)
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
        #expect(host.state.withLock { $0.kept } == nil && !fixture.image.hasUnsettledProtection)
        #expect(host.data.notes[.operation] == nil && host.data.notes[.protectionChange] == nil)
        fill(port)
        #expect(fixture.unit.close() == nil)
        try check(host, nil, nil, "exit")
    }

    @Test("a sanitize operation that goes on after a restart has the type kept, or fails")
    func resumed() throws {
        for fails in [false, true] {
            let host = FormatHost(nil)
            do {
                let fixture = try host.fixture()
                host.state.withLock { $0.failingCall = 2 }
                #expect(
                    fixture.initiator().format(.type1).sense == SenseData(.mediumError, .formatCommandFailed))
            }
            // As a crash leaves it in the middle of BLOCK ERASE.
            #expect(host.data.setNote(.operation, MediumOperation(.blockErase).encoded) == 0)
            let calls = host.state.withLock { $0.calls }
            if fails { host.state.withLock { $0.failingCall = calls + 1 } }
            let fixture = try host.fixture()
            let port = fixture.initiator()
            port.waitForOperation()
            #expect(host.state.withLock { $0.calls } == calls + 1)
            #expect(port.sense(testUnitReady) == (fails ? sanitizeFailed : nil))
            #expect(fixture.image.hasUnsettledProtection == fails && fixture.unit.protection == .type1)
            #expect((host.data.notes[.protectionChange] != nil) == fails)
        }
    }
}
