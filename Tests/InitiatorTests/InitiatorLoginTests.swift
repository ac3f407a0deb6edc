import Authentication
import Bytes
import ISCSI
import Initiator
import Testing

/// What an initiator's settings make of its login.
@Suite("Logins of the blocking initiator") struct InitiatorLoginTests {
    private let host = CHAPCredential(name: "host", secret: Array("a secret of the host".utf8))
    private let library = CHAPCredential(name: "library", secret: Array("the library's own".utf8))

    private func target() throws -> FakeTarget {
        var behavior = FakeTarget.Behavior()
        behavior.authentication = .chap(initiators: [host], target: library, provider: .standard)
        return try FakeTarget(behavior)
    }

    private func settings(_ credential: CHAPCredential?, asking target: CHAPCredential? = nil) -> InitiatorSettings {
        var settings = InitiatorSettings(targetName: FakeTarget.name)
        settings.credential = credential
        settings.targetCredential = target
        settings.authenticationProvider = .standard
        return settings
    }

    @Test("CHAP with every algorithm, one way and both ways", arguments: CHAPAlgorithm.allCases, [false, true])
    func authentication(algorithm: CHAPAlgorithm, mutual: Bool) throws {
        let target = try target()
        var settings = settings(host, asking: mutual ? library : nil)
        settings.authenticationProvider?.algorithms = [algorithm]
        let initiator = try target.logIn(settings)
        let report = try #require(initiator.loginReport)
        #expect(report.targetParameters.contains(TextParameter("CHAP_A", "\(algorithm.rawValue)")))
        #expect(report.targetParameters.contains { $0.key == "CHAP_R" } == mutual)
        #expect(report.targetPortalGroupTag == 1)
        #expect(try initiator.ping([1]) == [1])
        #expect(try initiator.logOut() == .closed)
        #expect(target.join() == nil)
    }

    @Test("Wrong secrets, at either side")
    func wrongSecrets() throws {
        let stranger = CHAPCredential(name: "host", secret: Array("a secret of another".utf8))
        for settings in [settings(stranger), settings(nil)] {
            let target = try target()
            #expect(throws: InitiatorError.loginRefused(.authenticationFailure, address: nil)) {
                try target.logIn(settings)
            }
        }
        let impostor = CHAPCredential(name: "library", secret: Array("the library of another".utf8))
        let target = try target()
        #expect(throws: InitiatorError.authentication) { try target.logIn(settings(host, asking: impostor)) }
    }

    @Test("A further connection takes over what its session has agreed on")
    func joining() throws {
        let first = try FakeTarget()
        var settings = InitiatorSettings(targetName: FakeTarget.name)
        settings.operational.preferred.maxBurstLength = 8192
        let initiator = try first.logIn(settings)
        let report = try #require(initiator.loginReport)
        #expect(report.parameters.maxBurstLength == 8192)

        var behavior = FakeTarget.Behavior()
        behavior.joinedParameters = report.parameters
        let second = try FakeTarget(behavior)
        var joining = settings.joining(report, connectionID: 1, cmdSN: initiator.nextCmdSN)
        joining.operational.preferred.maxRecvDataSegmentLength = 4096
        let connection = try second.logIn(joining)
        var expected = report.parameters
        expected.maxRecvDataSegmentLength = 4096
        #expect(connection.parameters == expected)
        for (initiator, target) in [(initiator, first), (connection, second)] {
            #expect(try initiator.logOut() == .closed)
            #expect(target.join() == nil)
        }
    }

    @Test("Parameters of one's own are sent as they are, and any answer to them is taken")
    func additionalParameters() throws {
        let target = try FakeTarget()
        var settings = InitiatorSettings(targetName: FakeTarget.name)
        settings.additionalParameters = [
            TextParameter("X-com.example.key", "1"), TextParameter("IFMarker", "Yes"),
            TextParameter("iSCSIProtocolLevel", "32"),
        ]
        let initiator = try target.logIn(settings)
        let answers = try #require(initiator.loginReport).targetParameters
        #expect(answers.contains(TextParameter("X-com.example.key", "NotUnderstood")))
        #expect(answers.contains(TextParameter("IFMarker", "Reject")))
        #expect(answers.contains(TextParameter("iSCSIProtocolLevel", "Reject")))
        #expect(initiator.parameters.iSCSIProtocolLevel == 1)
        #expect(try initiator.logOut() == .closed)
        #expect(target.join() == nil)
    }

    @Test("A key twice ends the login")
    func repeatedKey() throws {
        let target = try FakeTarget()
        var settings = InitiatorSettings(targetName: FakeTarget.name)
        settings.additionalParameters = [TextParameter("MaxBurstLength", "512")]
        #expect(throws: InitiatorError.loginRefused(.initiatorError, address: nil)) { try target.logIn(settings) }
    }
}
