import CPlatform
import Glibc
import Platform
import TestSupport
import Testing

@Suite("Notes kept with a file")
struct StoreNoteTests {
    @Test("A note is there for every opening of the file until it is removed, and each key has its own")
    func notes() throws {
        let path = TemporaryPath(prefix: "carousel-note")
        let file = try File.open(path: path.path, [.readWrite, .create])
        #expect(try file.note(.operation) == nil)
        #expect(file.setNote(.operation, nil) == 0)
        for length in [1, 63, 64, 65, 2048] {
            let bytes = [UInt8](repeating: UInt8(length & 0xFF), count: length)
            #expect(file.setNote(.operation, bytes) == 0)
            #expect(try File.open(path: path.path).note(.operation) == bytes)
            #expect(try file.note(.markedBlocks) == nil)
        }
        #expect(file.setNote(.markedBlocks, [1, 2]) == 0)
        #expect(file.setNote(.operation, []) == 0)
        #expect(try file.note(.operation) == nil)
        #expect(try file.note(.markedBlocks) == [1, 2])
        // More than any file system keeps.
        #expect(file.setNote(.operation, [UInt8](repeating: 1, count: 70000)) != 0)
        #expect(try file.note(.operation) == nil)
    }

    @Test("A device has no notes: none is read, none is there to remove, and none can be recorded")
    func device() throws {
        let device = try File.open(path: "/dev/null", .readWrite)
        #expect(try device.note(.operation) == nil)
        #expect(device.notedLoss == nil)
        #expect(device.setNote(.operation, nil) == 0)
        #expect(device.noteLoss(nil) == 0)
        #expect(device.setNote(.operation, [1]) == EPERM)
    }

    @Test("A note that cannot be read is not taken for none, nor for removed")
    func unreadable() {
        // No open file.
        var bytes: [UInt8] = [0]
        let read = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe buffer.baseAddress.map { unsafe cplatform_get_attribute(-1, "user.carousel.operation", $0, 1) }
        }
        #expect(read == Int(-EBADF))
        #expect(unsafe cplatform_set_attribute(-1, "user.carousel.operation", nil, 0) == -EBADF)
        var seconds: Int64 = 0
        #expect(unsafe cplatform_noted_loss(-1, &seconds) == EBADF)
    }
}
