import Foundation
import ManagementTestSupport
import Platform
import Resources
import Testing

@testable import Management

@Suite("Jobs")
struct JobTests {
    let fixture: ControllerFixture
    let controller: Controller

    init() throws {
        fixture = try ControllerFixture()
        controller = fixture.controller
    }

    private func spec(cartridges: Int) -> Library.Spec {
        Library.Spec(
            profile: "p", drives: 1, driveProfile: "d", slots: max(cartridges, 1), mailSlots: 0, cartridges: cartridges,
            firstBarcode: "B00001L8", cartridgeSize: 1 << 20)
    }

    @Test("a creation tells how far it is, and ends done")
    func progress() async throws {
        let job = try await controller.startCreation(ofLibrary: "big", spec(cartridges: 200))
        var last: JobSummary?
        for await summary in try controller.followJob(job.id) {
            if let last { #expect(summary.done >= last.done) }
            last = summary
        }
        let ended = try #require(last)
        #expect(ended.state == .done)
        #expect(ended.done == 200 && ended.total == 200)
        #expect(ended.rate ?? 0 > 0 && ended.remaining == nil && ended.ended != nil)
        #expect((ended.verb, ended.kind, ended.name) == ("create", "library", "big"))
        #expect(try controller.job(job.id) == ended)
        #expect(controller.jobSummaries() == [ended])
        try await controller.finish(job.id)
        #expect(try await controller.libraries().map(\.name) == ["big"])
        let deletion = try await controller.startDeletion(ofLibrary: "big")
        try await controller.finish(deletion.id)
        #expect(try await controller.libraries().isEmpty)
        #expect(try controller.job(deletion.id).total == 200)
    }

    @Test("what is wrong is refused at once, and what fails later says why")
    func failures() async throws {
        try await fixture.makeLibrary()
        let before = controller.jobSummaries().count
        let refused = await fixture.refusal {
            try await controller.startCreation(ofLibrary: "vtl", spec(cartridges: 1))
        }
        #expect(refused?.code == .conflict)
        #expect(controller.jobSummaries().count == before)
        fixture.devices.fail(atCartridge: "B00003L8")
        let job = try await controller.startCreation(ofLibrary: "big", spec(cartridges: 4))
        let failure = await fixture.refusal { try await controller.finish(job.id) }
        #expect(failure?.message.contains("no space") == true)
        let ended = try controller.job(job.id)
        #expect(ended.state == .failed)
        #expect(ended.problem == failure?.message)
        #expect(await fixture.refusal { try controller.cancelJob(job.id) }?.code == .conflict)
        #expect(await fixture.refusal { try controller.job(99) }?.code == .notFound)
        #expect(fixture.files().allSatisfy { !$0.contains("big") })
    }

    @Test("a creation that is cancelled leaves nothing behind")
    func cancellation() async throws {
        let barrier = fixture.devices.hang(atCartridge: "B00002L8")
        let job = try await controller.startCreation(ofLibrary: "big", spec(cartridges: 200))
        await barrier.waitForArrival()
        #expect(try controller.job(job.id).canBeCancelled)
        #expect(try controller.cancelJob(job.id).state == .running)
        barrier.open()
        #expect(await fixture.refusal { try await controller.finish(job.id) } == Job.wasCancelled)
        #expect(try controller.job(job.id).state == .cancelled)
        #expect(try await controller.libraries().isEmpty)
        #expect(fixture.files().allSatisfy { !$0.contains("big") })
        #expect(try await controller.events().isEmpty)
        #expect(try await controller.status().problems.isEmpty)
        try await controller.createLibrary("big", spec(cartridges: 3))
    }

    @Test("one that waits is cancelled before it begins; a deletion that runs is not")
    func waiting() async throws {
        let barrier = fixture.devices.hang(atCartridge: "B00001L8")
        let first = try await controller.startCreation(ofLibrary: "big", spec(cartridges: 1))
        await barrier.waitForArrival()
        let second = try await controller.startDeletion(ofLibrary: "big")
        #expect(try controller.job(second.id).state == .waiting)
        _ = try controller.cancelJob(second.id)
        #expect(await fixture.refusal { try await controller.finish(second.id) } == Job.wasCancelled)
        #expect(try controller.job(second.id).state == .cancelled)
        #expect(try controller.job(second.id).began == nil)
        barrier.open()
        try await controller.finish(first.id)
        let end = fixture.devices.hangAtDeletion()
        let deletion = try await controller.startDeletion(ofLibrary: "big")
        await end.waitForArrival()
        #expect(try !controller.job(deletion.id).canBeCancelled)
        #expect(await fixture.refusal { try controller.cancelJob(deletion.id) }?.code == .conflict)
        end.open()
        try await controller.finish(deletion.id)
        #expect(try await controller.libraries().isEmpty)
    }

    @Test("the end of the daemon ends a creation, and leaves nothing of it")
    func stopping() async throws {
        let barrier = fixture.devices.hang(atCartridge: "B00001L8")
        let job = try await controller.startCreation(ofLibrary: "big", spec(cartridges: 100))
        await barrier.waitForArrival()
        let end = Task { await controller.shutDown() }
        while try !controller.jobs.job(job.id).isStopping { await Task.yield() }
        barrier.open()
        _ = await end.value
        #expect(try controller.job(job.id).state == .cancelled)
        #expect(fixture.files().allSatisfy { !$0.contains("big") })
    }

    @Test("those that have ended are kept up to a limit, and not more than a limit are under way")
    func limits() async throws {
        let registry = JobRegistry()
        let subject = Job.Subject(verb: "create", kind: "library", name: "a", unit: "cartridges")
        for _ in 0..<JobRegistry.maximumEnded + 5 {
            let job = try registry.start(subject, total: 0) { _ in }
            for await _ in job.follow() {}
        }
        while registry.summaries.count > JobRegistry.maximumEnded { await Task.yield() }
        #expect(registry.summaries.first?.id == 6)
        let isOver = Lock(false)
        let jobs = try (0..<JobRegistry.maximumJobs).map { _ in
            try registry.start(subject, total: 0) { _ in while !isOver.withLock({ $0 }) { await Task.yield() } }
        }
        #expect(throws: ManagementError.self) { try registry.start(subject, total: 0) { _ in } }
        isOver.withLock { $0 = true }
        for job in jobs { for await _ in job.follow() {} }
    }
}
