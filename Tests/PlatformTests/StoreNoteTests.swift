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
}
