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
    /// The most with one token, so that its holder cannot take all places.
    static let maximumCountOfToken = 4

    private struct State {
        var total = 0
        var ofTokens: [String: Int] = [:]
    }
    private let state = Lock(State())

    /// A place that is free again when nobody holds it any more.
    final class Place: Sendable {
        private let followers: Followers
        private let token: String?
        fileprivate init(_ followers: Followers, _ token: String?) {
            self.followers = followers
            self.token = token
        }
        deinit { followers.leave(token) }
    }

    /// A place for one who asks with the token of that name, or without one.
    func place(token: String?) throws(ManagementError) -> Place {
        let taken = state.withLock { state -> Int? in
            guard state.total < Self.maximumCount else { return state.total }
            if let token {
                let count = state.ofTokens[token] ?? 0
                guard count < Self.maximumCountOfToken else { return count }
                state.ofTokens[token] = count + 1
            }
            state.total += 1
            return nil
        }
        if let taken {
            throw ManagementError(
                .system, "\(taken) clients follow already; end one of them, or try again later")
        }
        return Place(self, token)
    }

    private func leave(_ token: String?) {
        state.withLock { state in
            state.total -= 1
            guard let token, let count = state.ofTokens[token] else { return }
            state.ofTokens[token] = count > 1 ? count - 1 : nil
        }
    }
}

/// Things as server-sent events (the HTML standard, section 9.2): the name of each is its `id`, and itself its `data`;
/// a comment says that nothing has come.
enum EventStream {
    static let lastEventID = HTTPField.Name("Last-Event-ID")

    /// The answer with `things`; it ends when the caller may not ask for anything any more.
    static func response(_ things: FollowedThings, _ place: Followers.Place, for caller: Caller?) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { [place] writer in
                // The head alone tells the client that it follows.
                try await writer.write(ByteBuffer(string: ": following\n\n"))
                do {
                    for try await thing in things {
                        try caller?.check()
                        try await writer.write(ByteBuffer(string: try text(thing)))
                    }
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
