import Foundation
import Testing

/// Rules that every file of the repository keeps. They are what a review would otherwise repeat.
@Suite("The repository's own rules")
struct RepositoryTests {
    struct SourceFile: Sendable, CustomTestStringConvertible {
        let path: String
        let module: String
        let lines: [String]
        var testDescription: String { path }
    }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func files(under folder: String, suffix: String) -> [SourceFile] {
        let base = root.appending(path: folder)
        guard let walker = FileManager.default.enumerator(atPath: base.path(percentEncoded: false)) else { return [] }
        return walker.compactMap { $0 as? String }.filter { $0.hasSuffix(suffix) }.sorted().compactMap { path in
            guard let text = try? String(contentsOf: base.appending(path: path), encoding: .utf8) else { return nil }
            return SourceFile(
                path: "\(folder)/\(path)", module: String(path.split(separator: "/").first ?? ""),
                lines: text.components(separatedBy: "\n"))
        }
    }

    static let sources = files(under: "Sources", suffix: ".swift")
    static let tests = files(under: "Tests", suffix: ".swift")

    /// All that people write and read: code, comments, pages and scripts, without data and with the README.
    static let texts: [SourceFile] = {
        let readMe = try? String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let top = SourceFile(path: "README.md", module: "", lines: readMe?.components(separatedBy: "\n") ?? [])
        let code = ["Sources", "Tests"].flatMap { folder in
            [".swift", ".md", ".h", ".c"].flatMap { files(under: folder, suffix: $0) }
        }
        return [top] + code + files(under: "Tools", suffix: "")
    }()

    /// The modules of the data plane: synchronous, without Foundation.
    static let dataPlane: Set<String> = [
        "Bytes", "Platform", "SCSI", "TargetCore", "Encryption", "DiskDevice", "TapeDevice", "ChangerDevice", "ISCSI",
        "ISCSIPort", "ISER", "Initiator", "SRP", "SRPPort", "Fabric",
    ]
    /// Where memory may be touched directly.
    static let unsafeModules: Set<String> = ["Bytes", "Platform", "Fabric", "Media", "carousel-bench"]
    /// And the files elsewhere: the calls of libcrypto, and the memory that it works on.
    static let unsafeFiles: Set<String> = [
        "Sources/Authentication/LibCrypto.swift", "Sources/Encryption/LibCrypto.swift",
        "Sources/Encryption/SecretBytes.swift", "Sources/Encryption/SectorCipher.swift",
    ]

    @Test("There are sources to look at")
    func found() {
        #expect(Self.sources.count > 100)
        #expect(Self.tests.count > 10)
        #expect(Self.texts.count > 400)
        #expect(Self.texts.allSatisfy { $0.lines.count > 1 })
    }

    @Test("A file has one topic: at most 700 lines")
    func length() {
        for file in Self.sources + Self.tests where file.lines.count > 700 {
            Issue.record("\(file.path) has \(file.lines.count) lines; split it by topic")
        }
    }

    @Test("A line has at most 120 columns; tables of documentation pages may be wider")
    func width() {
        for file in Self.texts {
            for (number, line) in file.lines.enumerated() where line.count > 120 {
                if file.path.hasSuffix(".md"), line.hasPrefix("|") { continue }
                Issue.record("\(file.path):\(number + 1) has \(line.count) columns")
            }
        }
    }

    @Test("The data plane imports neither Foundation nor concurrency or databases")
    func dataPlaneImports() {
        let banned = ["Foundation", "GRDB", "NIOCore", "NIOPosix", "Hummingbird", "Dispatch"]
        for file in Self.sources where Self.dataPlane.contains(file.module) {
            for line in file.lines where line.contains("import ") && !line.hasPrefix("//") {
                let name = line.split(separator: " ").last.map(String.init) ?? ""
                if banned.contains(name) { Issue.record("\(file.path) imports \(name)") }
            }
        }
    }

    /// The one file of the data plane that the control plane awaits: stopping a server waits for its connections.
    static let controlFaces: Set<String> = ["Sources/ISCSIPort/ISCSIServer.swift"]

    @Test("Nothing waits with `await` in the data plane")
    func noAwait() {
        for file in Self.sources
        where Self.dataPlane.contains(file.module) && !Self.controlFaces.contains(file.path) {
            for (number, line) in file.lines.enumerated() where line.contains("await ") && !line.contains("//") {
                Issue.record("\(file.path):\(number + 1) awaits")
            }
        }
    }

    @Test("SQLite, NIO, compression and cryptography are each for the modules that are there for it")
    func walls() {
        let allowed: [String: Set<String>] = [
            "GRDB": ["Media", "Catalog"], "Hummingbird": ["Console"], "NIOCore": ["carousel", "Console", "ISNSClient"],
            "NIOPosix": ["carousel", "Console", "ISNSClient"], "CCrypto": ["Authentication", "Encryption"],
            "CZstd": ["Media"], "Crypto": [], "CFabric": ["Fabric"],
        ]
        for file in Self.sources {
            for line in file.lines where line.hasPrefix("import ") || line.contains(" import ") {
                let name = line.split(separator: " ").last.map(String.init) ?? ""
                if let modules = allowed[name], !modules.contains(file.module), !line.hasPrefix("//") {
                    Issue.record("\(file.path) imports \(name)")
                }
            }
        }
    }

    @Test("Unsafe code stays in the modules that are for it")
    func unsafeCode() {
        for file in Self.sources
        where !Self.unsafeModules.contains(file.module) && !Self.unsafeFiles.contains(file.path) {
            for (number, line) in file.lines.enumerated() {
                let code = line.components(separatedBy: "//").first ?? ""
                if code.contains("unsafe ") || code.contains("@unsafe") {
                    Issue.record("\(file.path):\(number + 1) has unsafe code")
                }
            }
        }
    }

    @Test("Locks are Platform's, which the thread sanitizer understands")
    func locks() {
        let others = ["Mu" + "tex", "NS" + "Lock", "OSAllocated" + "UnfairLock", "pthread_" + "mutex"]
        for file in Self.sources + Self.tests where file.path != "Sources/Platform/Lock.swift" {
            for (number, line) in file.lines.enumerated() {
                let code = line.components(separatedBy: "//").first ?? ""
                if let other = others.first(where: { code.contains($0) }) {
                    Issue.record("\(file.path):\(number + 1) has a \(other); use Platform's Lock")
                }
            }
        }
    }

    /// Phrases and names that stop a reader, most of them another language's words, and what says the same in plain
    /// English.
    private static let phrases: [(pattern: String, instead: String)] = [
        (#"\b(has|have|files|buffers|memory) enough\b"#, "is full; name the limit"),
        (#"\b(its|[a-z]+'s) business\b"#, "what it does not do"),
        (#"\b(the|its) like\b"#, "the same; name the others"),
        (#"\b[Ll]ets\b[^,.;]{0,60}\bwaits?\b"#, "holds, establishes, ends"),
        (#"\bwish list\b"#, "pending requests"),
        (#"\bread most\b"#, "hot data"),
        (#"\b(put|puts|putting) down\b"#, "records"),
        (#"\bof late\b"#, "recent"),
        (#"\bHow it stands with\b"#, "the state of"),
        (#"\bsign of life\b"#, "an answer"),
        (#"\bnobody asked for\b"#, "unsolicited"),
        (#"\bslip(s|ped)? in\b"#, "begins meanwhile"),
        (#"\bby the way\b"#, "as a side effect"),
        (#"\bis(There|Right|Meant)\b"#, "the condition itself: hasArrived, isExpected"),
        (#"\bmayGo\b"#, "mayEvict"),
    ]

    @Test("No phrase stops a reader")
    func plainEnglish() {
        for file in Self.texts where file.module != "RepositoryTests" {
            // Phrases go on over line ends, and so over what begins the lines of a comment.
            let text = file.lines.joined(separator: "\n")
                .replacingOccurrences(of: #"\n *(///?|#)? *"#, with: " ", options: .regularExpression)
            for phrase in Self.phrases {
                guard let found = text.range(of: phrase.pattern, options: .regularExpression) else { continue }
                Issue.record("\(file.path) says '\(text[found])'; say: \(phrase.instead)")
            }
        }
    }

    @Test("Nothing is left over")
    func leftOvers() {
        // Put together at run time, so that this file does not find itself.
        let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "fatalError(\"unimpl"]
        for file in Self.sources + Self.tests {
            for (number, line) in file.lines.enumerated() {
                if let mark = marks.first(where: { line.contains($0) }) {
                    Issue.record("\(file.path):\(number + 1) has a left-over '\(mark)'")
                }
            }
        }
    }

    @Test("Every Swift module has a page that says what it is")
    func pages() {
        for module in Set(Self.sources.map(\.module)).sorted() where module != "carousel-bench" {
            let page = Self.root.appending(path: "Sources/\(module)/\(module).docc/\(module).md")
            #expect(FileManager.default.fileExists(atPath: page.path(percentEncoded: false)), "\(module) has no page")
        }
    }

    @Test("The top level holds what was agreed")
    func topLevel() throws {
        let agreed: Set<String> = ["Package.swift", "Sources", "Tests", "Media", "Tools", "README.md", "LICENSE"]
        let entries = try FileManager.default.contentsOfDirectory(atPath: Self.root.path(percentEncoded: false))
        for entry in entries where !entry.hasPrefix(".") && entry != "Package.resolved" {
            #expect(agreed.contains(entry), "\(entry) stands at the top level")
        }
    }
}
