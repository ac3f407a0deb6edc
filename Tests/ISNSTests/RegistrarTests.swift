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
        var laboratory = Laboratory()
        laboratory.server.entity = "entity"
        laboratory.server.nodes = ["iqn.2026-11.x:stale"]
        let entity = Self.entity(["a", "b"], ports: [3260, 3261], tags: [2])
        laboratory.begin(entity)
        Self.expectSame(laboratory.server, entity)
        #expect(laboratory.registrar.isRegistered)
        #expect(laboratory.server.replacements == 1)
        #expect(laboratory.notices == [.registered(targets: 2, portals: 2, period: 60)])
        #expect(laboratory.server.portals.values.allSatisfy { $0 == 4000 })
        #expect(laboratory.server.notified == ["iqn.2026-11.x:a": 0xBF])
    }

    @Test("Only differences are sent later: targets, portals and tags that come, change and go")
    func differences() {
        var laboratory = Laboratory()
        laboratory.begin(Self.entity(["a", "b"]))
        for entity in [
            Self.entity(["b", "c"]), Self.entity(["b", "c"], ports: [3260, 3261]),
            Self.entity(["b", "c"], ports: [3260, 3261], tags: [1]), Self.entity(["c"], ports: [3261]),
            Self.entity([], ports: [3261]), Self.entity(["d"], ports: [3262]),
        ] {
            laboratory.update(entity)
            Self.expectSame(laboratory.server, entity)
            #expect(laboratory.registrar.isRegistered)
        }
        #expect(laboratory.server.replacements == 1)
        let count = laboratory.sent.count
        laboratory.update(Self.entity(["d"], ports: [3262]))
        #expect(laboratory.sent.count == count)
    }

    @Test("Many targets go in several messages")
    func batches() {
        var laboratory = Laboratory(followsAccess: true)
        let entity = Self.entity((0..<2000).map { "disk\($0)" }, ports: [3260, 3261])
        laboratory.begin(entity)
        Self.expectSame(laboratory.server, entity)
        let registrations = laboratory.sent.filter { $0.function == .deviceAttributeRegistration }
        #expect(registrations.count >= 10)
        #expect(registrations.allSatisfy { $0.encoded().count < Message.maximumPDUPayload })
        #expect(laboratory.access.count == 2000)
        laboratory.update(Self.entity(["one"]))
        Self.expectSame(laboratory.server, Self.entity(["one"]))
    }

    @Test("The registration is confirmed within its period, and made anew when the server forgot it")
    func confirmation() {
        var laboratory = Laboratory()
        let entity = Self.entity(["a", "b"])
        laboratory.begin(entity)
        let count = laboratory.sent.count
        laboratory.pass(.seconds(21))
        #expect(laboratory.sent.count == count + 3)
        laboratory.server.forget()
        laboratory.pass(.seconds(21))
        #expect(laboratory.notices.contains(.forgotten))
        Self.expectSame(laboratory.server, entity)
        #expect(laboratory.connections == 1)
    }

    @Test("A target and a portal that the server lost are registered again")
    func lost() {
        var laboratory = Laboratory()
        let entity = Self.entity(["a", "b"], ports: [3260, 3261])
        laboratory.begin(entity)
        laboratory.server.nodes.remove("iqn.2026-11.x:b")
        laboratory.server.tags = laboratory.server.tags.filter { $0.key.target != "iqn.2026-11.x:b" }
        laboratory.pass(.seconds(21))
        Self.expectSame(laboratory.server, entity)
        #expect(laboratory.notices.contains(.lost("iqn.2026-11.x:b")))
        let gone = entity.portals[1].key
        laboratory.server.portals[gone] = nil
        laboratory.server.tags = laboratory.server.tags.filter { $0.key.portal != gone }
        laboratory.pass(.seconds(21))
        Self.expectSame(laboratory.server, entity)
    }

    @Test("A server that forgets at once is asked again after a pause")
    func forgetful() {
        var laboratory = Laboratory(followsAccess: true)
        laboratory.isTalkative = false
        laboratory.begin(Self.entity(["a"]))
        for _ in 0..<40 {
            guard let request = laboratory.sent.last, !request.function.isResponse else { break }
            laboratory.registrar.received(
                Message(
                    request.function.response, flags: .server, transactionID: request.transactionID,
                    status: .sourceUnknown, attributes: []), laboratory.now)
            laboratory.settle()
        }
        #expect(laboratory.sent.count == 2)
        #expect(
            laboratory.notices == [
                .forgotten, .failed("the server does not keep the registration", pause: .seconds(1)),
            ])
    }

    @Test("A server that is away is tried again after one second, then two, up to a minute")
    func pauses() {
        var laboratory = Laboratory()
        laboratory.isReachable = false
        laboratory.begin(Self.entity(["a"]))
        laboratory.pass(.seconds(300))
        let pauses: [Duration] = laboratory.notices.compactMap {
            guard case .failed("refused", let pause) = $0 else { return nil }
            return pause
        }
        #expect(Array(pauses.prefix(8)) == [1, 2, 4, 8, 16, 32, 60, 60].map { Duration.seconds($0) })
        laboratory.isReachable = true
        laboratory.pass(.seconds(60))
        Self.expectSame(laboratory.server, Self.entity(["a"]))
        // The next failure begins with the shortest pause again.
        laboratory.loseConnection()
        #expect(laboratory.notices.last == .failed("closed", pause: .seconds(1)))
        laboratory.server.forget()
        laboratory.pass(.seconds(1))
        Self.expectSame(laboratory.server, Self.entity(["a"]))
        #expect(laboratory.server.replacements == 1)
    }

    @Test("A server that does not answer is left and tried again")
    func silence() {
        var laboratory = Laboratory()
        laboratory.isTalkative = false
        laboratory.begin(Self.entity(["a"]))
        laboratory.pass(.seconds(10))
        #expect(laboratory.notices == [.failed("the server does not answer DevAttrReg", pause: .seconds(1))])
        #expect(!laboratory.isConnected)
        laboratory.isTalkative = true
        laboratory.pass(.seconds(1))
        Self.expectSame(laboratory.server, Self.entity(["a"]))
    }

    @Test("Answers to what was not asked end the connection")
    func strangeAnswers() {
        for (function, difference): (Function, UInt16) in [
            (.deviceDeregistration, 0), (.deviceAttributeRegistration, 1),
        ] {
            var laboratory = Laboratory()
            laboratory.isTalkative = false
            laboratory.begin(Self.entity(["a"]))
            let transaction = (laboratory.sent.last?.transactionID ?? 0) &+ difference
            laboratory.registrar.received(
                Message(
                    function.response, flags: .server, transactionID: transaction, status: .success, attributes: []),
                laboratory.now)
            laboratory.settle()
            #expect(laboratory.notices == [.failed("the server answered what was not asked", pause: .seconds(1))])
        }
    }

    @Test("A refusal is named and tried again")
    func refusal() {
        var laboratory = Laboratory()
        laboratory.isTalkative = false
        laboratory.begin(Self.entity(["a"]))
        laboratory.registrar.received(
            Message(
                Function.deviceAttributeRegistration.response, flags: .server,
                transactionID: laboratory.sent.last?.transactionID ?? 0, status: ResponseStatus(rawValue: 8),
                attributes: []), laboratory.now)
        laboratory.settle()
        #expect(
            laboratory.notices == [
                .failed("the server refused DevAttrReg: Source Unauthorized (8)", pause: .seconds(1))
            ])
    }

    @Test("Without status inquiries and management notifications it does with less")
    func modestServer() {
        var laboratory = Laboratory()
        laboratory.server.allowsStatusInquiries = false
        laboratory.server.allowsManagement = false
        laboratory.begin(Self.entity(["a", "b"]))
        Self.expectSame(laboratory.server, Self.entity(["a", "b"]))
        #expect(laboratory.notices.contains(.noStatusInquiries))
        #expect(laboratory.server.notified == ["iqn.2026-11.x:a": 0x9C, "iqn.2026-11.x:b": 0x9C])
        laboratory = Laboratory()
        laboratory.server.allowsNotifications = false
        laboratory.begin(Self.entity(["a", "b"]))
        #expect(laboratory.registrar.isRegistered)
        #expect(laboratory.notices.last == .noNotifications(.notificationRegistrationRejected))
    }

    @Test("The initiators of each target are asked for at the start, after a notification, and now and then")
    func access() {
        var laboratory = Laboratory(followsAccess: true)
        laboratory.server.initiators = ["iqn.2026-11.x:a": ["i1", "i2"]]
        laboratory.begin(Self.entity(["a", "b"]))
        #expect(laboratory.access == ["iqn.2026-11.x:a": ["i1", "i2"], "iqn.2026-11.x:b": []])
        laboratory.server.initiators = ["iqn.2026-11.x:b": ["i2"]]
        let notification = Message(
            .stateChangeNotification, flags: .server, transactionID: 77,
            attributes: [Attribute(.iscsiName, "iqn.2026-11.x:a"), Attribute(.timestamp, [0, 0, 0, 0, 0, 0, 0, 1])])
        laboratory.registrar.received(notification, laboratory.now)
        laboratory.settle()
        #expect(laboratory.access == ["iqn.2026-11.x:a": [], "iqn.2026-11.x:b": ["i2"]])
        #expect(laboratory.sent.contains(notification.answer()))
        laboratory.server.initiators = [:]
        laboratory.pass(.seconds(15))
        #expect(laboratory.access == ["iqn.2026-11.x:a": [], "iqn.2026-11.x:b": []])
    }

    @Test("A flood of notifications causes few questions")
    func flood() {
        var laboratory = Laboratory(followsAccess: true)
        laboratory.begin(Self.entity(["a"]))
        let count = laboratory.sent.count
        for _ in 0..<1000 {
            laboratory.registrar.stateChanged(laboratory.now)
            laboratory.settle()
        }
        #expect(laboratory.sent.count == count + 2)
        laboratory.pass(.milliseconds(500))
        #expect(laboratory.sent.count == count + 4)
    }

    @Test("More initiators than the limit are cut")
    func manyInitiators() {
        var laboratory = Laboratory(followsAccess: true)
        let names = (0..<Registrar.Limit.initiators + 10).map { "i\($0)" }
        laboratory.server.initiators = ["iqn.2026-11.x:a": names]
        laboratory.begin(Self.entity(["a"]))
        #expect(laboratory.access["iqn.2026-11.x:a"]?.count == Registrar.Limit.initiators)
        #expect(laboratory.notices.contains(.tooManyInitiators(target: "iqn.2026-11.x:a")))
    }

    @Test("At the end everything is taken back; a silent server does not hold that up")
    func stop() {
        var laboratory = Laboratory()
        laboratory.begin(Self.entity(["a"]))
        laboratory.registrar.stop(laboratory.now)
        laboratory.settle()
        #expect(laboratory.isStopped)
        #expect(!laboratory.isConnected)
        Self.expectSame(laboratory.server, Self.entity([]))

        laboratory = Laboratory()
        laboratory.begin(Self.entity(["a"]))
        laboratory.isTalkative = false
        laboratory.registrar.stop(laboratory.now)
        laboratory.settle()
        #expect(!laboratory.isStopped)
        laboratory.pass(.seconds(3))
        #expect(laboratory.isStopped)
        #expect(laboratory.registrar.deadline == nil)

        laboratory = Laboratory()
        laboratory.isReachable = false
        laboratory.begin(Self.entity(["a"]))
        laboratory.registrar.stop(laboratory.now)
        laboratory.settle()
        #expect(laboratory.isStopped)
    }

    @Test("Whatever happens, in the end the server has what shall be registered", arguments: 0..<200)
    func everything(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var laboratory = Laboratory(followsAccess: Bool.random(using: &random))
        laboratory.server.allowsManagement = Bool.random(using: &random)
        laboratory.server.allowsNotifications = Bool.random(using: &random)
        laboratory.server.allowsStatusInquiries = Bool.random(using: &random)
        laboratory.server.period = [0, 1, 30, 3600].randomElement(using: &random) ?? 0
        var entity = Self.entity(["a"])
        laboratory.begin(entity)
        for _ in 0..<60 {
            switch Int.random(in: 0..<9, using: &random) {
            case 0, 1:
                let names = ["a", "b", "c", "d"].filter { _ in Bool.random(using: &random) }
                let ports = [3260, 3261, 3262].filter { _ in Bool.random(using: &random) }
                entity = Self.entity(
                    names, ports: ports.map { UInt16($0) },
                    tags: [nil, [1], [2, 3]].randomElement(using: &random) ?? nil)
                laboratory.update(entity)
            case 2: laboratory.loseConnection()
            case 3: laboratory.server.forget()
            case 4: laboratory.isReachable.toggle()
            case 5: laboratory.isTalkative.toggle()
            case 6:
                laboratory.registrar.stateChanged(laboratory.now)
                laboratory.settle()
            case 7:
                // Hostile: a refusal of anything, and nonsense in it.
                let function =
                    [Function.deviceAttributeRegistration, .deviceAttributeQuery, .deviceDeregistration]
                    .randomElement(using: &random) ?? .entityStatusInquiry
                let transaction = (laboratory.sent.last?.transactionID ?? 0) &+ UInt16.random(in: 0...1, using: &random)
                laboratory.registrar.received(
                    Message(
                        function.response, flags: .server, transactionID: transaction,
                        status: ResponseStatus(
                            rawValue: [1, 2, 3, 8, 11, 12, 16, 99].randomElement(using: &random) ?? 1),
                        attributes: [.delimiter, Attribute(.portalPort, random.bytes(3))]), laboratory.now)
                laboratory.settle()
            default: laboratory.pass(.seconds(Int.random(in: 1...100, using: &random)))
            }
        }
        laboratory.isReachable = true
        laboratory.isTalkative = true
        laboratory.pass(.seconds(400))
        #expect(laboratory.registrar.isRegistered)
        Self.expectSame(laboratory.server, entity)
        laboratory.registrar.stop(laboratory.now)
        laboratory.settle()
        #expect(laboratory.isStopped)
        #expect(laboratory.server.entity == nil)
    }
}
