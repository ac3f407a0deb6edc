import Foundation
import Testing

@testable import carousel

@Suite("A daemon that is refused")
struct StuckReaderTests {
    /// The program of this build; nil when the tests run from elsewhere.
    private static var program: String? {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        let path = folder + "/.build/debug/carousel"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }

    @Test(
        "it ends with its status, although nobody reads what it says", .enabled(if: program != nil),
        arguments: [["serve", "--state", ""], ["serve", "--log-level", "loud"], ["serve", "--portal", "x"]])
    func stuckReader(words: [String]) async throws {
        let pipe = Pipe()
        // It is full, and stays so.
        let writer = pipe.fileHandleForWriting.fileDescriptor
        let flags = fcntl(writer, F_GETFL)
        _ = fcntl(writer, F_SETFL, flags | O_NONBLOCK)
        while (try? pipe.fileHandleForWriting.write(contentsOf: Data(count: 4096))) != nil {}
        while (try? pipe.fileHandleForWriting.write(contentsOf: Data(count: 1))) != nil {}
        _ = fcntl(writer, F_SETFL, flags)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.program))
        process.arguments = words
        process.standardError = pipe.fileHandleForWriting
        process.standardOutput = FileHandle.nullDevice
        let start = ContinuousClock.now
        try process.run()
        while process.isRunning, ContinuousClock.now - start < .seconds(60) {
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(!process.isRunning)
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
        #expect(process.terminationStatus == carousel.ExitStatus.usage.rawValue)
        try pipe.fileHandleForReading.close()
    }
}
