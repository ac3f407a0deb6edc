import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("A file system without room")
struct FullFileSystemTests {
    /// What only takes away, though what is taken may be access.
    private static let removals = [
        "disk delete", "library delete", "tape delete", "target set, to less", "target access closed", "target unmap",
        "target unmap --group", "target unmap --group --lun", "target delete", "group remove", "group delete",
        "chap create, the first", "chap set", "chap delete", "chap delete, the last", "portal delete",
    ]

    /// What gives.
    private static let grants = [
        "disk create", "library create", "tape create", "target create", "target access open", "target map",
        "group create", "group add", "chap create, another user", "portal create",
    ]

    /// Does the operation of that name while nothing can be written as long as the reserve takes its room.
    private func perform(_ name: String) async throws -> (run: Run, refusal: ManagementError?) {
        let operation = try #require(WalkOperation.all.first { $0.testDescription == name })
        let run = try await Run(operation)
        run.gate.armFull(reserve: run.folder.path + "/reserve")
        let refusal = await run.perform()
        run.gate.disarm()
        return (run, refusal)
    }

    @Test("what takes away has the room of the reserve", arguments: removals)
    func removal(_ name: String) async throws {
        let (run, refusal) = try await perform(name)
        #expect(refusal == nil, "\(refusal?.message ?? "")")
        await run.end()
    }

    @Test("what gives has not, and changes nothing", arguments: grants)
    func grant(_ name: String) async throws {
        let (run, refusal) = try await perform(name)
        #expect(refusal?.code == .system, "\(refusal?.message ?? "")")
        #expect(try FileStatus.of(run.folder.path + "/reserve").length == Int64(SpaceReserve.length))
        await run.end()
    }
}
