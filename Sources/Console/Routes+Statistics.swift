import HTTPTypes
import Hummingbird
import Management
import NIOCore
import Resources

// What was counted.
extension ControlServer {
    static func addStatisticsRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("statistics") { _, _ in await answer { try await controller.statistics() } }
    }

    /// The answer to a request for `/metrics`; nil when it is for something else.
    static func metrics(_ request: Request, _ controller: Controller, kept: KeptLines) async -> Response? {
        guard request.uri.path == "/metrics" else { return nil }
        guard request.method == .get else {
            return API.response(
                to: API.Problem(
                    .methodNotAllowed,
                    ManagementError(.invalid, "/metrics takes GET, not \(request.method.rawValue)"), allowed: [.get]))
        }
        do throws(ManagementError) {
            let statistics = try await controller.statistics()
            return Response(
                status: .ok, headers: [.contentType: MetricsText.contentType],
                body: ResponseBody(asyncSequence: parts(of: statistics, kept)))
        } catch {
            return API.response(to: API.Problem(error))
        }
    }

    /// The text of `statistics`, written on a thread of its own while its first parts are sent.
    private static func parts(of statistics: DaemonStatistics, _ kept: KeptLines) -> AsyncStream<ByteBuffer> {
        AsyncStream { parts in
            Task {
                Metrics.write(statistics, kept: kept) { parts.yield($0) }
                parts.finish()
            }
        }
    }
}
