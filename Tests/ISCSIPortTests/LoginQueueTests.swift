import Platform
import TestSupport
import Testing

@testable import ISCSIPort

private final class Peer {}

@Suite("Connections that have not logged in")
struct LoginQueueTests {
    @Test("The oldest of all and of each origin are those of a plain list", arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = LoginQueue<Peer>()
        var list: [(peer: Peer, origin: String)] = []
        let origins = ["a", "b", "c"]
        for _ in 0..<3000 {
            if list.isEmpty || Int.random(in: 0..<5, using: &random) < 3, list.count < 200 {
                let entry = (peer: Peer(), origin: origins.randomElement(using: &random) ?? "a")
                list.append(entry)
                queue.append(entry.peer, from: entry.origin)
            } else {
                let position = Int.random(in: 0..<list.count, using: &random)
                let gone = list.remove(at: position).peer
                queue.remove(gone)
                // Once more is once too often, and nothing.
                queue.remove(gone)
            }
            #expect(queue.count == list.count)
            #expect(queue.oldest === list.first?.peer)
            for origin in origins {
                #expect(queue.count(from: origin) == list.count { $0.origin == origin })
                #expect(queue.oldest(from: origin) === list.first { $0.origin == origin }?.peer)
            }
        }
        for entry in list { queue.remove(entry.peer) }
        #expect(queue.originCount == 0, "nothing is kept of addresses that are gone")
        #expect(queue.oldest == nil)
    }

    @Test(
        "An IPv4 address is one peer, and so is an IPv6 network of 64 bits",
        arguments: [
            ("192.0.2.7:1", "192.0.2.7"), ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2"),
            ("[2001:db8::6]:1", "2001:db8:0:0"), ("[::1]:1", "0:0:0:0"), ("[fe80::]:1", "fe80:0:0:0"),
            ("[2001:db8:1:2:3::]:9", "2001:db8:1:2"),
            ("[::ffff:192.0.2.7]:1", "::ffff:192.0.2.7"),
        ])
    func origin(address: String, origin: String) throws {
        #expect(try #require(SocketAddress(address)).loginOrigin == origin)
    }
}
