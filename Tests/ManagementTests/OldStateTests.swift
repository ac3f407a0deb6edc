import Foundation
import GRDB
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

/// State folders as former versions of the program have left them when they were killed. `OldState/version-6.tar.gz` is
/// one of schema version 6, and `version-6.json` is what that version told of it.
@Suite("State folders of former versions", .serialized)
struct OldStateTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "OldState")

    /// A copy of the state folder in `archive`.
    private func unpack(_ archive: String) throws -> String {
        let path = NSTemporaryDirectory() + "carousel-old-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = [
            "tar", "-xzf", Self.folder.appending(path: archive).path, "--no-same-owner", "-C", path,
        ]
        try tar.run()
        tar.waitUntilExit()
        #expect(tar.terminationStatus == 0)
        return path
    }

    /// What the former version told of as well: the name, its fields of the spec, and those of the status that do not
    /// come from running. What is wanted now may only have been shown then.
    private func told(_ thing: JSONValue, like old: JSONValue) -> JSONValue {
        guard case .object(let members)? = old["status"], case .object(let fields)? = old["spec"] else { return .null }
        var (spec, status): ([String: JSONValue], [String: JSONValue]) = ([:], [:])
        for name in fields.keys { spec[name] = thing["spec"]?[name] }
        for name in members.keys { status[name] = thing["status"]?[name] ?? thing["spec"]?[name] }
        return ["name": thing["name"] ?? .null, "spec": .object(spec), "status": .object(status)]
    }

    @Test("one of version 6, which was killed, has all that was there, with generations")
    func versionSix() async throws {
        let path = try unpack("version-6.tar.gz")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let text = try String(contentsOf: Self.folder.appending(path: "version-6.json"), encoding: .utf8)
        guard case .object(let expected)? = JSONValue(serialized: text) else {
            Issue.record("version-6.json is no object")
            return
        }
        var first: [String: [JSONValue]] = [:]
        for start in 1...2 {
            let isWritten = try await serveDevices(at: path) { controller, _ in
                for endpoint in Registry.endpoints(controller) {
                    guard let old = expected[endpoint.kind.plural]?.elements else { continue }
                    let now = try await endpoint.list(Page()).items
                    #expect(now.count == old.count, "\(endpoint.kind.plural)")
                    for (now, old) in zip(now, old) { #expect(told(now, like: old) == old) }
                    guard endpoint.kind.hasGenerations else { continue }
                    let generations = now.compactMap { $0["generation"].flatMap(Int64.from) }
                    #expect(generations.count == now.count && generations.allSatisfy { $0 > 0 })
                    // The secrets are in a file that may be edited while the daemon is away.
                    guard endpoint.kind.plural != "credentials" else { continue }
                    if start == 1 { first[endpoint.kind.plural] = now }
                    #expect(now.map { $0["generation"] } == first[endpoint.kind.plural]?.map { $0["generation"] })
                }
                let status = try await controller.status()
                #expect(status.problems.count == 1 && status.problems.allSatisfy { $0.contains("external.img") })
                #expect(status.unclaimed.isEmpty)
                let events = try await controller.events(limit: 1000)
                #expect(events.prefix(31).map(\.id) == Array(1...31))
                #expect(events.first?.name == "big" && events.first?.verb == "create")
                // The portals of the last time come to that which is asked for; the system chooses their ports.
                #expect(Set(try await controller.allPortals().map(\.spec.portalGroup)) == [1, 5])
            }
            #expect(isWritten)
        }
        // It goes on as ever.
        try await serveDevices(at: path) { controller, _ in
            _ = try await controller.changeDisk("small", to: Disk.Spec(size: 66 << 20))
            #expect(try await controller.disk("small").spec == Disk.Spec(size: 66 << 20, blockSize: 4096))
            _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "drive:1", to: "slot:2"))
            _ = try await controller.move(library: "vtl", Library.Move.Arguments(from: "mail:1", to: "slot:4"))
            _ = try await controller.importCartridge("V00003L8", library: "vtl")
            try await controller.deleteDisk("external")
            try await controller.deleteDisk("big")
            #expect(try await controller.targets().map(\.name).filter { $0.hasSuffix(":big") }.isEmpty)
        }
    }

    @Test("no disk of a version before has anything but what this one expects, and damage of one costs no other")
    func damage() async throws {
        let path = try unpack("version-6.tar.gz")
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await serveDevices(at: path) { controller, _ in
            let state = try await controller.disk("big").status.state
            #expect(state == .serving)
        }
        try OldStateTests.edit(path + "/catalog.sqlite", "UPDATE resource SET spec = '{\"size\"' WHERE name = 'big'")
        try await serveDevices(at: path) { controller, devices in
            let disks = try await controller.disks()
            #expect(disks.map(\.status.state) == [.notServed, .notServed, .serving])
            let problem = try #require(disks.first?.status.problem)
            #expect(
                problem == "disk 'big' is damaged in the catalog: its spec is no JSON object; "
                    + "put the catalog back from a copy")
            #expect(try await controller.status().problems.contains(problem))
            let refusal = await #expect(throws: ManagementError.self) {
                try await controller.changeDisk("big", to: Disk.Spec(size: 8 << 30))
            }
            #expect(refusal?.code == .damaged)
            #expect(try await controller.library("vtl").status.state == .serving)
        }
    }
}

extension OldStateTests {
    /// Changes the catalog at `path` behind everybody's back.
    static func edit(_ path: String, _ sql: String) throws {
        let raw = try DatabaseQueue(path: path)
        try raw.write { try $0.execute(sql: sql) }
        try raw.close()
    }
}
