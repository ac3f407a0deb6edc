import ArgumentParser
import Foundation
import ISCSI
import Testing

@testable import carousel

@Suite("Files of CHAP names and secrets")
struct CredentialFileTests {
    private func file(_ text: String, mode: Int = 0o600) throws -> String {
        let path = NSTemporaryDirectory() + "carousel-chap-\(UUID().uuidString)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    private func refusal(_ body: () throws -> CredentialFile) -> String? {
        do {
            _ = try body()
            return nil
        } catch {
            return (error as? CommandFailure)?.message
        }
    }

    @Test("one line is the initiator's, a second the target's")
    func lines() throws {
        let path = try file("user%marlin-marlin%x\r\nthe-target%halibut halibut\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let credentials = try CredentialFile(path: path)
        #expect(credentials.initiator.name == "user")
        #expect(credentials.initiator.secret == Array("marlin-marlin%x".utf8))
        #expect(credentials.target?.name == "the-target")
        #expect(credentials.target?.secret == Array("halibut halibut".utf8))
        #expect(try CredentialFile(text: "a%b", name: "x").target == nil)
    }

    @Test("a file that others may read is refused, whatever is in it")
    func modes() throws {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let path = try file("user%marlin-marlin", mode: mode)
            defer { try? FileManager.default.removeItem(atPath: path) }
            let message = refusal { try CredentialFile(path: path) }
            #expect(message?.contains("chmod 600 \(path)") == true)
            #expect(message?.contains("marlin") == false)
        }
    }

    @Test(
        "what is no credential is refused, and shown nowhere",
        arguments: ["", "\n", "marlin", "%x", "u%", "a%b\nc", "a%b\nc%d\ne%f"])
    func malformed(text: String) throws {
        let message = try #require(refusal { try CredentialFile(text: text, name: "FILE") })
        #expect(message.contains("FILE"))
        #expect(!message.contains("marlin"))
    }

    @Test("a file that is not there is named")
    func absent() {
        #expect(refusal { try CredentialFile(path: "/nowhere") }?.contains("/nowhere cannot be read") == true)
    }

    @Test("a secret on the command line is refused, and not repeated")
    func commandLine() throws {
        for url in [
            "iscsi://u%marlin-marlin@127.0.0.1/iqn.x:y", "iscsi://u%marlin-marlin@host/iqn.x:y",
            "iscsi://u%mar/marlin@1",
        ] {
            let command = try ConformanceRun.parse([url])
            let error = try #require(throws: CommandFailure.self) { try command.run() }
            #expect(error.status == .usage)
            #expect(!error.message.contains("marlin"), "\(error.message)")
        }
    }
}
