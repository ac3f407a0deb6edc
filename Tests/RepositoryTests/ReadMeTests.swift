import Foundation
import Testing

@Suite("The README")
struct ReadMeTests {
    private static let text =
        (try? String(contentsOf: RepositoryTests.root.appending(path: "README.md"), encoding: .utf8)) ?? ""

    /// What stands between backquotes, looks like a path and has an ending, in the section of that heading.
    private static func paths(under heading: String) -> [String] {
        guard let start = text.range(of: "## \(heading)") else { return [] }
        let rest = text[start.upperBound...]
        let section = rest.range(of: "\n## ").map { rest[..<$0.lowerBound] } ?? rest
        let quoted = section.split(separator: "`", omittingEmptySubsequences: false).enumerated()
        return quoted.filter { $0.offset % 2 == 1 }.map { String($0.element) }
            .filter { $0.contains("/") && ($0.hasSuffix(".swift") || $0.hasSuffix(".md")) && !$0.contains("*") }
    }

    @Test("Every file on the way of one READ(10) exists")
    func wayOfOneRead() {
        let paths = Self.paths(under: "The way of one READ(10)")
        #expect(paths.count > 25)
        for path in paths {
            let file = RepositoryTests.root.appending(path: "Sources/\(path)").path(percentEncoded: false)
            #expect(FileManager.default.fileExists(atPath: file), "\(path)")
        }
    }
}
