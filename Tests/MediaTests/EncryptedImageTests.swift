import Bytes
import DeviceTestSupport
import Encryption
import Glibc
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media

@Suite("Encrypted disk images")
struct EncryptedImageTests {
    private let engine = SimulatedEngine()

    private func key(_ byte: UInt8) throws -> UserKey {
        try UserKey(SecretBytes([UInt8](repeating: byte, count: UserKey.randomLength)))
    }

    private func make(_ path: String, _ byte: UInt8 = 1, blockSize: Int = 512) throws -> RawDiskImage {
        try RawDiskImage.create(
            path: path, capacity: 1 << 20, blockSize: blockSize, userKey: try key(byte), engine: engine)
    }

    private func open(_ path: String, _ byte: UInt8? = 1, blockSize: Int = 512) throws -> RawDiskImage {
        try RawDiskImage.open(
            path: path, blockSize: blockSize, userKey: try byte.map { try key($0) }, engine: engine)
    }

    private func content(_ blocks: Int, _ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: blocks * 512) }

    private func read(_ image: RawDiskImage, _ first: UInt64, _ blocks: UInt64) -> [UInt8]? {
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: Int(blocks) * image.blockSize),
            image.readCached(into: &lease, first: first, blocks: blocks) == .done
        else { return nil }
        return lease.copyToArray()
    }

    @Test("An image comes back with its key; its file has mode 0600, and none of the content")
    func life() throws {
        for blockSize in [512, 4096] {
            let folder = try TemporaryFolder()
            let path = folder.file("a.img")
            let content = [UInt8](repeating: 0xAB, count: 8 * blockSize)
            do {
                let image = try make(path, blockSize: blockSize)
                #expect(image.isEncrypted)
                #expect(image.fill(first: 3, with: content) == nil)
                #expect(image.close() == nil)
            }
            #expect(try folder.names == ["a.img", "a.img.key"])
            let status = try FileStatus.of(path + ".key")
            #expect(status.permissions == 0o600 && status.length == Int64(KeyFile.length))
            let stored = try folder.read("a.img")
            #expect(stored.count == 1 << 20 && !stored.contains([UInt8](repeating: 0xAB, count: 8)))
            #expect(stored[..<(3 * blockSize)].allSatisfy { $0 == 0 })
            let image = try open(path, blockSize: blockSize)
            #expect(read(image, 3, 8) == content)
            #expect(read(image, 0, 3) == [UInt8](repeating: 0, count: 3 * blockSize))
            #expect(ImageKeyFile.problem(ofImage: path, blockSize: blockSize) == nil)
            #expect(throws: DiskImageError.inUse(path: path)) { try open(path, blockSize: blockSize) }
        }
    }

    @Test("It is opened as what it is, and with its own key only")
    func refusals() throws {
        let folder = try TemporaryFolder()
        let (path, other, plain) = (folder.file("a.img"), folder.file("b.img"), folder.file("c.img"))
        do {
            _ = try make(path)
            _ = try make(other)
            _ = try RawDiskImage.create(path: plain, capacity: 1 << 20, blockSize: 512, engine: engine)
        }
        #expect(throws: DiskImageError.encrypted(path: path)) { try open(path, nil) }
        #expect(throws: DiskImageError.encryption(path: path + ".key", .wrongKey)) { try open(path, 2) }
        #expect(throws: DiskImageError.encryption(path: path + ".key", .unsupported)) {
            try open(path, blockSize: 4096)
        }
        #expect(throws: DiskImageError.self) { try open(plain, 1) }
        #expect(try ImageKeyFile.isEncrypted(path) && !ImageKeyFile.isEncrypted(plain))
        // The key files of two disks with the same user's key, exchanged.
        try File.rename(path + ".key", to: path + ".away")
        #expect(
            throws: DiskImageError.keyFile(
                path: path + ".key", reason: "is missing; put it back, for without it nothing is read")
        ) { try open(path) }
        try File.rename(other + ".key", to: path + ".key")
        try File.rename(path + ".away", to: other + ".key")
        for image in [path, other] {
            #expect(throws: DiskImageError.encryption(path: image + ".key", .foreign)) { try open(image) }
            let problem = ImageKeyFile.problem(ofImage: image, blockSize: 512)?.error
            #expect(problem == .encryption(path: image + ".key", .foreign))
        }
        // And the key of an encrypted disk beside a plain image.
        try File.rename(path + ".key", to: plain + ".key")
        let refusal = #expect(throws: DiskImageError.self) { try open(plain) }
        #expect(refusal?.description.contains("setfattr -n user.carousel.encryption -v 0x") == true)
        _ = try open(plain, nil)
        #expect(throws: DiskImageError.self) {
            try RawDiskImage.create(
                path: folder.file("d.img"), capacity: 1 << 20, blockSize: 512, protection: .type1, userKey: try key(1),
                engine: engine)
        }
        #expect(!FilePath.isName(folder.file("d.img")))
    }

    @Test("An image that has lost its attributes says how to put the mark back, and that helps")
    func lostMark() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        let content = content(4, 9)
        do {
            let image = try make(path)
            #expect(image.fill(first: 0, with: content) == nil && image.close() == nil)
        }
        let mark = try #require(try File.open(path: path).note(.encryption))
        try folder.write(try folder.read("a.img"), to: "b.img")
        try folder.write(try folder.read("a.img.key"), to: "b.img.key")
        let copy = folder.file("b.img")
        let digits = mark.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let refusal = #expect(throws: DiskImageError.unmarked(path: copy, mark: mark)) { try open(copy) }
        #expect(refusal?.description.contains("-v 0x\(digits) \(copy)'") == true)
        #expect(try File.open(path: copy, .readWrite).setNote(.encryption, mark) == 0)
        #expect(read(try open(copy), 0, 4) == content)
    }

    @Test("What is no key file is refused, and kept")
    func strangers() throws {
        for kind in 0..<4 {
            let folder = try TemporaryFolder()
            let path = folder.file("a.img")
            _ = try make(path)
            try File.rename(path + ".key", to: path + ".own")
            switch kind {
            case 0: try folder.write([1, 2, 3], to: "a.img.key")
            case 1: #expect(unsafe symlink(path + ".own", path + ".key") == 0)
            case 2: #expect(unsafe link(path + ".own", path + ".key") == 0)
            default: #expect(unsafe mkfifo(path + ".key", 0o600) == 0)
            }
            #expect(throws: DiskImageError.self) { try open(path) }
            #expect(ImageKeyFile.problem(ofImage: path, blockSize: 512) != nil)
            try ImageKeyFile.remove(ofImage: path)
            #expect(try folder.names == ["a.img", "a.img.key", "a.img.own"])
        }
    }

    @Test("No new key is made in a file that has lost its place, and the old one stays")
    func displaced() throws {
        for kind in 0..<4 {
            let folder = try TemporaryFolder()
            let path = folder.file("a.img")
            let content = content(4, 9)
            do {
                let image = try make(path)
                #expect(image.fill(first: 0, with: content) == nil && image.synchronize() == nil)
                let before = try folder.read("a.img.key")
                #expect(try FileStatus.of(path + ".key").identity == image.keyIdentity)
                try File.rename(path + ".key", to: path + ".own")
                switch kind {
                case 0: break
                case 1: try folder.write(before, to: "a.img.key")
                case 2: #expect(unsafe symlink(path + ".own", path + ".key") == 0)
                default: #expect(unsafe link(path + ".own", path + ".key") == 0)
                }
                #expect(image.replaceMediaKey() != nil)
                #expect(try folder.read("a.img.own") == before)
                #expect(read(image, 0, 4) == content)
                if kind > 0 { try File.remove(path + ".key") }
                try File.rename(path + ".own", to: path + ".key")
                guard kind == 0 else { continue }
                // In its place again.
                #expect(image.replaceMediaKey() == nil)
                #expect(try folder.read("a.img.key") != before)
                #expect(image.close() == nil)
            }
            _ = try open(path)
        }
    }

    @Test("A key file of before a change of the key is refused, unless the image's mark says nothing of it")
    func olderKey() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        let older: [UInt8]
        do {
            let image = try make(path)
            older = try folder.read("a.img.key")
            #expect(image.replaceMediaKey() == nil && image.close() == nil)
        }
        let newer = try folder.read("a.img.key")
        let mark = try #require(try File.open(path: path).note(.encryption))
        #expect(mark.count == KeyFile.identityLength + 8 && mark.last == 2)
        func exchange(_ key: [UInt8]) throws {
            try File.remove(path + ".key")
            try folder.write(key, to: "a.img.key")
        }
        try exchange(older)
        let refusal = DiskImageError.encryption(path: path + ".key", .older)
        #expect(throws: refusal) { try open(path) }
        #expect(ImageKeyFile.problem(ofImage: path, blockSize: 512)?.error == refusal)
        #expect(try folder.read("a.img.key") == older)
        try exchange(newer)
        _ = try open(path)
        // As it was made before marks had a generation.
        let early = Array(mark.prefix(KeyFile.identityLength))
        #expect(try File.open(path: path, .readWrite).setNote(.encryption, early) == 0)
        _ = try open(path)
        #expect(try File.open(path: path).note(.encryption) == mark)
    }

    @Test("A key file is removed with its image only; a file of that name beside another one stays")
    func removal() throws {
        let folder = try TemporaryFolder()
        let (path, plain) = (folder.file("a.img"), folder.file("c.img"))
        do {
            _ = try make(path)
            _ = try RawDiskImage.create(path: plain, capacity: 1 << 20, blockSize: 512, engine: engine)
        }
        try folder.write(try folder.read("a.img.key"), to: "c.img.key")
        try ImageKeyFile.remove(ofImage: plain)
        #expect(try folder.names == ["a.img", "a.img.key", "c.img", "c.img.key"])
        try ImageKeyFile.remove(ofImage: path)
        #expect(try folder.names == ["a.img", "c.img", "c.img.key"])
        try ImageKeyFile.remove(ofImage: path)
        try ImageKeyFile.remove(ofImage: folder.file("none"))
    }

    @Test("The key file is the same where files without names are not made", arguments: [false, true])
    func naming(withoutName: Bool) throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        try folder.write([UInt8](repeating: 0, count: 1 << 20), to: "a.img")
        try ImageKeyFile.create(ofImage: path, blockSize: 512, userKey: try key(1), withoutName: withoutName)
        #expect(try folder.names == ["a.img", "a.img.key"])
        let status = try FileStatus.of(path + ".key")
        #expect(status.permissions == 0o600 && status.linkCount == 1 && status.length == Int64(KeyFile.length))
        #expect(ImageKeyFile.problem(ofImage: path, blockSize: 512) == nil)
        #expect(try open(path).replaceMediaKey() == nil)
        // Another one is not made in its place.
        let made = try folder.read("a.img.key")
        #expect(throws: DiskImageError.self) {
            try ImageKeyFile.create(ofImage: path, blockSize: 512, userKey: try key(1), withoutName: withoutName)
        }
        #expect(try folder.read("a.img.key") == made)
        #expect(try folder.names == ["a.img", "a.img.key"])
    }

    @Test("The key file gets its name when it is whole")
    func filling() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        guard (try? File.open(path: FilePath.directory(of: path), [.readWrite, .unnamed])) != nil else { return }
        try folder.write([UInt8](repeating: 0, count: 1 << 20), to: "a.img")
        // The content fails, for no memory is granted to it; so would the name.
        try folder.write([7], to: "a.img.key")
        for (withoutName, code) in [(true, Errno.noMemory), (false, Errno.fileExists)] {
            let refusal = #expect(throws: DiskImageError.self) {
                try ImageKeyFile.create(
                    ofImage: path, blockSize: 512, userKey: try key(1),
                    derivation: .scrypt(exponent: 63, blockSize: 8, parallelism: 1), withoutName: withoutName)
            }
            guard case .system(let error) = refusal else {
                Issue.record("\(refusal.map { "\($0)" } ?? "none")")
                continue
            }
            #expect(error.code == code)
        }
        #expect(try folder.read("a.img.key") == [7])
        try File.remove(path + ".key")
        #expect(try folder.names == ["a.img"])
    }

    @Test("Where the name of the key file is taken nothing is made, and what has it stays")
    func taken() throws {
        let folder = try TemporaryFolder()
        try folder.write([7], to: "a.img.key")
        #expect(throws: DiskImageError.self) { try make(folder.file("a.img")) }
        #expect(try folder.names == ["a.img.key"])
        #expect(try folder.read("a.img.key") == [7])
    }

    @Test("The journal of atomic writes has ciphertext, at each step and after a crash too")
    func journal() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        let content = content(8, 0x5C)
        let image = try make(path)
        let runner = RequestRunner()
        let pool = BufferPool(limit: 1 << 20)
        guard var lease = pool.lease(capacity: content.count) else { return }
        lease.assign(content)
        image.beginWriting(runner.request)
        runner.request.payload.lease = consume lease
        runner.run(in: image.lane) { image.prepareAtomicWrite($0, first: 16, blocks: 8) }
        runner.request.payload.lease = nil
        #expect(image.outcome(of: runner.request) == .done)
        #expect(read(image, 16, 8) == content)
        let journal = try folder.read("a.img.atomic")
        let stored = Array(try folder.read("a.img")[16 * 512..<24 * 512])
        #expect(Array(journal[4096..<4096 + content.count]) == stored)
        #expect(stored != content && !journal.contains([UInt8](repeating: 0x5C, count: 8)))
        #expect(image.eraseAtomicRecord() == nil)
        #expect(image.close() == nil)
    }

    @Test("What is unmapped has no storage, and reads as zeros")
    func unmapping() throws {
        let folder = try TemporaryFolder()
        let image = try make(folder.file("a.img"))
        #expect(image.fill(first: 0, with: content(1024, 3)) == nil && image.synchronize() == nil)
        let full = try #require(image.allocatedBytes)
        #expect(image.erase(first: 0, blocks: 512) == nil)
        #expect(read(image, 0, 512) == content(512, 0))
        #expect(read(image, 512, 512) == content(512, 3))
        #expect(try #require(image.allocatedBytes) < full)
        // A change of size changes nothing of what is there.
        try image.resize(to: 2 << 20)
        #expect(read(image, 512, 512) == content(512, 3))
        #expect(read(image, 2048, 64) == content(64, 0))
    }

    @Test("Past the page cache it is the same disk")
    func direct() throws {
        let folder = try TemporaryFolder()
        let image = try make(folder.file("a.img"))
        guard (try? image.setDirect(true)) != nil else { return }
        let runner = RequestRunner()
        let pool = BufferPool(limit: 1 << 22)
        for (first, blocks) in [(8, 64), (3, 5), (0, 1024)] as [(UInt64, UInt64)] {
            let content = (0..<Int(blocks) * 512).map { UInt8(truncatingIfNeeded: $0 / 512 + Int(first)) }
            guard var lease = pool.lease(capacity: content.count) else { return }
            lease.assign(content)
            image.beginWriting(runner.request)
            runner.request.payload.lease = consume lease
            runner.run(in: image.lane) { image.prepareWrite($0, at: 0, first: first, blocks: blocks) }
            #expect(image.outcome(of: runner.request) == .done)
            runner.run(in: image.lane) { image.prepareRead($0, at: 0, first: first, blocks: blocks) }
            #expect(image.outcome(of: runner.request) == .done)
            let found = runner.request.payload.lease.take()?.copyToArray()
            #expect(found == content)
        }
    }

    @Test("An encrypted image takes neither a change of the type of protection information nor the file beside it")
    func protectionChange() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.img")
        do { #expect(try make(path).close() == nil) }
        try RawDiskImage.createProtection(ofImage: path, .type1, blockSize: 512, capacity: 1 << 20)
        do {
            let file = try File.open(path: path, .readWrite)
            let change = ProtectionChange(from: nil, to: .type1)
            #expect(file.setNote(.operation, [1]) == 0)
            #expect(file.setNote(.protectionChange, change.encoded) == 0)
        }
        let image = try open(path)
        #expect(image.isEncrypted && image.protection == nil && !image.hasUnsettledProtection)
        #expect(image.keptOperation == .bytes([1]))
    }
}
