import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import DiskDevice
@testable import Encryption
@testable import Media

@Suite("Encrypted disks and SANITIZE, CRYPTOGRAPHIC ERASE")
struct CryptographicEraseTests {
    private let testUnitReady: [UInt8] = [OperationCode.testUnitReady, 0, 0, 0, 0, 0]
    private let zeros = [UInt8](repeating: 0, count: 64 * 512)
    private let content = [UInt8]((0..<64 * 512).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) })

    /// A disk that is full of `content`.
    private func full(_ stores: EncryptedStores, engine: (any MediumEngine)? = nil) throws -> DiskFixture {
        let fixture = try DiskFixture(stores, engine: engine)
        let port = fixture.initiator()
        #expect(port.write(0, content).status == .good)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .good)
        return fixture
    }

    /// The block numbers that REPORT SUPPORTED OPERATION CODES says of SANITIZE with that service action.
    private func isSupported(_ port: DiskInitiator, _ action: UInt8) -> Bool {
        let answer = port.execute([
            OperationCode.maintenanceIn, 0x0C, 0x02, OperationCode.sanitize, 0, action, 0, 0, 0, 64, 0, 0,
        ])
        .dataIn
        return answer.count > 1 && answer[1] & 7 == 3
    }

    @Test("An encrypted disk does what a plain one does, and its image says nothing of it")
    func disk() throws {
        let stores = try EncryptedStores()
        let fixture = try full(stores)
        let port = fixture.initiator()
        #expect(port.read(0, 64) == content)
        #expect(port.read(13, 3) == Array(content[13 * 512..<16 * 512]))
        let stored = stores.image.content
        for block in 0..<64 {
            #expect(Array(stored[block * 512..<block * 512 + 512]) != Array(content[block * 512..<block * 512 + 512]))
        }
        // UNMAP, WRITE SAME with zeros, COMPARE AND WRITE.
        #expect(
            port.execute(
                CDB.sixteen(OperationCode.writeSame16, lba: 8, count: 4, flags: 0x08),
                dataOut: [UInt8](repeating: 0, count: 512)
            ).status == .good)
        #expect(port.read(8, 4) == [UInt8](repeating: 0, count: 2048))
        #expect(stores.image.content[8 * 512..<12 * 512].allSatisfy { $0 == 0 })
        #expect(port.read(12, 1) == Array(content[12 * 512..<13 * 512]))
        let again = try DiskFixture(stores).initiator()
        #expect(again.read(12, 52) == Array(content[(12 * 512)...]))
    }

    @Test("Only encrypted disks have CRYPTOGRAPHIC ERASE, and say so")
    func support() throws {
        let encrypted = try DiskFixture(try EncryptedStores()).initiator()
        let plain = try DiskFixture(blocks: 64).initiator()
        for (port, hasIt) in [(encrypted, true), (plain, false)] {
            #expect(isSupported(port, 3) == hasIt)
            #expect(isSupported(port, 1) && isSupported(port, 2) && isSupported(port, 0x1F))
            let page = port.execute([OperationCode.inquiry, 1, 0xB1, 0, 64, 0]).dataIn
            // WABEREQ, WACEREQ.
            #expect(page[7] >> 4 == (hasIt ? 0b0101 : 0b0100))
        }
        #expect(plain.sense(OperationCDB.cryptographicErase()) == invalidField(1, bit: 4))
        #expect(
            encrypted.sense(OperationCDB.sanitize(3, length: 8), dataOut: [UInt8](repeating: 0, count: 8))?
                .additionalSenseCode == .invalidFieldInCDB)
    }

    @Test("It replaces the key and frees all blocks", arguments: [false, true])
    func erase(immediate: Bool) throws {
        let stores = try EncryptedStores()
        let fixture = try full(stores)
        let port = fixture.initiator()
        let (before, image) = (try stores.mediaKey(), stores.image.content)
        #expect(port.execute(OperationCDB.cryptographicErase(immediate: immediate)).status == .good)
        port.waitForOperation()
        #expect(port.read(0, 64) == zeros)
        #expect(stores.image.content == zeros)
        #expect(try stores.mediaKey() != before)
        #expect(fixture.image.keptOperation == .none && stores.image.notes[.operation] == nil)
        // The old ciphertext is noise now.
        #expect(stores.image.write(image.rawSpan, offset: 0) == .done(image.count))
        #expect(port.read(0, 64) != content)
        #expect(port.write(0, content).status == .good)
        #expect(port.read(0, 64) == content)
        #expect(try DiskFixture(stores).initiator().read(0, 64) == content)
    }

    @Test("A disk whose snapshot has its key refuses that as one without a key; when it is alone it is erased")
    func shared() throws {
        let fixture = try DiskFixture { path, engine in
            let file = try FamilyFile.create(
                path: path, capacity: 1 << 20, blockSize: 512, name: "disk", time: CalendarTime.current(),
                uuid: Array(1...16),
                userKey: UserKey(SecretBytes([UInt8](repeating: 1, count: UserKey.randomLength))))
            return try #require(EpochDiskImage(file: file, node: 1, engine: engine))
        }
        let image = try #require(fixture.image as? EpochDiskImage)
        let port = fixture.initiator()
        #expect(isSupported(port, 3))
        #expect(port.write(0, content).status == .good)
        let snapshot = try image.file.snapshot([1], names: ["one"], time: CalendarTime.current())[0]
        #expect(port.sense(OperationCDB.cryptographicErase()) == invalidField(1, bit: 4))
        #expect(port.read(0, 64) == content)
        try image.file.delete(snapshot, time: CalendarTime.current())
        while image.file.nodes.count > 1 { sleepMilliseconds(1) }
        while !image.canReplaceMediaKey { sleepMilliseconds(1) }
        #expect(port.execute(OperationCDB.cryptographicErase()).status == .good)
        port.waitForOperation()
        #expect(port.read(0, 64) == zeros)
        #expect(image.keptOperation == .none)
        #expect(port.write(0, content).status == .good)
        #expect(port.read(0, 64) == content)
    }

    @Test("While it goes on commands are refused, and what was under way gets old data or zeros, never noise")
    func inProgress() throws {
        let stores = try EncryptedStores()
        let engine = SimulatedEngine()
        let fixture = try full(stores, engine: engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        stores.image.isCached = false
        engine.hold()
        // Passes the checks now, and reads when the key is another one.
        let late = other.submit(CDB.ten(OperationCode.read10, lba: 0, count: 64)).outcome
        fixture.settle()
        let outcome = port.submit(OperationCDB.cryptographicErase()).outcome
        fixture.settle()
        #expect(other.sense(testUnitReady)?.additionalSenseCode == .sanitizeInProgress)
        engine.release()
        #expect(outcome.wait().status == .good)
        let read = late.wait()
        #expect(
            read.dataIn == content || read.dataIn == zeros || read.sense?.additionalSenseCode == .sanitizeInProgress)
        #expect(port.read(0, 64) == zeros)
    }

    @Test("A failure of the key file at any step ends it; what the disk has then is its own, also after a restart")
    func failingKeyFile() throws {
        for fromThenOn in [false, true] {
            for call in 1...4 {
                let stores = try EncryptedStores()
                let fixture = try full(stores)
                let port = fixture.initiator()
                stores.key.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: fromThenOn)
                #expect(port.sense(OperationCDB.cryptographicErase(ause: true)) == sanitizeFailed)
                #expect(port.sense(testUnitReady) == sanitizeFailed)
                stores.key.stopFailing()
                #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
                let isOld = call <= 2 && !fromThenOn
                if isOld { #expect(port.read(0, 64) == content) }
                // What can be written now can be read after a restart.
                let block = [UInt8](repeating: 0x77, count: 512)
                let isWritten = port.write(5, block).status == .good
                #expect(isWritten == (call > 2 || !fromThenOn))
                let restarted = try DiskFixture(stores)
                if isWritten { #expect(restarted.initiator().read(5, 1) == block) }
                let next = restarted.initiator()
                #expect(next.execute(OperationCDB.cryptographicErase()).status == .good)
                #expect(next.read(0, 64) == zeros)
            }
        }
    }

    @Test("After a failure that leaves open which key counts, one that succeeds has the disk read and write again")
    func again() throws {
        let stores = try EncryptedStores()
        let fixture = try full(stores)
        let port = fixture.initiator()
        stores.key.fail(at: 1, errorNumber: Errno.inputOutput, fromThenOn: true)
        #expect(port.sense(OperationCDB.cryptographicErase(ause: true)) == sanitizeFailed)
        stores.key.stopFailing()
        #expect(port.execute(OperationCDB.exitFailureMode).status == .good)
        #expect(port.write(0, content).status != .good)
        #expect(port.execute(OperationCDB.cryptographicErase()).status == .good)
        #expect(port.read(0, 64) == zeros)
        #expect(port.write(0, content).status == .good)
        #expect(port.read(0, 64) == content)
        #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .good)
        #expect(try DiskFixture(stores).initiator().read(0, 64) == content)
    }

    @Test("A crash at any call of either file: all is as it was, or goes on and ends with zeros")
    func crashes() throws {
        var random = SeededRandom(seed: 17)
        for call in 1...8 {
            for isKeyFile in [false, true] {
                for _ in 0..<8 {
                    let stores = try EncryptedStores()
                    do {
                        let fixture = try full(stores, engine: SimulatedEngine())
                        let store = isKeyFile ? stores.key : stores.image
                        store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: true)
                        _ = fixture.initiator().execute(OperationCDB.cryptographicErase())
                    }
                    let after = stores.afterCrash(using: &random)
                    let hasBegun = after.image.notes[.operation] != nil
                    let port = try DiskFixture(after, engine: SimulatedEngine()).initiator()
                    port.waitForOperation()
                    if port.sense(testUnitReady) == sanitizeFailed {
                        #expect(port.execute(OperationCDB.cryptographicErase()).status == .good)
                    }
                    let found = port.read(0, 64)
                    #expect(found == zeros || (!hasBegun && found == content), "call \(call) of \(isKeyFile)")
                    #expect(after.image.notes[.operation] == nil)
                }
            }
        }
    }

    @Test("A restart in the middle goes on with another key")
    func restart() throws {
        for steps in 1...3 {
            let stores = try EncryptedStores()
            let before = try stores.mediaKey()
            do {
                let engine = SimulatedEngine()
                let fixture = try full(stores, engine: engine)
                engine.hold()
                let outcome = fixture.initiator().submit(OperationCDB.cryptographicErase(immediate: true)).outcome
                fixture.settle()
                // The note; the key; a piece.
                for _ in 0..<steps {
                    engine.step()
                    fixture.settle()
                }
                #expect(outcome.wait().status == .good)
                if case .running(_, let runner) = fixture.unit.operations.withLock({ $0.phase }) { runner.stop() }
                engine.release()
            }
            #expect(stores.image.notes[.operation] != nil)
            #expect((try stores.mediaKey() != before) == (steps > 1))
            let port = try DiskFixture(stores).initiator()
            port.waitForOperation()
            #expect(port.read(0, 64) == zeros)
            #expect(try stores.mediaKey() != before)
        }
    }

    @Test("An end at any step of a change of keys leaves a disk that opens, and after it no older key file is taken")
    func ends() throws {
        for (isEarly, losesPower) in [(false, false), (false, true), (true, false), (true, true)] {
            let stores = try EncryptedStores(isEarly: isEarly)
            let (old, older) = (try stores.mediaKey(), stores.key.content)
            let image = try stores.opened(engine: SimulatedEngine())
            #expect(stores.image.notes[.encryption]?.count == KeyFile.identityLength + 8)
            let found = Lock<[EncryptedStores]>([])
            for store in [stores.image, stores.key] {
                store.whenChanging { found.withLock { $0.append(stores.afterEnd(losesPower: losesPower)) } }
            }
            #expect(image.replaceMediaKey() == nil)
            for store in [stores.image, stores.key] { store.whenChanging(nil) }
            // The two copies, each made durable, and the note.
            let ends = found.withLock { $0 } + [stores.afterEnd(losesPower: losesPower)]
            #expect(ends.count > 6)
            let new = try stores.mediaKey()
            #expect(new != old)
            var hasNew = false
            for after in ends {
                let key = try after.mediaKey()
                #expect(key == new || (key == old && !hasNew))
                hasNew = key == new
                for _ in 0..<2 {
                    _ = try after.opened(engine: SimulatedEngine())
                    #expect(try after.mediaKey() == key)
                }
                let restored = after.with(key: older)
                if hasNew {
                    #expect(throws: EncryptionError.older) { try restored.mediaKey() }
                } else {
                    #expect(try restored.mediaKey() == old)
                }
            }
            #expect(hasNew)
            #expect(throws: EncryptionError.older) { try stores.with(key: older).mediaKey() }
        }
    }

    @Test("A note that cannot be kept is found out before the key changes, and one that fails after it is kept later")
    func failingNote() throws {
        let early = try EncryptedStores(isEarly: true)
        early.image.keepsNotes = false
        let (old, older) = (try early.mediaKey(), early.key.content)
        let image = try early.opened(engine: SimulatedEngine())
        #expect(image.replaceMediaKey() != nil)
        #expect(try early.mediaKey() == old)
        early.image.keepsNotes = true
        // The note before the change takes two calls, and this is that after it.
        early.image.fail(at: 3, errorNumber: Errno.noSpace, fromThenOn: false)
        #expect(image.replaceMediaKey() == .hostFull)
        early.image.stopFailing()
        let new = try early.mediaKey()
        #expect(new != old)
        _ = try early.opened(engine: SimulatedEngine())
        #expect(try early.mediaKey() == new)
        #expect(throws: EncryptionError.older) { try early.with(key: older).mediaKey() }
    }
}
