import Bytes
import DeviceTestSupport
import Encryption
import Foundation
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("Encrypted disks with snapshots")
struct EncryptedFamilyTests {
    private let engine = SimulatedEngine()
    private let time = FamilyFixture.time()

    private func make(_ path: String, _ byte: UInt8? = 1, blockSize: Int = 512) throws -> FamilyFile {
        try FamilyFile.create(
            path: path, capacity: 8 << 20, blockSize: blockSize, name: "a name of a disk", time: time,
            uuid: FamilyFixture.uuid, userKey: try byte.map { try FamilyCipher.key($0) })
    }

    private func open(_ path: String, _ byte: UInt8? = 1) throws -> FamilyFile {
        try FamilyFile.open(path: path, userKey: try byte.map { try FamilyCipher.key($0) })
    }

    private func disk(_ file: FamilyFile, _ node: UInt32 = 1) throws -> FamilyDisk {
        try #require(FamilyDisk(file, node, engine: engine))
    }

    /// Makes a file with 64 blocks of one value.
    private func makeFilled(_ path: String, _ byte: UInt8? = 1, blockSize: Int = 512) throws {
        let disk = try disk(make(path, byte, blockSize: blockSize))
        let content = [UInt8](repeating: 0xAB, count: 64 * 512)
        #expect(disk.image.fill(first: 8, with: content) == nil)
        #expect(disk.image.close() == nil)
    }

    private func bytes(_ disk: FamilyDisk, at offset: Int64, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let failure = bytes.modifyBytes { disk.file.readContent(of: disk.image.node, into: &$0, at: offset) }
        #expect(failure == nil)
        return bytes
    }

    @Test("With checksums of data it is refused, and nothing is made")
    func checksums() throws {
        let path = NSTemporaryDirectory() + "carousel-\(UUID().uuidString.prefix(8))"
        #expect(throws: DiskImageError.family(path: path, .encryptedChecksums)) {
            try FamilyFile.create(
                path: path, capacity: 1 << 20, blockSize: 512, name: "a", time: FamilyFixture.time(),
                uuid: FamilyFixture.uuid, checksums: true, userKey: try FamilyCipher.key())
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("A disk comes back with its key, and its file says nothing of what it has", arguments: [512, 4096])
    func life(blockSize: Int) throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        try makeFilled(path, blockSize: blockSize)
        #expect(try folder.names == ["a.img", "a.img.key"])
        #expect(try FileStatus.of(path + ".key").permissions == 0o600)
        let stored = try folder.read("a.img")
        let secrets: [[UInt8]] = [
            [UInt8](repeating: 0xAB, count: 8), Array("CRSLDISK".utf8), FamilyFixture.uuid,
        ]
        for secret in secrets { #expect(!stored.contains(secret)) }
        #expect(try FamilyFile.isFamily(path))
        #expect(try ImageKeyFile.content(ofImage: path) == .family)
        #expect(ImageKeyFile.problem(ofImage: path, content: .family, blockSize: blockSize) == nil)
        // Whatever its blocks have.
        #expect(ImageKeyFile.sectorSize(ofImage: path) == 4096)
        let file = try open(path)
        let disk = try disk(file)
        #expect(throws: DiskImageError.inUse(path: path)) { try open(path) }
        #expect(try FileStatus.of(path).identity == file.identity)
        #expect(disk.image.isEncrypted && disk.image.canReplaceMediaKey)
        #expect(try FileStatus.of(path + ".key").identity == disk.image.keyIdentity)
        let content = bytes(disk, at: Int64(8 * blockSize), 64 * 512)
        #expect(content == [UInt8](repeating: 0xAB, count: 64 * 512))
        #expect(bytes(disk, at: 0, 4096) == [UInt8](repeating: 0, count: 4096))
        #expect(file.check() == [])
    }

    @Test("It is opened as what it is, and with its own key only")
    func refusals() throws {
        let folder = try TemporaryFolder()
        let (path, other, plain, raw) = (
            folder.file("a.img"), folder.file("b.img"), folder.file("c.img"), folder.file("d.img")
        )
        for path in [path, other] { try makeFilled(path) }
        try makeFilled(plain, nil)
        do {
            let image = try RawDiskImage.create(
                path: raw, capacity: 1 << 20, blockSize: 512, userKey: try FamilyCipher.key(), engine: engine)
            #expect(image.close() == nil)
        }
        #expect(throws: DiskImageError.encrypted(path: path)) { try open(path, nil) }
        #expect(throws: DiskImageError.encryption(path: path + ".key", .wrongKey)) { try open(path, 2) }
        #expect(try open(plain, nil).nodes.count == 1)
        // Neither is taken for the other.
        let unsupported = DiskImageError.encryption(path: path + ".key", .unsupported)
        #expect(throws: unsupported) {
            try RawDiskImage.open(path: path, blockSize: 512, userKey: try FamilyCipher.key(), engine: engine)
        }
        #expect(ImageKeyFile.problem(ofImage: path, blockSize: 512)?.error == unsupported)
        #expect(throws: DiskImageError.encryption(path: raw + ".key", .unsupported)) { try open(raw) }
        #expect(try !FamilyFile.isFamily(raw))
        try File.rename(path + ".key", to: path + ".away")
        #expect(
            throws: DiskImageError.keyFile(
                path: path + ".key", reason: "is missing; put it back, for without it nothing is read")
        ) { try open(path) }
        try File.rename(other + ".key", to: path + ".key")
        #expect(throws: DiskImageError.encryption(path: path + ".key", .foreign)) { try open(path) }
        try File.rename(path + ".key", to: plain + ".key")
        let refusal = #expect(throws: DiskImageError.self) { try open(plain) }
        #expect(refusal?.description.contains("setfattr -n user.carousel.encryption -v 0x") == true)
        #expect(try open(plain, nil).nodes.count == 1)
        // Nothing stays of one that is not made.
        #expect(throws: DiskImageError.self) { try make(folder.file("e.img"), blockSize: 100) }
        try folder.write([7], to: "f.img.key")
        #expect(throws: DiskImageError.self) { try make(folder.file("f.img")) }
        #expect(!FilePath.isName(folder.file("e.img")) && !FilePath.isName(folder.file("f.img")))
        #expect(try folder.read("f.img.key") == [7])
    }

    @Test("Reactors read and write what the lane does")
    func reactor() throws {
        let disk = try disk(EncryptedStores().create())
        let pool = BufferPool(limit: 1 << 20)
        #expect(try disk.write(0, 4096, 3) == .done)
        for _ in 0..<2 { #expect(try disk.synchronize() == .done) }
        for (first, blocks) in [(0, 8), (3, 1), (5, 30)] as [(UInt64, UInt64)] {
            let request = FileRequest()
            disk.image.beginWriting(request)
            let content = [UInt8](repeating: UInt8(first + 9), count: Int(blocks) * 512)
            var lease = try pool.required(content)
            let result = disk.image.writeCached(from: lease, at: 0, first: first, blocks: blocks, for: request)
            #expect(result == .done)
            lease.assign([UInt8](repeating: 0, count: content.count))
            let reading = disk.image.readCached(into: &lease, first: first, blocks: blocks)
            #expect(reading == .done)
            let found = lease.copyToArray()
            #expect(found == content)
            #expect(try disk.read(first) == UInt8(first + 9))
        }
    }

    @Test("Sectors are of the size that the key file says")
    func sectors() throws {
        let content = [UInt8](repeating: 5, count: 512)
        for size in [512, 4096] {
            let stores = try EncryptedStores(sectorSize: size)
            do {
                let file = try stores.create()
                #expect(file.encryption?.store.sectorSize == size && file.encryption?.store.granule == 512)
                let disk = try disk(file)
                #expect(try disk.write(0, 64, 3) == .done)
                #expect(disk.image.fill(first: 11, with: content) == nil)
                #expect(disk.image.close() == nil)
            }
            let disk = try disk(try stores.open())
            for (block, value) in [(10, 3), (11, 5), (12, 3), (64, 0)] as [(UInt64, UInt8)] {
                #expect(try disk.read(block) == value)
            }
            #expect(disk.file.check() == [])
        }
    }

    @Test("What is unmapped has no storage")
    func unmapping() throws {
        let folder = try TemporaryFolder()
        let file = try make(folder.file("a.img"))
        let disk = try disk(file)
        #expect(try disk.write(0, 4096, 3) == .done)
        #expect(try disk.synchronize() == .done)
        let full = try #require(file.allocatedBytes)
        #expect(try disk.discard(0, 4096) == .done)
        for _ in 0..<2 { #expect(file.withFamily { $0.checkpoint() } == 0) }
        #expect(try disk.read(5) == 0)
        #expect(try #require(file.allocatedBytes) < full)
        #expect(file.check() == [])
    }

    @Test("A snapshot keeps the key of its disk; without one the key is forgotten, and the disk is the same but empty")
    func erasing() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        try makeFilled(path)
        let older = try folder.read("a.img.key")
        do {
            let file = try open(path)
            let disk = try disk(file)
            let snapshot = try file.snapshot([1], names: ["one"], time: time)[0]
            #expect(!disk.image.canReplaceMediaKey)
            #expect(disk.image.replaceMediaKey() != nil)
            #expect(try folder.read("a.img.key") == older)
            #expect(try disk.read(8) == 0xAB)
            try file.delete(snapshot)
            #expect(disk.image.canReplaceMediaKey)
            try disk.image.resize(to: 16 << 20)
            #expect(try disk.write(16384, 8, 4) == .done)
            #expect(disk.image.keep(operation: [1, 2], insteadOf: nil) == nil)
            #expect(throws: FamilyError.operation(1)) { try file.snapshot([1], names: ["two"], time: time) }
            let before = file.nodes
            #expect(disk.image.replaceMediaKey() == nil)
            #expect(disk.image.keep(operation: nil, insteadOf: [1, 2]) == nil)
            disk.image.endMediaKeyReplacement()
            #expect(file.nodes.map(\.uuid) == before.map(\.uuid) && file.nodes.map(\.number) == [1])
            #expect(file.nodes.map(\.name) == ["a name of a disk"] && file.nodes[0].time == before[0].time)
            for block in [0, 8, 16384] as [UInt64] { #expect(try disk.read(block) == 0) }
            #expect(try disk.write(8, 8, 5) == .done)
            // Numbers are not given twice.
            #expect(try file.snapshot([1], names: ["three"], time: time) == [3])
            #expect(disk.image.close() == nil)
        }
        let newer = try folder.read("a.img.key")
        #expect(newer != older)
        #expect(try File.open(path: path).note(.erasure) == nil)
        try File.remove(path + ".key")
        try folder.write(older, to: "a.img.key")
        #expect(throws: DiskImageError.encryption(path: path + ".key", .older)) { try open(path) }
        try File.remove(path + ".key")
        try folder.write(newer, to: "a.img.key")
        let file = try open(path)
        #expect(file.check() == [])
        let disk = try disk(file)
        #expect(disk.image.capacity == 16 << 20)
        #expect(try disk.read(8) == 5 && disk.read(16384) == 0)
    }

    @Test(
        "A crash in the middle of an erasure leaves the former disk or an empty one",
        arguments: Effort.seeds(20, few: 2))
    func crashOfErasure(seed: UInt64) throws {
        let stores = try EncryptedStores()
        let file = try stores.create(capacity: 1 << 20)
        let disk = try disk(file)
        #expect(try disk.write(0, 256, 6) == .done)
        #expect(try disk.synchronize() == .done)
        let found = crashes(of: stores, seed: seed) { #expect(disk.image.replaceMediaKey() == nil) }
        #expect(found.count > 20)
        var ends: Set<UInt8> = []
        for (index, left) in found.enumerated() {
            for round in 0..<2 {
                // Then again in the opening, from any of its steps on.
                let others = try crashes(of: left, seed: seed &+ UInt64(index)) {
                    try ends.insert(Self.value(of: left, "crash \(index), round \(round)"))
                }
                guard round == 0 else { break }
                for other in others where Effort.isFull || index % 5 == 0 {
                    ends.insert(try Self.value(of: other, "crash \(index), and in the opening"))
                }
            }
        }
        #expect(ends == [0, 6])
        #expect(try disk.read(0) == 0)
    }

    /// What crashes leave before each change that `body` makes.
    private func crashes(
        of stores: EncryptedStores, seed: UInt64, _ body: () throws -> Void
    ) rethrows -> [EncryptedStores] {
        let found = Lock<(random: SeededRandom, stores: [EncryptedStores])>((SeededRandom(seed: seed), []))
        let note: @Sendable () -> Void = {
            found.withLock { $0.stores.append(stores.afterCrash(using: &$0.random)) }
        }
        stores.image.whenChanging(note)
        stores.key.whenChanging(note)
        defer {
            stores.image.whenChanging(nil)
            stores.key.whenChanging(nil)
        }
        try body()
        return found.withLock { $0.stores }
    }

    /// The value of all blocks that are not zero; 0 when there are none. What is left is a disk like any other.
    private static func value(of stores: EncryptedStores, _ comment: Comment) throws -> UInt8 {
        let file = try stores.open()
        #expect(file.nodes.map(\.number) == [1] && file.nodes.map(\.name) == ["disk"], comment)
        #expect(file.nodes.first?.uuid == DiskFamily.uuid(of: 1, in: FamilyFixture.uuid), comment)
        #expect(stores.image.notes[.erasure] == nil, comment)
        #expect(file.check() == [], comment)
        let disk = try #require(FamilyDisk(file), comment)
        let value = try #require(try disk.read(0), comment)
        for block in [1, 100, 255] as [UInt64] { #expect(try disk.read(block) == value, comment) }
        #expect(try disk.write(300, 8, 9) == .done && disk.read(300) == 9, comment)
        #expect(try disk.discard(300, 8) == .done, comment)
        #expect(disk.image.close() == nil, comment)
        return value
    }

    @Test("Whatever fails in an erasure, the next opening has the former disk or an empty one")
    func failingErasure() throws {
        for kind in 0..<2 {
            var call = 1
            while true {
                let stores = try EncryptedStores()
                let disk = try disk(try stores.create(capacity: 1 << 20))
                #expect(try disk.write(0, 256, 6) == .done)
                #expect(try disk.synchronize() == .done)
                let failing = kind == 0 ? stores.image : stores.key
                failing.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
                let failure = disk.image.replaceMediaKey()
                failing.stopFailing()
                guard failing.hasFailed else {
                    #expect(failure == nil)
                    break
                }
                let left = EncryptedStores(
                    SimulatedStore(stores.image.durable, notes: stores.image.notes), SimulatedStore(stores.key.durable))
                let value = try Self.value(of: left, "kind \(kind), call \(call)")
                // That the host grants no reserve is no failure.
                #expect(failure == nil ? value == 0 : value == 0 || value == 6, "kind \(kind), call \(call)")
                call += 1
            }
            #expect(call > (kind == 0 ? 10 : 3))
        }
    }

    @Test("A crash in the middle of a creation leaves nothing that is taken for a disk with data")
    func crashOfCreation() throws {
        let stores = try EncryptedStores()
        let found = try crashes(of: stores, seed: 1) { _ = try stores.create(capacity: 1 << 20) }
        #expect(found.count > 10)
        var made = 0
        for left in found {
            guard let file = try? left.open() else { continue }
            made += 1
            #expect(try #require(FamilyDisk(file)).read(0) == 0)
        }
        #expect(made > 0)
    }

    @Test("A note of an erasure that is none is refused, and one that was for an older key is forgotten")
    func notes() throws {
        let stores = try EncryptedStores()
        #expect(try stores.create().close() == nil)
        let node = try #require(try stores.open().nodes.first)
        let erasure = FamilyErasure(
            generation: 2, uuid: FamilyFixture.uuid, nextNode: 2, compression: 3, node)
        #expect(FamilyErasure(erasure.encoded) == erasure)
        for index in erasure.encoded.indices {
            var damaged = erasure.encoded
            damaged[index] ^= 0x10
            #expect(FamilyErasure(damaged) == nil)
            #expect(FamilyErasure(Array(erasure.encoded.prefix(index))) == nil)
        }
        #expect(stores.image.setNote(.erasure, [1, 2, 3]) == 0)
        #expect(throws: FamilyError.unknown("the note of an erasure is damaged, or of a newer version")) {
            try stores.open()
        }
        #expect(stores.image.setNote(.erasure, erasure.encoded) == 0)
        #expect(try stores.open().nodes == [node])
        #expect(stores.image.notes[.erasure] == nil)
    }

    // MARK: The proofs of plain disks

    @Test("Whatever a crash leaves of an encrypted one, what was flushed is there", arguments: CrashWorkloads.all)
    func crash(workload: CrashWorkload) throws {
        try FamilyCipher.$isWanted.withValue(true) {
            var sweep = CrashSweep(workload, seed: 3)
            try sweep.run(Effort.isFull ? 300 : 5)
        }
    }

    @Test(
        "Random operations do to an encrypted family what they do to a dictionary", arguments: Effort.seeds(10, few: 2))
    func operations(seed: UInt64) {
        FamilyCipher.$isWanted.withValue(true) {
            let simulation = FamilySimulation(
                DiskLayout(units: 96, growsTo: 640), seed: seed, count: Effort.isFull ? 20_000 : 300)
            #expect(simulation.shortestFailure() == nil)
        }
    }

    @Test("The n-th call under an encrypted family fails: nothing is wrong, and what was flushed is there")
    func faults() throws {
        let fault = StoreFault(errorNumber: Errno.noSpace, fromThenOn: false, counting: .changes)
        try FamilyCipher.$isWanted.withValue(true) {
            for scenario in FaultScenario.all {
                for number in stride(from: 1, to: 200, by: Effort.isFull ? 1 : 5) {
                    guard try scenario.run(fault, at: number) else { break }
                }
            }
        }
    }
}
