import Foundation
import ManagementTestSupport
import Resources
import Testing

@testable import Management

@Suite("Profiles of the user's own")
final class ProfileTests {
    private let fixture: ControllerFixture
    private let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    /// The LTO-8 drive's profile under another name, and with `old` replaced by `new`.
    private func drive(_ name: String, _ old: String = "N9M1", _ new: String = "N9M1") async throws -> String {
        let content = try await controller.profile("ibm-ult3580-td8").content
        #expect(content.contains(old))
        return content.replacingOccurrences(of: "\"ibm-ult3580-td8\"", with: "\"\(name)\"")
            .replacingOccurrences(of: old, with: new)
    }

    private func add(_ content: String, replaces: Bool = false) async throws -> ProfileSummary {
        try await controller.addProfile(ProfileAddition(file: "a.json", content: content, replaces: replaces))
    }

    @Test("a profile is added, shown and replaced, and nothing else gets in its way or out of it")
    func add() async throws {
        try await controller.start()
        let added = try await add(try await drive("mine"))
        #expect(added.name == "mine" && added.kind == "drive" && added.libraries.isEmpty)
        #expect(added.path == fixture.path + "/profiles/mine.json")
        #expect(try await controller.profileSummaries().map(\.name) == ["ibm-03584l32", "ibm-ult3580-td8", "mine"])
        let detail = try await controller.profile("mine")
        #expect(detail.densities.map(\.code) == ["0x5C", "0x5D", "0x5E"])
        #expect(detail.densities.map(\.wormBarcodeSuffixes) == [["LX"], [], ["LY"]])
        #expect(
            try await controller.profile("ibm-03584l32").elements.map(\.firstAddress)
                == ["0x0400", "0x0300", "0x0101", "0x0001"])
        let before = fixture.files()
        let refused: [(String, ManagementError.Code, String)] = [
            (try await drive("mine"), .conflict, "--replace"),
            (try await drive("ibm-ult3580-td8"), .conflict, "--replace"),
            (try await drive("ibm-03584l32"), .conflict, "name of a library profile"),
            (try await drive("new", "\"revision\"", "\"reversion\""), .invalid, "a.json: reversion is not a field"),
            ("{", .invalid, "a.json: is not JSON"),
        ]
        for (content, code, words) in refused {
            let refusal = await fixture.refusal { try await add(content) }
            #expect(refusal?.code == code && refusal?.message.contains(words) == true, "\(refusal?.message ?? "-")")
        }
        #expect(fixture.files() == before)
        #expect(try await add(try await drive("mine", "N9M1", "NEW1"), replaces: true).revision == "NEW1")
        #expect(try await controller.profile("mine").profile.revision == "NEW1")
        #expect(fixture.files() == before)
        #expect(await fixture.refusal { try await controller.profile("none") }?.code == .notFound)
    }

    @Test("a change that fails leaves the profiles as they were")
    func failure() async throws {
        let fixture = try ControllerFixture { path throws(ManagementError) in
            if path.hasSuffix(".json") { throw ManagementError(.system, "no space") }
        }
        let content = try await drive("mine")
        let refusal = await fixture.refusal {
            try await fixture.controller.addProfile(ProfileAddition(file: "a.json", content: content))
        }
        #expect(refusal?.code == .system && refusal?.message.hasSuffix("no space") == true)
        #expect(try await fixture.controller.profileSummaries().map(\.name) == ["ibm-03584l32", "ibm-ult3580-td8"])
    }

    @Test("a file with a fault is a problem that the status tells of, and no reason not to start")
    func brokenFile() async throws {
        let content = try await drive("mine", "\"revision\"", "\"reversion\"")
        let folder = fixture.path + "/profiles"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        try Data(content.utf8).write(to: URL(fileURLWithPath: folder + "/x.json"))
        controller.folder.release()
        let (next, _) = try ControllerFixture.make(fixture.path)
        try await next.start(isStrict: true)
        #expect(try await next.status().problems == ["\(folder)/x.json: reversion is not a field that profiles have"])
        try FileManager.default.removeItem(atPath: folder + "/x.json")
        _ = try await next.profileSummaries()
        #expect(try await next.status().problems.isEmpty)
        await next.shutDown()
    }
}
