import Authentication
import ISCSI
import Testing

/// Logins of the initiator's machine at the target's, with the real digests.
@Suite("CHAP with real digests")
struct LoginTests {
    private let initiators = ["alice", "bob"].map {
        CHAPCredential(name: $0, secret: Array("\($0)'s secret bytes".utf8))
    }
    private let target = CHAPCredential(name: "library", secret: Array("the library's own".utf8))

    private var policy: AuthenticationPolicy {
        .chap(initiators: initiators, target: target, provider: .standard)
    }

    @Test("Every algorithm, one way and both ways", arguments: CHAPAlgorithm.allCases, [false, true])
    func algorithms(algorithm: CHAPAlgorithm, mutual: Bool) throws {
        for credential in initiators {
            let (name, failure) = try policy.logIn(
                as: credential, asking: mutual ? target : nil, algorithms: [algorithm])
            #expect(name == credential.name && failure == nil)
        }
        let wrong = CHAPCredential(name: "alice", secret: initiators[1].secret)
        #expect(
            try policy.logIn(as: wrong, asking: nil, algorithms: [algorithm]).failure
                == .refused(.authenticationFailure))
        let impostor = CHAPCredential(name: "library", secret: Array("another library's".utf8))
        let (_, failure) = try policy.logIn(as: initiators[0], asking: impostor, algorithms: [algorithm])
        #expect(failure == .authentication)
    }

    @Test("The policy of these tests is a valid one")
    func isValid() {
        #expect(throws: Never.self) { try AuthenticationPolicy.validate(initiators: initiators, target: target) }
    }
}
