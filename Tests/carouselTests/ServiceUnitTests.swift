import ArgumentParser
import Foundation
import Testing

@testable import carousel

@Suite("Units of the service manager")
struct ServiceUnitTests {
    private static let page =
        (try? String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().appending(path: "Sources/carousel/carousel.docc/Service.md"),
            encoding: .utf8)) ?? ""

    @Test("the page has the units as they are printed")
    func page() {
        let unit = ServiceUnit.serviceUnit(program: "/usr/local/bin/carousel", portal: "127.0.0.1:3260")
        #expect(Self.page.contains("```ini\n\(unit)\n```"))
        #expect(Self.page.contains("```ini\n\(ServiceUnit.socketUnit(portal: "127.0.0.1:3260"))\n```"))
    }

    @Test(
        "what would be another unit than is meant is refused",
        arguments: ["carousel", "", "/a b", "/a\nExecStart=x", "/%h/x", "/$x"])
    func programs(path: String) throws {
        let command = try ServiceUnit.parse(["--program", path])
        #expect(throws: CommandFailure.self) { try command.run() }
    }

    @Test("a portal that is none is refused")
    func portals() throws {
        let command = try ServiceUnit.parse(["--portal", "x\ny"])
        #expect(throws: CommandFailure.self) { try command.run() }
    }
}
