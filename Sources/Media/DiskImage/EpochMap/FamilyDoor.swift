internal import Platform
internal import Synchronization

/// By which reactors come to the family of a file, or turn away: one look whether it is open, and one counter of those
/// inside, which is also that of who looks into the maps. No lock, no reference counted.
///
/// Whoever changes what they find closes it first, and has waited then until all are out.
@safe final class FamilyDoor: Sendable {
    /// Those inside; all families of the file have it for their maps.
    let grace: Grace
    /// How many keep it closed.
    private let closings = Atomic<Int>(0)
    /// The address of the family, which the file holds.
    private let family: Atomic<UInt>

    /// A door to `family`, which the caller holds.
    init(to family: DiskFamily) {
        grace = family.memory.grace
        self.family = Atomic(Self.address(family))
    }

    private static func address(_ family: DiskFamily) -> UInt {
        unsafe UInt(bitPattern: Unmanaged.passUnretained(family).toOpaque())
    }

    /// Has another family take the place of the former, which may go then, while the door is closed. It has `grace`.
    func lead(to family: DiskFamily) {
        self.family.store(Self.address(family), ordering: .releasing)
    }

    /// What `body` gives, inside; `otherwise` when the door is closed. It does not wait.
    @inline(__always)
    func pass<Value>(otherwise: Value, _ body: (DiskFamily) -> Value) -> Value {
        // Without being counted: most of the time it is open, and who closes it waits for nobody in vain.
        guard closings.load(ordering: .relaxed) == 0 else { return otherwise }
        let pass = grace.enter()
        defer { grace.leave(pass) }
        // Who closes it from now on waits for this thread.
        guard closings.load(ordering: .sequentiallyConsistent) == 0,
            let address = unsafe UnsafeRawPointer(bitPattern: family.load(ordering: .acquiring))
        else { return otherwise }
        return unsafe Unmanaged<DiskFamily>.fromOpaque(address)._withUnsafeGuaranteedRef(body)
    }

    /// From its return to `open` nobody is inside, and nobody reads. Several may have it closed at a time. Not for
    /// anybody who is inside of the grace.
    func close() {
        closings.add(1, ordering: .sequentiallyConsistent)
        grace.wait()
    }

    func open() { closings.subtract(1, ordering: .sequentiallyConsistent) }
}
