import Platform
import Resources

/// What a requester takes the generation of a thing to be: the change that it asks for is made in no other case.
///
/// It is checked twice where the change is made. First when the change has its keys: no other request changes the thing
/// from then on. Then at its first effect, whatever that is (`Effect`), for initiators move cartridges at any time: in
/// a transaction of the catalog, or before a file or a device is touched. What is done afterwards changes the
/// generation itself, so it is not checked any more. A move is checked before the robot gets it, and not in the
/// transaction that the robot makes on a thread of its own: that one refuses what does not lie where the move begins.
final class Precondition: Sendable {
    /// What the present task or thread is to keep to.
    @TaskLocal static var current: Precondition?

    private enum State {
        case untouched
        case checked
        /// The first effect has begun, or was made if it is a transaction.
        case settled
    }

    private let thing: String
    private let expected: Set<Int64>
    private let present: @Sendable () throws(ManagementError) -> Int64?
    private let state = Lock(State.untouched)
    private let failure = Lock<ManagementError?>(nil)

    /// - Parameters:
    ///   - thing: The thing for sentences: `disk 'a'`.
    ///   - expected: The generations that will do.
    ///   - present: Its generation as it is. Refuses what is not there; may wait for the catalog.
    init(
        _ thing: String, expected: Set<Int64>, present: @escaping @Sendable () throws(ManagementError) -> Int64?
    ) {
        self.thing = thing
        self.expected = expected
        self.present = present
    }

    /// Whether anybody has asked.
    var wasChecked: Bool { state.withLock { $0 != .untouched } }

    /// Refuses when the thing is there in another generation. Called by a change that has its keys.
    func check() throws(ManagementError) {
        guard state.withLock({ $0 != .settled }) else { return }
        try compare()
        state.withLock { $0 = .checked }
    }

    /// The same where the first effect may be; `settle` has to follow when it is one.
    func checkBeforeEffect() throws(ManagementError) {
        guard state.withLock({ $0 == .checked }) else { return }
        do throws(ManagementError) {
            try compare()
        } catch {
            failure.withLock { $0 = error }
            throw error
        }
    }

    /// Says that there was an effect: from now on the thing has another generation. One that was refused is none.
    func settle() { state.withLock { $0 = $0 == .checked ? .settled : $0 } }

    /// Why an effect was refused, which others may have told in other words.
    var refusal: ManagementError? { failure.withLock { $0 } }

    private static func noGeneration(_ thing: String) -> ManagementError {
        ManagementError(.outdated, "\(thing) has no generation, so it cannot be the expected one")
    }

    private func compare() throws(ManagementError) {
        guard let generation = try present() else { throw Self.noGeneration(thing) }
        guard !expected.contains(generation) else { return }
        let others = expected.sorted().map(String.init).joined(separator: " or ")
        throw ManagementError(
            .outdated,
            "\(thing) has generation \(generation) now" + (others.isEmpty ? "" : ", not \(others)")
                + "; look at it again, and repeat the request if it still makes sense", generation: generation)
    }

    /// Does `body`, which changes the thing `name`; only when that has one of `generations`, unless nil.
    static func keep<D: Driver, Value>(
        _ generations: Set<Int64>?, of driver: D, _ name: String,
        _ body: () async throws(ManagementError) -> Value
    ) async throws(ManagementError) -> Value {
        guard let generations else { return try await body() }
        let kind = D.Kind.description
        guard kind.hasGenerations else {
            throw noGeneration("\(kind.singular) '\(name)'")
        }
        let precondition = Precondition("\(kind.singular) '\(name)'", expected: generations) {
            () throws(ManagementError) in try driver.generation(of: name)
        }
        let outcome: Result<Value, ManagementError> = await $current.withValue(precondition) {
            do throws(ManagementError) { return .success(try await body()) } catch { return .failure(error) }
        }
        let value = try outcome.get()
        guard precondition.wasChecked else {
            throw ManagementError(.internal, "\(kind.singular) '\(name)' was changed whatever its generation was")
        }
        return value
    }
}
