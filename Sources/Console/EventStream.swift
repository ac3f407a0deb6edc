import Foundation
import HTTPTypes
import Hummingbird
import Management
import NIOCore
import Platform
import Resources

/// The places of those who follow: each takes a connection for as long as it likes.
final class Followers: Sendable {
    /// The most at a time, so that connections are left for everybody else.
    static let maximumCount = 16

    private let count = Lock(0)

    /// A place that is free again when nobody holds it any more.
    final class Place: Sendable {
        private let followers: Followers
        fileprivate init(_ followers: Followers) { self.followers = followers }
        deinit { followers.count.withLock { $0 -= 1 } }
    }

    func place() throws(ManagementError) -> Place {
        let isFree = count.withLock { count in
            guard count < Self.maximumCount else { return false }
            count += 1
            return true
        }
        guard isFree else {
            throw ManagementError(
                .system, "\(Self.maximumCount) clients follow already; end one of them, or try again later")
        }
        return Place(self)
    }
}

/// Things as server-sent events (the HTML standard, section 9.2): the name of each is its `id`, and itself its `data`;
/// a comment says that nothing has come.
enum EventStream {
    static let lastEventID = HTTPField.Name("Last-Event-ID")

    static func response(_ things: FollowedThings, _ place: Followers.Place) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { [place] writer in
                // The head alone tells the client that it follows.
                try await writer.write(ByteBuffer(string: ": following\n\n"))
                do {
                    for try await thing in things { try await writer.write(ByteBuffer(string: try text(thing))) }
                } catch let error as ManagementError {
                    try await writer.write(ByteBuffer(string: ": \(error.message)\n\n"))
                }
                try await writer.finish(nil)
                withExtendedLifetime(place) {}
            })
    }

    private static func text(_ thing: JSONValue?) throws -> String {
        guard let thing else { return ": nothing has happened\n\n" }
        // JSON has no line ends outside of its strings, and escapes those inside.
        let data = String(decoding: try APICoding.encode(thing), as: UTF8.self)
        return "id: \(thing["name"]?.text ?? "")\ndata: \(data)\n\n"
    }
}
