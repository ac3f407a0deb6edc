import ISNS
import TestSupport
import Testing

@Suite("The registrar")
struct RegistrarTests {
    static func entity(_ names: [String], ports: [UInt16] = [3260], tags: Set<UInt16>? = nil) -> NetworkEntity {
        NetworkEntity(
            portals: ports.compactMap { port in
                PortalAddress([127, 0, 0, 1]).map {
                    Portal(key: PortalKey(address: $0, port: port), groupTag: port - 3259, inquiryPort: 4000)
                }
            }, targets: names.map { TargetNode(name: "iqn.2026-11.x:\($0)", alias: $0, portalGroupTags: tags) })
    }

    /// Whether the server has exactly what shall be registered.
    static func expectSame(
        _ server: ServerModel, _ entity: NetworkEntity, location: SourceLocation = #_sourceLocation
    ) {
        guard !entity.targets.isEmpty else {
            #expect(server.entity == nil, sourceLocation: location)
            #expect(server.nodes.isEmpty, sourceLocation: location)
            return
        }
        #expect(server.entity == "entity", sourceLocation: location)
        #expect(server.nodes == Set(entity.targets.map(\.name)), sourceLocation: location)
        #expect(Set(server.portals.keys) == Set(entity.portals.map(\.key)), sourceLocation: location)
        var tags: [ServerModel.PortalGroup: UInt16?] = [:]
        for target in entity.targets {
            for portal in entity.portals {
                tags[.init(target: target.name, portal: portal.key)] = .some(target.tag(through: portal))
            }
        }
        #expect(server.tags == tags, sourceLocation: location)
    }

    @Test("Everything is registered at the start, and what an earlier run left is replaced")
    func registration() {
        var fixture = RegistrarFixture()
        fixture.server.entity = "entity"
        fixture.server.nodes = ["iqn.2026-11.x:stale"]
        let entity = Self.entity(["a", "b"], ports: [3260, 3261], tags: [2])
        fixture.begin(entity)
        Self.expectSame(fixture.server, entity)
        #expect(fixture.registrar.isRegistered)
        #expect(fixture.server.replacements == 1)
        #expect(fixture.notices == [.registered(targets: 2, portals: 2, period: 60)])
        #expect(fixture.server.portals.values.allSatisfy { $0 == 4000 })
        #expect(fixture.server.notified == ["iqn.2026-11.x:a": 0xBF])
    }

    @Test("Only differences are sent later: targets, portals and tags that come, change and go")
    func differences() {
        var fixture = RegistrarFixture()
        fixture.begin(Self.entity(["a", "b"]))
        for entity in [
            Self.entity(["b", "c"]), Self.entity(["b", "c"], ports: [3260, 3261]),
            Self.entity(["b", "c"], ports: [3260, 3261], tags: [1]), Self.entity(["c"], ports: [3261]),
            Self.entity([], ports: [3261]), Self.entity(["d"], ports: [3262]),
        ] {
            fixture.update(entity)
            Self.expectSame(fixture.server, entity)
            #expect(fixture.registrar.isRegistered)
        }
        #expect(fixture.server.replacements == 1)
        let count = fixture.sent.count
        fixture.update(Self.entity(["d"], ports: [3262]))
        #expect(fixture.sent.count == count)
    }

    @Test("Many targets go in several messages")
    func batches() {
        var fixture = RegistrarFixture(followsAccess: true)
        let entity = Self.entity((0..<2000).map { "disk\($0)" }, ports: [3260, 3261])
        fixture.begin(entity)
        Self.expectSame(fixture.server, entity)
        let registrations = fixture.sent.filter { $0.function == .deviceAttributeRegistration }
        #expect(registrations.count >= 10)
        #expect(registrations.allSatisfy { $0.encoded().count < Message.maximumPDUPayload })
        #expect(fixture.access.count == 2000)
        fixture.update(Self.entity(["one"]))
        Self.expectSame(fixture.server, Self.entity(["one"]))
    }

    @Test("The registration is confirmed within its period, and made anew when the server forgot it")
    func confirmation() {
        var fixture = RegistrarFixture()
        let entity = Self.entity(["a", "b"])
        fixture.begin(entity)
        let count = fixture.sent.count
        fixture.pass(.seconds(21))
        #expect(fixture.sent.count == count + 3)
        fixture.server.forget()
        fixture.pass(.seconds(21))
        #expect(fixture.notices.contains(.forgotten))
        Self.expectSame(fixture.server, entity)
        #expect(fixture.connections == 1)
    }

    @Test("A target and a portal that the server lost are registered again")
    func lost() {
        var fixture = RegistrarFixture()
        let entity = Self.entity(["a", "b"], ports: [3260, 3261])
        fixture.begin(entity)
        fixture.server.nodes.remove("iqn.2026-11.x:b")
        fixture.server.tags = fixture.server.tags.filter { $0.key.target != "iqn.2026-11.x:b" }
        fixture.pass(.seconds(21))
        Self.expectSame(fixture.server, entity)
        #expect(fixture.notices.contains(.lost("iqn.2026-11.x:b")))
        let gone = entity.portals[1].key
        fixture.server.portals[gone] = nil
        fixture.server.tags = fixture.server.tags.filter { $0.key.portal != gone }
        fixture.pass(.seconds(21))
        Self.expectSame(fixture.server, entity)
    }

    @Test("A server that forgets at once is asked again after a pause")
    func forgetful() {
        var fixture = RegistrarFixture(followsAccess: true)
        fixture.isTalkative = false
        fixture.begin(Self.entity(["a"]))
        for _ in 0..<40 {
            guard let request = fixture.sent.last, !request.function.isResponse else { break }
            fixture.registrar.received(
                Message(
                    request.function.response, flags: .server, transactionID: request.transactionID,
                    status: .sourceUnknown, attributes: []), fixture.now)
            fixture.settle()
        }
        #expect(fixture.sent.count == 2)
        #expect(
            fixture.notices == [
                .forgotten, .failed("the server does not keep the registration", pause: .seconds(1)),
            ])
    }

    @Test("A server that is away is tried again after one second, then two, up to a minute")
    func pauses() {
        var fixture = RegistrarFixture()
        fixture.isReachable = false
        fixture.begin(Self.entity(["a"]))
        fixture.pass(.seconds(300))
        let pauses: [Duration] = fixture.notices.compactMap {
            guard case .failed("refused", let pause) = $0 else { return nil }
            return pause
        }
        #expect(Array(pauses.prefix(8)) == [1, 2, 4, 8, 16, 32, 60, 60].map { Duration.seconds($0) })
        fixture.isReachable = true
        fixture.pass(.seconds(60))
        Self.expectSame(fixture.server, Self.entity(["a"]))
        // The next failure begins with the shortest pause again.
        fixture.loseConnection()
        #expect(fixture.notices.last == .failed("closed", pause: .seconds(1)))
        fixture.server.forget()
        fixture.pass(.seconds(1))
        Self.expectSame(fixture.server, Self.entity(["a"]))
        #expect(fixture.server.replacements == 1)
    }

    @Test("A server that does not answer is left and tried again")
    func silence() {
        var fixture = RegistrarFixture()
        fixture.isTalkative = false
        fixture.begin(Self.entity(["a"]))
        fixture.pass(.seconds(10))
        #expect(fixture.notices == [.failed("the server does not answer DevAttrReg", pause: .seconds(1))])
        #expect(!fixture.isConnected)
        fixture.isTalkative = true
        fixture.pass(.seconds(1))
        Self.expectSame(fixture.server, Self.entity(["a"]))
    }

    @Test("Answers to what was not asked end the connection")
    func strangeAnswers() {
        for (function, difference): (Function, UInt16) in [
            (.deviceDeregistration, 0), (.deviceAttributeRegistration, 1),
        ] {
            var fixture = RegistrarFixture()
            fixture.isTalkative = false
            fixture.begin(Self.entity(["a"]))
            let transaction = (fixture.sent.last?.transactionID ?? 0) &+ difference
            fixture.registrar.received(
                Message(
                    function.response, flags: .server, transactionID: transaction, status: .success, attributes: []),
                fixture.now)
            fixture.settle()
            #expect(fixture.notices == [.failed("the server answered what was not asked", pause: .seconds(1))])
        }
    }

    @Test("A refusal is named and tried again")
    func refusal() {
        var fixture = RegistrarFixture()
        fixture.isTalkative = false
        fixture.begin(Self.entity(["a"]))
        fixture.registrar.received(
            Message(
                Function.deviceAttributeRegistration.response, flags: .server,
                transactionID: fixture.sent.last?.transactionID ?? 0, status: ResponseStatus(rawValue: 8),
                attributes: []), fixture.now)
        fixture.settle()
        #expect(
            fixture.notices == [
                .failed("the server refused DevAttrReg: Source Unauthorized (8)", pause: .seconds(1))
            ])
    }

    @Test("Without status inquiries and management notifications it does with less")
    func modestServer() {
        var fixture = RegistrarFixture()
        fixture.server.allowsStatusInquiries = false
        fixture.server.allowsManagement = false
        fixture.begin(Self.entity(["a", "b"]))
        Self.expectSame(fixture.server, Self.entity(["a", "b"]))
        #expect(fixture.notices.contains(.noStatusInquiries))
        #expect(fixture.server.notified == ["iqn.2026-11.x:a": 0x9C, "iqn.2026-11.x:b": 0x9C])
        fixture = RegistrarFixture()
        fixture.server.allowsNotifications = false
        fixture.begin(Self.entity(["a", "b"]))
        #expect(fixture.registrar.isRegistered)
        #expect(fixture.notices.last == .noNotifications(.notificationRegistrationRejected))
    }

    @Test("The initiators of each target are asked for at the start, after a notification, and now and then")
    func access() {
        var fixture = RegistrarFixture(followsAccess: true)
        fixture.server.initiators = ["iqn.2026-11.x:a": ["i1", "i2"]]
        fixture.begin(Self.entity(["a", "b"]))
        #expect(fixture.access == ["iqn.2026-11.x:a": ["i1", "i2"], "iqn.2026-11.x:b": []])
        fixture.server.initiators = ["iqn.2026-11.x:b": ["i2"]]
        let notification = Message(
            .stateChangeNotification, flags: .server, transactionID: 77,
            attributes: [Attribute(.iscsiName, "iqn.2026-11.x:a"), Attribute(.timestamp, [0, 0, 0, 0, 0, 0, 0, 1])])
        fixture.registrar.received(notification, fixture.now)
        fixture.settle()
        #expect(fixture.access == ["iqn.2026-11.x:a": [], "iqn.2026-11.x:b": ["i2"]])
        #expect(fixture.sent.contains(notification.answer()))
        fixture.server.initiators = [:]
        fixture.pass(.seconds(15))
        #expect(fixture.access == ["iqn.2026-11.x:a": [], "iqn.2026-11.x:b": []])
    }

    @Test("A flood of notifications causes few questions")
    func flood() {
        var fixture = RegistrarFixture(followsAccess: true)
        fixture.begin(Self.entity(["a"]))
        let count = fixture.sent.count
        for _ in 0..<1000 {
            fixture.registrar.stateChanged(fixture.now)
            fixture.settle()
        }
        #expect(fixture.sent.count == count + 2)
        fixture.pass(.milliseconds(500))
        #expect(fixture.sent.count == count + 4)
    }

    @Test("More initiators than the limit are cut")
    func manyInitiators() {
        var fixture = RegistrarFixture(followsAccess: true)
        let names = (0..<Registrar.Limit.initiators + 10).map { "i\($0)" }
        fixture.server.initiators = ["iqn.2026-11.x:a": names]
        fixture.begin(Self.entity(["a"]))
        #expect(fixture.access["iqn.2026-11.x:a"]?.count == Registrar.Limit.initiators)
        #expect(fixture.notices.contains(.tooManyInitiators(target: "iqn.2026-11.x:a")))
    }

    @Test("At the end everything is taken back; a silent server does not hold that up")
    func stop() {
        var fixture = RegistrarFixture()
        fixture.begin(Self.entity(["a"]))
        fixture.registrar.stop(fixture.now)
        fixture.settle()
        #expect(fixture.isStopped)
        #expect(!fixture.isConnected)
        Self.expectSame(fixture.server, Self.entity([]))

        fixture = RegistrarFixture()
        fixture.begin(Self.entity(["a"]))
        fixture.isTalkative = false
        fixture.registrar.stop(fixture.now)
        fixture.settle()
        #expect(!fixture.isStopped)
        fixture.pass(.seconds(3))
        #expect(fixture.isStopped)
        #expect(fixture.registrar.deadline == nil)

        fixture = RegistrarFixture()
        fixture.isReachable = false
        fixture.begin(Self.entity(["a"]))
        fixture.registrar.stop(fixture.now)
        fixture.settle()
        #expect(fixture.isStopped)
    }

    @Test("Whatever happens, in the end the server has what shall be registered", arguments: 0..<200)
    func everything(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var fixture = RegistrarFixture(followsAccess: Bool.random(using: &random))
        fixture.server.allowsManagement = Bool.random(using: &random)
        fixture.server.allowsNotifications = Bool.random(using: &random)
        fixture.server.allowsStatusInquiries = Bool.random(using: &random)
        fixture.server.period = [0, 1, 30, 3600].randomElement(using: &random) ?? 0
        var entity = Self.entity(["a"])
        fixture.begin(entity)
        for _ in 0..<60 {
            switch Int.random(in: 0..<9, using: &random) {
            case 0, 1:
                let names = ["a", "b", "c", "d"].filter { _ in Bool.random(using: &random) }
                let ports = [3260, 3261, 3262].filter { _ in Bool.random(using: &random) }
                entity = Self.entity(
                    names, ports: ports.map { UInt16($0) },
                    tags: [nil, [1], [2, 3]].randomElement(using: &random) ?? nil)
                fixture.update(entity)
            case 2: fixture.loseConnection()
            case 3: fixture.server.forget()
            case 4: fixture.isReachable.toggle()
            case 5: fixture.isTalkative.toggle()
            case 6:
                fixture.registrar.stateChanged(fixture.now)
                fixture.settle()
            case 7:
                // Hostile: a refusal of anything, and nonsense in it.
                let function =
                    [Function.deviceAttributeRegistration, .deviceAttributeQuery, .deviceDeregistration]
                    .randomElement(using: &random) ?? .entityStatusInquiry
                let transaction = (fixture.sent.last?.transactionID ?? 0) &+ UInt16.random(in: 0...1, using: &random)
                fixture.registrar.received(
                    Message(
                        function.response, flags: .server, transactionID: transaction,
                        status: ResponseStatus(
                            rawValue: [1, 2, 3, 8, 11, 12, 16, 99].randomElement(using: &random) ?? 1),
                        attributes: [.delimiter, Attribute(.portalPort, random.bytes(3))]), fixture.now)
                fixture.settle()
            default: fixture.pass(.seconds(Int.random(in: 1...100, using: &random)))
            }
        }
        fixture.isReachable = true
        fixture.isTalkative = true
        fixture.pass(.seconds(400))
        #expect(fixture.registrar.isRegistered)
        Self.expectSame(fixture.server, entity)
        fixture.registrar.stop(fixture.now)
        fixture.settle()
        #expect(fixture.isStopped)
        #expect(fixture.server.entity == nil)
    }
}
