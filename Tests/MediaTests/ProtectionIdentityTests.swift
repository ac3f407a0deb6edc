import Bytes
import DeviceTestSupport
import Platform
import SCSI
import TestSupport
import Testing

@testable import Media

@Suite("Which protection information is whose, and of which type")
struct ProtectionIdentityTests {
    private let folder: TemporaryFolder
    private let engine = SimulatedEngine()

    init() throws {
        folder = try TemporaryFolder()
    }

    private func create(_ name: String, _ type: ProtectionType? = .type1) throws {
        let image = try RawDiskImage.create(
            path: folder.file(name), capacity: 64 * 512, blockSize: 512, protection: type, engine: engine)
        #expect(image.close() == nil)
    }

    /// Why an image cannot be opened; nil when it can.
    private func refusal(_ name: String, _ type: ProtectionType? = .type1) -> String? {
        do throws(DiskImageError) {
            let image = try RawDiskImage.open(
                path: folder.file(name), blockSize: 512, protection: type, engine: engine)
            #expect(image.close() == nil)
            return nil
        } catch {
            return error.description
        }
    }

    private func note(_ name: String, _ key: StoreNoteKey = .protection) throws -> [UInt8]? {
        try File.open(path: folder.file(name)).note(key)
    }

    private func setNote(_ name: String, _ key: StoreNoteKey, _ bytes: [UInt8]?) throws {
        #expect(try File.open(path: folder.file(name), .readWrite).setNote(key, bytes) == 0)
    }

    /// A file of version 1, of 64 blocks of 512 bytes with type 2, as it was written before there were identities.
    private var former: [UInt8] {
        let header: [UInt8] = [
            0x43, 0x61, 0x72, 0x6F, 0x50, 0x72, 0x6F, 0x74, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0,
            64,
        ]
        var bytes = header
        bytes.appendBE32(CRC32C.checksum(header.rawSpan))
        return bytes + [UInt8](repeating: 0, count: Int(ProtectionFile.length(64)) - bytes.count)
    }

    @Test("a header is what it was, and refused with any byte changed")
    func header() {
        for identity in [nil, (0..<16).map { UInt8($0) }] {
            let header = ProtectionHeader(.type3, blockSize: 4096, blocks: 0x1_0000_0001, identity: identity)
            let bytes = header.encoded
            #expect(bytes.count == (identity == nil ? 32 : 48))
            let padded = bytes + [UInt8](repeating: 0, count: 48 - bytes.count)
            #expect(ProtectionHeader(padded) == header)
            #expect(ProtectionHeader(bytes.dropLast()) == nil)
            for byte in bytes.indices {
                var wrong = padded
                wrong[byte] ^= 1
                #expect(ProtectionHeader(wrong) == nil, "\(byte)")
            }
        }
        #expect(ProtectionHeader(former)?.encoded == Array(former.prefix(32)))
        #expect(ProtectionHeader.newIdentity() != ProtectionHeader.newIdentity())
    }

    @Test("two files of the same size and type that have changed places are refused, until they are back")
    func swapped() throws {
        try create("a")
        try create("b")
        #expect(try note("a") != note("b"))
        let (first, second) = (try folder.read("a.pi"), try folder.read("b.pi"))
        try folder.write(second, to: "a.pi")
        try folder.write(first, to: "b.pi")
        for name in ["a", "b"] {
            let found = refusal(name)
            #expect(
                found == "the protection information \(folder.file(name)).pi is not the one that belongs to this "
                    + "image, but another's or an older one; put that back", "\(found ?? "-")")
            #expect(RawDiskImage.hasOwnProtection(image: folder.file(name)) == false)
        }
        try folder.write(first, to: "a.pi")
        #expect(refusal("a") == nil && RawDiskImage.hasOwnProtection(image: folder.file("a")) == true)
    }

    @Test("a file of version 1 is opened, and has an identity from then on")
    func formerVersion() throws {
        try create("a", nil)
        try folder.write(former, to: "a.pi")
        #expect(try RawDiskImage.protection(ofImage: folder.file("a"))?.type == .type2)
        #expect(RawDiskImage.hasOwnProtection(image: folder.file("a")) == nil)
        #expect(refusal("a", .type2) == nil)
        let identity = try #require(try note("a"))
        #expect(ProtectionHeader(try folder.read("a.pi"))?.identity == identity)
        #expect(refusal("a", .type2) == nil)
        // Another one that has none is not taken for it.
        try folder.write(former, to: "a.pi")
        #expect(refusal("a", .type2)?.contains("is not the one that belongs to this image") == true)
    }

    @Test("a file that cannot be given an identity is used without")
    func unidentified() throws {
        for call in 1...2 {
            let store = SimulatedStore(former)
            store.fail(at: call, errorNumber: Errno.noSpace, fromThenOn: true)
            let file = try ProtectionFile.open(
                store, "a.pi", [.type2], blockSize: 512, capacity: 64 * 512, identity: nil, clock: .system)
            #expect(file.identity == nil)
        }
    }

    @Test("an image that was copied without its attributes takes the identity of the file beside it")
    func copied() throws {
        try create("a")
        let identity = try note("a")
        for (from, to) in [("a", "b"), ("a.pi", "b.pi")] { try folder.write(try folder.read(from), to: to) }
        #expect(try note("b") == nil && refusal("b") == nil)
        #expect(try note("b") == identity)
    }

    @Test("an image on a file system without attributes does without")
    func withoutAttributes() throws {
        let data = SimulatedStore([UInt8](repeating: 0, count: 64 * 512))
        data.keepsNotes = false
        let tags = SimulatedStore(former)
        let file = try ProtectionFile.open(
            tags, "a.pi", [.type2], blockSize: 512, capacity: 64 * 512, identity: nil, clock: .system)
        let image = RawDiskImage(
            store: data, engine: engine, path: "a", blockSize: 512, capacity: 64 * 512, protection: file)
        image.keepIdentity()
        #expect(image.loss == nil && image.protection == .type2)
    }

    @Test("while a change is not settled, the type is what the file says; afterwards it must be the kept one")
    func brokenOff() throws {
        let types: [ProtectionType?] = [nil, .type1, .type2]
        for (from, to) in types.flatMap({ from in types.map { (from, $0) } }) where from != to {
            for present in [from, to] {
                for kept in [from, to] {
                    let words = "\(from as Any) to \(to as Any), \(present as Any), \(kept as Any)"
                    let name = "a"
                    try create(name, present)
                    try setNote(name, .operation, [1])
                    try setNote(name, .protectionChange, ProtectionChange(from: from, to: to).encoded)
                    let image = try RawDiskImage.open(
                        path: folder.file(name), blockSize: 512, protection: kept, engine: engine)
                    #expect(image.protection == present, "\(words)")
                    #expect(image.hasUnsettledProtection && image.keptOperation == .bytes([1]), "\(words)")
                    #expect(image.settleProtection() == nil && !image.hasUnsettledProtection, "\(words)")
                    #expect(try note(name, .protectionChange) == nil, "\(words)")
                    for file in try folder.names { try folder.remove(file) }
                }
            }
        }
        // A head that was being written is whole again; of a file that is ours.
        try create("a", .type1)
        try setNote("a", .operation, [1])
        try setNote("a", .protectionChange, ProtectionChange(from: .type1, to: .type3).encoded)
        var torn = try folder.read("a.pi")
        torn[15] = 3
        try folder.write(torn, to: "a.pi")
        #expect(refusal("a", .type1) == nil)
        #expect(ProtectionHeader(try folder.read("a.pi"))?.type == .type3)
        try folder.write([1] + torn.dropFirst(), to: "a.pi")
        #expect(refusal("a", .type1)?.contains("is damaged, or another file") == true)
        for file in try folder.names { try folder.remove(file) }
        // Until the change is settled, also without the operation; afterwards nothing else is taken.
        try create("a", .type1)
        try folder.remove("a.pi")
        #expect(refusal("a")?.contains("is missing; put it back") == true)
        try setNote("a", .protectionChange, ProtectionChange(from: .type1, to: nil).encoded)
        #expect(refusal("a") == nil)
        try setNote("a", .operation, [1])
        #expect(refusal("a") == nil)
        // Nor what is not the image's.
        try folder.write([1, 2, 3], to: "a.pi")
        #expect(refusal("a", nil) == nil)
        #expect(try folder.read("a.pi") == [1, 2, 3])
        #expect(ProtectionChange([1, 0]) == nil && ProtectionChange([2, 0, 1]) == nil)
        #expect(ProtectionChange([1, 0, 4]) == nil)
    }

    @Test("a change makes, keeps or removes the file beside the image, and what cannot be made leaves nothing")
    func change() throws {
        try create("a", nil)
        var former: [UInt8] = []
        do {
            let image = try RawDiskImage.open(
                path: folder.file("a"), blockSize: 512, changesProtection: true, engine: engine)
            #expect(image.canChangeProtection && image.maximumAtomicLength > 0)
            try folder.write([1], to: "a.pi")
            #expect(image.changeProtection(to: .type1) == .device(Errno.fileExists))
            #expect(try folder.read("a.pi") == [1] && image.protection == nil && !image.hasUnsettledProtection)
            try folder.remove("a.pi")
            #expect(image.changeProtection(to: .type1) == nil)
            #expect(image.protection == .type1 && image.maximumAtomicLength == 0)
            let identity = try note("a")
            #expect(ProtectionHeader(try folder.read("a.pi"))?.identity == identity && identity != nil)
            try image.resize(to: 128 * 512)
            #expect(image.changeProtection(to: .type3) == nil)
            former = try folder.read("a.pi")
            let header = ProtectionHeader(former)
            #expect(header == ProtectionHeader(.type3, blockSize: 512, blocks: 128, identity: identity))
            #expect(image.changeProtection(to: nil) == nil && image.protection == nil)
            #expect(try folder.names == ["a"] && image.protectionIdentity == nil)
            #expect(image.changeProtection(to: .type2) == nil)
            let renewed = try note("a")
            #expect(renewed != nil && renewed != identity && image.protectionIdentity != nil)
            #expect(ProtectionHeader(try folder.read("a.pi"))?.identity == renewed)
            #expect(image.settleProtection() == nil)
            #expect(image.close() == nil)
        }
        #expect(refusal("a", .type2) == nil)
        let fixed = try RawDiskImage.open(path: folder.file("a"), blockSize: 512, protection: .type2, engine: engine)
        #expect(!fixed.canChangeProtection && fixed.changeProtection(to: nil) == .device(Errno.notSupported))
        #expect(fixed.close() == nil)
        // What was kept of the file before is not the image's any more.
        try folder.write(former, to: "a.pi")
        #expect(RawDiskImage.hasOwnProtection(image: folder.file("a")) == false)
    }
}
