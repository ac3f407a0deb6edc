import Foundation
import Testing

@testable import carousel

@Suite("Files that commands write")
struct OutputFileTests {
    let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/output-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    @Test("a file keeps its mode, a link leads to the same file, and a device stays one")
    func places() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (file, link) = (folder + "/file", folder + "/link")
        try OutputFile.write(Data("one".utf8), to: file)
        #expect(try mode(file) == 0o644)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
        try OutputFile.write(Data("two".utf8), to: link)
        #expect(FileManager.default.contents(atPath: file) == Data("two".utf8))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == file && mode(file) == 0o600)
        try FileManager.default.createSymbolicLink(atPath: folder + "/null", withDestinationPath: "/dev/null")
        try OutputFile.write(Data("three".utf8), to: folder + "/null")
        #expect(
            try FileManager.default.attributesOfItem(atPath: "/dev/null")[.type] as? FileAttributeType
                == .typeCharacterSpecial)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["file", "link", "null"])
    }

    @Test("a link leads to what is not there yet too; one that leads nowhere, and a folder, are refused")
    func links() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let files = FileManager.default
        try files.createSymbolicLink(atPath: folder + "/dangling", withDestinationPath: "new")
        try OutputFile.write(Data("x".utf8), to: folder + "/dangling")
        #expect(files.contents(atPath: folder + "/new") == Data("x".utf8))
        #expect(try files.destinationOfSymbolicLink(atPath: folder + "/dangling") == "new")
        try files.createSymbolicLink(atPath: folder + "/a", withDestinationPath: "b")
        try files.createSymbolicLink(atPath: folder + "/b", withDestinationPath: "a")
        for (path, reason) in [
            (folder + "/a", "symbolic links"), (folder, "Is a directory"), (folder + "/c/", "folder"),
        ] {
            #expect { try OutputFile.write(Data("x".utf8), to: path) } throws: {
                ($0 as? CommandFailure)?.message.contains(reason) == true
            }
        }
        #expect(try files.destinationOfSymbolicLink(atPath: folder + "/a") == "b")
    }

    @Test("what cannot be written is left as it was, and the sentence has the reason")
    func refusals() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect { try OutputFile.write(Data(), to: "") } throws: { ($0 as? CommandFailure)?.status == .usage }
        #expect { try OutputFile.write(Data("x".utf8), to: "/dev/full") } throws: {
            ($0 as? CommandFailure)?.message.contains("No space left") == true
        }
        #expect { try OutputFile.write(Data("x".utf8), to: folder + "/no/file") } throws: {
            ($0 as? CommandFailure)?.message.contains("No such file") == true
        }
        #expect { try OutputFile.write(Data("x".utf8), to: folder) } throws: {
            ($0 as? CommandFailure)?.status == .systemError
        }
    }
}
