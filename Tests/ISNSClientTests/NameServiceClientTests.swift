import ISNS
import ISNSClient
import Logging
import Platform
import Testing

@Suite("The iSNS client on sockets", .serialized)
struct NameServiceClientTests {
    private final class Access: Sendable {
        let names = Lock<[String: Set<String>]>([:])
    }

    private let access = Access()
    private let target = "iqn.2026-11.x:a"

    private func client(port: Int, followsAccess: Bool = true) -> NameServiceClient {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return NameServiceClient(
            host: "127.0.0.1", port: UInt16(port),
            settings: .init(entityIdentifier: "entity", followsAccess: followsAccess), logger: logger,
            addressBytes: { $0.split(separator: ".").compactMap { UInt8($0) } },
            onInitiators: { [access] target, names in access.names.withLock { $0[target] = names } })
    }

    private var offer: Offer {
        Offer(
            portals: [.init(host: "0.0.0.0", port: 3260, groupTag: 1)],
            targets: [TargetNode(name: target, alias: "a", portalGroupTags: nil)])
    }

    /// Until something is so; false when it is not within ten seconds.
    private func eventually(_ condition: () async -> Bool) async -> Bool {
        for _ in 0..<1000 {
            if await condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test("It registers, follows notifications and withdraws the registration")
    func life() async throws {
        let server = try await FakeServer()
        let client = client(port: server.port)
        server.state.withLock { $0.initiators = ["i1"] }
        await client.setOffer(offer)
        await client.start()
        #expect(await eventually { await client.status.isRegistered })
        #expect(await eventually { access.names.withLock { $0[target] } == ["i1"] })
        let registration = try #require(server.state.withLock { $0.requests.first })
        #expect(registration.flags.contains(.replace))
        // The wildcard is registered as the address that leads to the server.
        let address = registration.attributes.first { $0.tag == .portalAddress }?.value
        #expect(address == PortalAddress([127, 0, 0, 1])?.bytes)

        let inquiryPort = try #require(server.state.withLock { $0.inquiryPort })
        server.state.withLock { $0.initiators = ["i2"] }
        let notification = Message(
            .stateChangeNotification, flags: .server, transactionID: 5, attributes: [Attribute(.iscsiName, target)])
        let answer = notification.answer().encoded()
        #expect(try await exchange(port: inquiryPort, notification.encoded(), expecting: answer.count) == answer)
        #expect(await eventually { access.names.withLock { $0[target] } == ["i2"] })

        await client.stop()
        #expect(server.functions.last == .deviceDeregistration)
        #expect(await !client.status.isRegistered)
        try await server.stop()
    }

    @Test("It comes back to a server that was restarted, and says meanwhile what is wrong")
    func restart() async throws {
        let first = try await FakeServer()
        let client = client(port: first.port, followsAccess: false)
        await client.setOffer(offer)
        await client.start()
        #expect(await eventually { await client.status.isRegistered })
        try await first.stop()
        #expect(await eventually { await client.status.lastError != nil })
        let second = try await FakeServer(port: first.port)
        #expect(await eventually { await client.status.isRegistered })
        #expect(await client.status.lastError == nil)
        #expect(second.functions.first == .deviceAttributeRegistration)
        await client.stop()
        try await second.stop()
    }

    @Test("Garbage on either side ends that connection only")
    func garbage() async throws {
        let server = try await FakeServer()
        let client = client(port: server.port)
        await client.setOffer(offer)
        await client.start()
        #expect(await eventually { await client.status.isRegistered })
        let inquiryPort = try #require(server.state.withLock { $0.inquiryPort })
        #expect(try await exchange(port: inquiryPort, Array("GET / HTTP/1.0\r\n\r\n".utf8), expecting: 1) == [])
        // A response to nothing.
        let response = Message(
            Function.deviceAttributeQuery.response, flags: .server, transactionID: 1, status: .success, attributes: [])
        #expect(try await exchange(port: inquiryPort, response.encoded(), expecting: 1) == [])
        #expect(await client.status.isRegistered)

        server.state.withLock { $0.garbage = [0, 9] + [UInt8](repeating: 0xFF, count: 100) }
        await client.setOffer(Offer(portals: offer.portals, targets: []))
        #expect(await eventually { await client.status.lastError?.contains("version") == true })
        await client.stop()
        try await server.stop()
    }

    @Test("A server that cannot be reached does not hold up the end")
    func away() async throws {
        let server = try await FakeServer()
        try await server.stop()
        let client = client(port: server.port)
        await client.setOffer(offer)
        await client.start()
        #expect(await eventually { await client.status.lastError?.contains("not reached") == true })
        await client.stop()
    }
}
