import Logging

/// The log of the HTTP server: what it says beside what the daemon does, from warnings on.
///
/// That its wait for connections was cancelled is how the daemon ends it, and no error.
struct ServerLog: LogHandler {
    private var base: any LogHandler

    static func logger(_ logger: Logger) -> Logger {
        var quiet = Logger(label: logger.label) { _ in ServerLog(base: logger.handler) }
        quiet.logLevel = max(logger.logLevel, .warning)
        return quiet
    }

    private init(base: any LogHandler) { self.base = base }

    func log(event: LogEvent) {
        guard !event.message.description.hasSuffix("CancellationError()") else { return }
        base.log(event: event)
    }

    var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }
    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }
    var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { base.metadataProvider = newValue }
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }
}
