import Console
import Foundation
import ManagementTestSupport
import Testing

/// Runs `body` while `server` answers; what it throws is an issue.
func withServer(_ server: ControlServer, _ body: () async throws -> Void) async {
    let (ready, continuation) = AsyncStream<Void>.makeStream()
    let task = Task { try await server.run { continuation.finish() } }
    for await _ in ready {}
    do {
        try await body()
    } catch {
        Issue.record(error)
    }
    task.cancel()
    _ = await task.result
}

/// Runs `body` while a server over fake devices answers.
func withServer(_ body: (ControlClient, ControllerFixture) async throws -> Void) async throws {
    let fixture = try ControllerFixture()
    await withServer(ControlServer(controller: fixture.controller, logger: .silent)) {
        try await body(ControlClient(stateFolder: fixture.path), fixture)
    }
    #expect(!FileManager.default.fileExists(atPath: fixture.path + "/control.sock"))
}
