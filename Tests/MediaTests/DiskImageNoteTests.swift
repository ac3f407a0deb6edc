import DeviceTestSupport
import Platform
import TestSupport
import Testing

@testable import Media

@Suite("What a disk image keeps besides its blocks")
struct DiskImageNoteTests {
    private let engine = SimulatedEngine()
    private let failure = MediaFailure.device(Errno.inputOutput)
    private let before: [UInt8] = [1, 2, 3]
    private let after: [UInt8] = [4, 5]

    private func image(_ store: SimulatedStore) -> RawDiskImage {
        RawDiskImage(store: store, engine: engine, path: "test", blockSize: 512, capacity: store.size())
    }

    private func store(_ notes: [StoreNoteKey: [UInt8]] = [:]) -> SimulatedStore {
        SimulatedStore(
            [UInt8](repeating: 9, count: 4096), forgetsAfterFailedSynchronization: true, notes: notes)
    }

    private func perform(_ image: RawDiskImage, _ prepare: (FileRequest) -> Void) -> MediaResult {
        let runner = RequestRunner()
        runner.run(in: image.lane, prepare)
        return image.outcome(of: runner.request)
    }

    /// The ways to change the note of the operation.
    private var ways: [(RawDiskImage, [UInt8]?, [UInt8]?) -> MediaFailure?] {
        [
            { $0.keep(operation: $1, insteadOf: $2) },
            { image, note, previous in
                let result = self.perform(image) {
                    image.prepareKeeping($0, operation: note, insteadOf: previous)
                }
                return if case .failed(let failure) = result { failure } else { nil }
            },
        ]
    }

    @Test("A change that fails at any step leaves the note that was there, and at most one loss")
    func failingSteps() {
        for keep in ways {
            for (previous, note) in [(nil, after), (before, after), (before, nil)] as [([UInt8]?, [UInt8]?)] {
                for call in 1...3 {
                    let store = store(previous.map { [.operation: $0] } ?? [:])
                    let image = image(store)
                    let losses = Lock(0)
                    image.observeLosses { _ in losses.withLock { $0 += 1 } }
                    store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
                    let found = keep(image, note, previous)
                    // The note is the first call that changes something, its synchronisation the second.
                    #expect(found == (call < 3 ? failure : nil))
                    #expect(store.notes[.operation] == (call < 3 ? previous : note), "call \(call)")
                    #expect(image.loss == (call == 2 ? failure : nil))
                    #expect(losses.withLock { $0 } == (call == 2 ? 1 : 0))
                }
            }
        }
    }

    @Test("What cannot be put back either is one loss")
    func failingWithdrawal() {
        for putsBack in [false, true] {
            let store = store([.operation: before])
            let image = image(store)
            let losses = Lock(0)
            image.observeLosses { _ in losses.withLock { $0 += 1 } }
            if putsBack {
                store.failSynchronizations(Errno.inputOutput)
            } else {
                store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: true)
            }
            #expect(image.keep(operation: after, insteadOf: before) == failure)
            #expect(image.loss == failure)
            #expect(losses.withLock { $0 } == 1)
            store.stopFailing()
            #expect(store.notes[.operation] == (putsBack ? before : after))
            #expect(image.acknowledgeLoss() == nil)
            #expect(image.keep(operation: after, insteadOf: before) == nil)
            #expect(store.notes[.operation] == after)
        }
    }

    /// An image with a loss that nobody has acknowledged.
    private func lossy(_ store: SimulatedStore) -> RawDiskImage {
        let image = image(store)
        store.failSynchronizations(Errno.inputOutput)
        #expect(image.synchronize() == failure)
        store.stopFailing()
        return image
    }

    @Test("After a loss nothing is touched until it is acknowledged")
    func afterLoss() {
        for keep in ways {
            let store = store([.operation: before])
            let image = lossy(store)
            let calls = store.callCount
            #expect(keep(image, after, before) == failure)
            #expect(keep(image, nil, before) == failure)
            #expect(perform(image) { image.prepareMarking($0, first: 3) } == .failed(failure))
            #expect(store.callCount == calls)
            #expect(store.notes == [.operation: before])
            #expect(!image.hasMarks)
            #expect(image.acknowledgeLoss() == nil)
            #expect(keep(image, after, before) == nil)
            #expect(store.notes == [.operation: after])
        }
    }

    @Test("That an operation has failed is kept with a loss and without one, and with the loss that comes with it")
    func failedOperation() {
        do {
            let store = store([.operation: before])
            #expect(image(store).keep(failedOperation: after) == nil)
            #expect(store.notes[.operation] == after)
        }
        do {
            let store = store([.operation: before])
            let image = lossy(store)
            #expect(image.keep(failedOperation: after) == nil)
            #expect(store.notes[.operation] == after)
            #expect(image.loss == failure)
            store.failNotes(Errno.noSpace)
            #expect(image.keep(failedOperation: before) == .hostFull)
        }
        do {
            let store = store([.operation: before])
            let image = image(store)
            store.fail(at: 2, errorNumber: Errno.inputOutput, fromThenOn: false)
            #expect(image.keep(failedOperation: after) == nil)
            #expect(store.notes[.operation] == after)
            #expect(image.loss == failure)
        }
        let store = store([.operation: before])
        let image = image(store)
        store.failNotes(Errno.noSpace)
        #expect(image.keep(failedOperation: after) == .hostFull)
        #expect(store.notes[.operation] == before)
        #expect(image.loss == nil)
    }

    @Test("A mark that cannot be kept, or cannot be taken away, leaves the note and the marks as they were")
    func marks() {
        for call in 1...2 {
            for removes in [false, true] {
                let store = store()
                let image = image(store)
                for block in [5, 2] as [UInt64] {
                    #expect(perform(image) { image.prepareMarking($0, first: block) } == .done)
                }
                let note = BlockMarks.note([2, 5])
                #expect(store.notes[.markedBlocks] == note)
                store.fail(at: call, errorNumber: Errno.inputOutput, fromThenOn: false)
                if removes {
                    #expect(image.removeMarks() == failure)
                } else {
                    #expect(perform(image) { image.prepareMarking($0, first: 3) } == .failed(failure))
                }
                #expect(store.notes[.markedBlocks] == note)
                #expect(image.isMarked(2) && image.isMarked(5) && !image.isMarked(3))
                #expect(image.loss == (call == 2 ? failure : nil))
            }
        }
    }

    @Test("A file that has become shorter takes no note")
    func truncated() {
        let store = store([.operation: before])
        let image = image(store)
        #expect(store.truncate(to: 1024) == 0)
        #expect(image.keep(operation: after, insteadOf: before) == .truncated)
        #expect(store.notes[.operation] == before)
        #expect(image.loss == .truncated)
    }
}
