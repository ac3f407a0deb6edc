import Foundation
import Management
import NIOCore
import NIOHTTP1
public import Resources

// What goes on while one looks: jobs, and lists that are followed.
extension ControlClient {
    /// The shortest and the longest time between two looks at a job.
    private static let looks = (first: Duration.milliseconds(10), longest: Duration.milliseconds(300))

    /// Looks at the job, which an answer gave, until it has ended; each look is told. Gives it as it ended.
    ///
    /// - Throws: `ControlClientError.refused` with what it failed with, or that it was cancelled.
    public func finish(_ job: JSONValue, _ look: (JSONValue) -> Void = { _ in }) async throws -> JSONValue {
        var job = job
        var pause = Self.looks.first
        while true {
            look(job)
            let status = job["status"]
            guard let name = job["name"]?.text, let state = status?["state"]?.text.flatMap(JobState.init(rawValue:))
            else {
                throw ControlClientError.notUnderstood("the daemon's answer is no job; are both of one version?")
            }
            switch state {
            case .waiting, .running: break
            case .done: return job
            case .failed, .cancelled:
                let code = status?["problemCode"]?.text.flatMap(ManagementError.Code.init(rawValue:)) ?? .internal
                let problem = status?["problem"]?.text ?? state.rawValue
                let isCancelled = state == .cancelled
                throw ControlClientError.refused(
                    ManagementError(
                        code,
                        isCancelled ? "job \(name), \(status?["work"]?.text ?? ""), was ended: \(problem)" : problem))
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, Self.looks.longest)
            job = try await show(DaemonJob.description, name)
        }
    }

    /// Tells what comes into a list after the thing `after`, or from now on, until the daemon ends it or `tell` is
    /// false.
    public func follow(
        _ kind: KindDescription, after: String? = nil, filters: [String: String] = [:],
        _ tell: @escaping @Sendable (JSONValue) -> Bool
    ) async throws {
        var conditions = filters
        conditions["after"] = after
        conditions["follow"] = "true"
        let path = "/v1/" + kind.plural + Self.query(conditions)
        try await exchange(.GET, path, body: Data(), isStream: true) { inbound in
            var status = 0
            var lines = LineSplitter()
            var refusal = Data()
            for try await part in inbound {
                switch part {
                case .head(let head): status = Int(head.status.code)
                case .body(let bytes) where status != 200: refusal.append(contentsOf: bytes.readableBytesView)
                case .body(let bytes):
                    for line in try lines.add(bytes.readableBytesView) {
                        // A thing is one line of data; its name is in it, so `id` tells nothing new.
                        guard line.starts(with: Data("data: ".utf8)) else { continue }
                        guard tell(try APICoding.decode(JSONValue.self, from: line.dropFirst(6))) else { return }
                    }
                case .end:
                    guard status == 200 else { throw Self.refusal(refusal) ?? Self.brokenOff }
                    return
                }
            }
            throw Self.brokenOff
        }
    }
}

/// Lines of a stream whose pieces end anywhere.
private struct LineSplitter {
    /// The longest line in bytes: an event with all that it changed fits well.
    private static let maximumLength = 1 << 20

    private var rest = Data()

    /// The lines that end with `bytes`.
    mutating func add(_ bytes: some Collection<UInt8>) throws -> [Data] {
        rest.append(contentsOf: bytes)
        var lines: [Data] = []
        while let end = rest.firstIndex(of: 0x0A) {
            lines.append(Data(rest[rest.startIndex..<end]))
            rest = Data(rest[rest.index(after: end)...])
        }
        guard rest.count <= Self.maximumLength else {
            throw ControlClientError.notUnderstood("the daemon's answer has a line without an end")
        }
        return lines
    }
}
