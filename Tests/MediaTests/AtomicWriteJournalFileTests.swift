import Bytes
import DeviceTestSupport
import Glibc
import Platform
import Testing

@testable import Media

@Suite("What is beside an image under the name of its journal")
struct AtomicWriteJournalFileTests {
    private let content = [UInt8](repeating: 9, count: 5000)

    private func make(_ path: String, _ bytes: [UInt8]) throws {
        let file = try File.open(path: path, [.readWrite, .create, .exclusive])
        #expect(file.write(bytes.rawSpan, fileOffset: 0) == .done(bytes.count))
    }

    private func read(_ path: String) throws -> [UInt8] {
        let file = try File.open(path: path)
        var bytes = [UInt8](repeating: 0, count: Int(try file.size()))
        let read = bytes.modifyBytes { file.read(into: &$0, fileOffset: 0) }
        #expect(read == .done(bytes.count))
        return bytes
    }

    private func image(in folder: TemporaryFolder) throws -> String {
        let path = folder.path + "/disk.img"
        _ = try RawDiskImage.create(path: path, capacity: 65536, blockSize: 512, engine: SimulatedEngine())
        return path
    }

    private func opened(_ path: String) throws -> RawDiskImage {
        try RawDiskImage.open(path: path, blockSize: 512, engine: SimulatedEngine())
    }

    private func write(_ image: RawDiskImage) -> Int32 {
        let content = [UInt8](repeating: 3, count: 512)
        let store = image.store
        return image.journal?.write(content, at: 0, to: store) { store.synchronizeData() } ?? Errno.notSupported
    }

    @Test("A file that is no journal stays as it is, and there are no atomic writes")
    func foreign() throws {
        let folder = try TemporaryFolder()
        let path = try image(in: folder)
        let later = try opened(path)
        try make(path + ".atomic", content)
        #expect(write(later) == Errno.notSupported)
        _ = later.close()
        #expect(try read(path + ".atomic") == content)
        try RawDiskImage.removeJournal(ofImage: path)
        #expect(try read(path + ".atomic") == content)
    }

    @Test("So do a link, a second name and a pipe, at an opening too")
    func kinds() throws {
        for kind in 0..<4 {
            let folder = try TemporaryFolder()
            let path = try image(in: folder)
            let other = folder.path + "/other"
            try make(other, content)
            let journal = path + ".atomic"
            let status =
                switch kind {
                case 0: unsafe symlink(other, journal)
                case 1: unsafe link(other, journal)
                case 2: unsafe mkfifo(journal, 0o600)
                default: unsafe rename(other, journal)
                }
            #expect(status == 0)
            let image = try opened(path)
            #expect(image.maximumAtomicLength == 0)
            #expect(image.close() == nil)
            #expect(FilePath.isName(journal))
            if kind < 3 { #expect(try read(other) == content) } else { #expect(try read(journal) == content) }
        }
    }

    /// An image and what its journal has while a write is recorded, and after it.
    private func recorded(in folder: TemporaryFolder) throws -> (path: String, record: [UInt8], void: [UInt8]) {
        let path = try image(in: folder)
        let image = try opened(path)
        let store = image.store
        var record: [UInt8] = []
        let code = image.journal?.write([UInt8](repeating: 3, count: 512), at: 0, to: store) {
            record = (try? read(path + ".atomic")) ?? []
            return store.synchronizeData()
        }
        #expect(code == 0)
        return (path, record, try read(path + ".atomic"))
    }

    @Test("The journal of another image goes when it records no write, and stays as it is when it does")
    func otherImage() throws {
        let folder = try TemporaryFolder()
        let (path, record, void) = try recorded(in: folder)
        let journal = path + ".atomic"
        // Another image comes to have the name. Its file has another number, for the first one is still there.
        #expect(unsafe rename(path, folder.path + "/first.img") == 0)
        let other = folder.path + "/other.img"
        _ = try RawDiskImage.create(path: other, capacity: 65536, blockSize: 512, engine: SimulatedEngine())
        #expect(unsafe rename(other, path) == 0)
        for content in [void, [], Array(record.dropLast()), Array(record.prefix(40)), Array(record.prefix(16))] {
            if FilePath.isName(journal) { try File.remove(journal) }
            try make(journal, content)
            let image = try opened(path)
            #expect(image.maximumAtomicLength > 0)
            #expect(try read(journal) == content)
            #expect(write(image) == 0)
            let identity = try FileStatus.of(path).fileNumber
            #expect(try AtomicWriteJournal.isJournal(File.open(path: journal), of: identity))
            #expect(image.close() == nil)
            #expect(!FilePath.isName(journal))
        }
        for content in [record, Array(record.prefix(15)), [0] + void.dropFirst()] {
            do {
                let image = try opened(path)
                try make(journal, content)
                #expect(write(image) == Errno.notSupported)
                #expect(image.close() == nil)
            }
            do {
                let image = try opened(path)
                #expect(image.maximumAtomicLength == 0)
                #expect(image.close() == nil)
            }
            #expect(try read(journal) == content)
            try File.remove(journal)
        }
    }

    @Test("A write makes the journal, an erasure removes it, and the next write makes it again; so with an empty file")
    func own() throws {
        let folder = try TemporaryFolder()
        let path = try image(in: folder)
        try make(path + ".atomic", [])
        let image = try opened(path)
        #expect(image.maximumAtomicLength > 0)
        for _ in 0..<2 {
            #expect(write(image) == 0)
            let journal = try File.open(path: path + ".atomic")
            #expect(try journal.size() > 4096)
            #expect(image.eraseAtomicRecord() == nil)
            #expect(!FilePath.isName(path + ".atomic"))
            var kept = [UInt8](repeating: 1, count: 512)
            let read = kept.modifyBytes { journal.read(into: &$0, fileOffset: 4096) }
            #expect(read == .done(512))
            #expect(kept == [UInt8](repeating: 0, count: 512))
        }
    }

    @Test("A journal that is left of an image goes when another is made in its place")
    func stale() throws {
        let folder = try TemporaryFolder()
        let path = try image(in: folder)
        do { #expect(write(try opened(path)) == 0) }
        #expect(FilePath.isName(path + ".atomic"))
        try File.remove(path)
        _ = try image(in: folder)
        #expect(!FilePath.isName(path + ".atomic"))
    }
}
