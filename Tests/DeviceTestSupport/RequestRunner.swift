internal import Dispatch
public import Platform

/// Has requests performed one at a time and waits for each.
public final class RequestRunner: FileRequestOwner, @unchecked Sendable {
    /// The request, with its result and its lease when `run` is back.
    public private(set) lazy var request = FileRequest(owner: self)
    private let done = DispatchSemaphore(value: 0)

    public init() {}

    /// Prepares the request, has it performed in `lane`, and waits until it has come back to `reactor`.
    public func run(in lane: Lane, on reactor: Reactor = TestReactors.first, _ prepare: (FileRequest) -> Void) {
        prepare(request)
        // The reactor's thread does nothing else with the request.
        lane.submitContinuation(request, on: reactor)
        done.wait()
    }

    /// Lets `run` go on.
    public func fileRequestCompleted(_ request: FileRequest) {
        done.signal()
    }
}
