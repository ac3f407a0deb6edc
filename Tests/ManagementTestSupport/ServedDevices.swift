public import Bytes
public import Logging
public import Management
import Platform
import Resources

/// Runs `body` with a controller over real devices that serves the state folder at `path` on a free port, and stops it.
/// False when something was not written out.
@discardableResult
public func serveDevices(
    at path: String, logger: Logger = .silent, bufferPages: PageChoice = .standard,
    _ body: (Controller, LocalDevices) async throws -> Void
) async throws -> Bool {
    let made = Lock<LocalDevices?>(nil)
    let controller = try Controller(folder: try StateFolder(path: path), logger: logger) {
        resources throws(ManagementError) in
        let devices = try LocalDevices(resources, bufferPages: bufferPages)
        made.withLock { $0 = devices }
        return devices
    }
    guard let devices = made.withLock({ $0 }) else { throw ManagementError(.internal, "no devices") }
    var failure: (any Error)?
    do {
        try await controller.start(portals: [PortalAddress(address: "127.0.0.1", port: 0)])
        try await body(controller, devices)
    } catch {
        failure = error
    }
    let isWrittenOut = await controller.shutDown()
    controller.folder.release()
    if let failure { throw failure }
    return isWrittenOut
}

extension Logger {
    /// A log that nobody reads.
    public static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    /// A log whose lines of `level` and above go to `collect`, with their metadata.
    public static func collecting(_ level: Level, _ collect: @escaping @Sendable (String) -> Void) -> Logger {
        Logger(label: "test") { _ in LineCollector(logLevel: level, collect: collect) }
    }
}

private struct LineCollector: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    let collect: @Sendable (String) -> Void

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let details = (event.metadata ?? [:]).map { " \($0)=\($1)" }.sorted().joined()
        collect("\(event.message)\(details)")
    }
}
