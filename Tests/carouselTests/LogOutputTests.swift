import Foundation
import Testing

@testable import carousel

@Suite("The log")
struct LogOutputTests {
    @Test("nobody waits for one who does not read it; what is left out is counted, and the rest is whole and in order")
    func stuckReader() async throws {
        let pipe = Pipe()
        let log = LogOutput(fileDescriptor: pipe.fileHandleForWriting.fileDescriptor)
        let count = 3 * LogOutput.lineLimit
        // More than the pipe holds: this would not return.
        for number in 0..<count { log.write("line \(number)\n") }
        let reader = Task.detached { () -> String in
            var text = Data()
            while let part = try? pipe.fileHandleForReading.read(upToCount: 65536), !part.isEmpty { text += part }
            return String(decoding: text, as: UTF8.self)
        }
        while !log.isIdle { usleep(1000) }
        log.write("the last\n")
        while !log.isIdle { usleep(1000) }
        try pipe.fileHandleForWriting.close()
        let lines = await reader.value.split(separator: "\n")
        let numbers = lines.compactMap { $0.hasPrefix("line ") ? Int($0.dropFirst(5)) : nil }
        #expect(numbers == numbers.sorted() && numbers.first == 0 && numbers.count >= LogOutput.lineLimit)
        let leftOut = lines.filter { $0.contains("were left out") }.compactMap { Int($0.prefix { $0 != " " }) }
        #expect(numbers.count + leftOut.reduce(0, +) == count)
        #expect(lines.last == "the last")
    }
}
