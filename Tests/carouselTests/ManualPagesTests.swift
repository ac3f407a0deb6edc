import ArgumentParser
import Foundation
import Testing

@testable import carousel

@Suite("Manual pages and completion")
struct ManualPagesTests {
    /// What `program` says on standard error about `text`; nil when it is not there.
    private func complaints(_ program: String, _ arguments: [String], _ text: String) throws -> String? {
        guard
            let path = ["/usr/bin", "/bin"].map({ "\($0)/\(program)" }).first(
                where: FileManager.default.isExecutableFile)
        else { return nil }
        let file = NSTemporaryDirectory() + "carousel-man-\(UUID().uuidString)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        defer { try? FileManager.default.removeItem(atPath: file) }
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments + [file]
        process.standardError = pipe
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let said = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return String(decoding: said, as: UTF8.self)
    }

    @Test("every command has a page, and roff has nothing to say about any")
    func pages() throws {
        let pages = try ManualPages().pages
        let commands = Carousel.configuration.subcommands.map { $0._commandName }
        #expect(Set(pages.map(\.name)) == Set(commands.map { "carousel-\($0).1" } + ["carousel.1"]))
        for page in pages {
            #expect(page.text.contains(".SH NAME\n"))
            #expect(
                page.text.split(separator: "\n").allSatisfy { $0.unicodeScalars.allSatisfy(\.isASCII) }, "\(page.name)")
            let said = try complaints("groff", ["-man", "-ww", "-Tutf8", "-z"], page.text)
            #expect(said ?? "" == "", "\(page.name)")
        }
    }

    @Test("a page has the commands below its own, with their options and what these mean")
    func content() throws {
        let page = try #require(try ManualPages().pages.first { $0.name == "carousel-conformance.1" }).text
        for text in [
            "\\fB\\-\\-chap\\-file\\fR \\fIFILE\\fR", "carousel\\-conformance \\- test any iSCSI target",
            "[\\fB\\-\\-only\\fR \\fINAME\\fR]...", ".SH OPTIONS", "USER%SECRET",
        ] {
            #expect(page.contains(text), "\(text)")
        }
        let other = try #require(try ManualPages().pages.first { $0.name == "carousel-completion.1" }).text
        #expect(other.contains(".SS carousel completion install\n"))
        let root = try #require(try ManualPages().pages.first).text
        #expect(root.contains("\\fBconformance\\fR\nTest any iSCSI target"))
        #expect(root.contains("\\fBcarousel\\-conformance\\fR(1)"))
    }

    @Test("where completion goes")
    func completionFolders() {
        let home = "/home/x"
        func folder(_ shell: Completion.Shell, _ isRoot: Bool, _ environment: [String: String] = [:]) -> String {
            shell.folder(isRoot: isRoot, home: home, environment: environment)
        }
        #expect(folder(.bash, false) == "/home/x/.local/share/bash-completion/completions")
        #expect(folder(.bash, false, ["XDG_DATA_HOME": "/d"]) == "/d/bash-completion/completions")
        #expect(folder(.bash, false, ["XDG_DATA_HOME": "d"]) == "/home/x/.local/share/bash-completion/completions")
        #expect(folder(.bash, true) == "/usr/local/share/bash-completion/completions")
        #expect(folder(.zsh, true) == "/usr/local/share/zsh/site-functions")
        #expect(folder(.fish, false) == "/home/x/.config/fish/completions")
    }

    @Test("bash understands the completion that is installed")
    func installed() throws {
        let folder = NSTemporaryDirectory() + "carousel-completion-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for shell in ["bash", "zsh", "fish"] {
            let install = try Completion.Install.parse([shell, "--folder", folder])
            try install.run()
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == [
                "_carousel", "carousel", "carousel.fish",
            ])
        let script = try String(contentsOfFile: folder + "/carousel", encoding: .utf8)
        #expect(script.contains("complete"))
        #expect(try complaints("bash", ["-n"], script) ?? "" == "")
        #expect(throws: CommandFailure.self) {
            try Completion.Install.parse(["bash", "--folder", "/proc/nowhere"]).run()
        }
    }
}
