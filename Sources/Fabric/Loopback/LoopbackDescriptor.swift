internal import CPlatform
internal import Platform

/// A descriptor that becomes readable when the loopback provider has something to say.
final class LoopbackDescriptor {
    let fileDescriptor: Int32

    init() throws(FabricError) {
        fileDescriptor = cplatform_eventfd()
        if fileDescriptor < 0 {
            throw FabricError(SystemError(code: -fileDescriptor, operation: "make a descriptor"))
        }
    }

    deinit {
        _ = cplatform_close(fileDescriptor)
    }

    /// Makes it readable.
    func signal() { _ = cplatform_eventfd_signal(fileDescriptor) }
    /// Makes it unreadable.
    func clear() { _ = cplatform_eventfd_clear(fileDescriptor) }
}
