internal import CPlatform
internal import Platform

/// A descriptor that becomes readable when the loopback provider has something to say.
final class LoopbackDescriptor {
    let fileDescriptor: Int32
    private var isReadable = false

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
    func signal() {
        if isReadable { return }
        isReadable = true
        _ = cplatform_eventfd_signal(fileDescriptor)
    }

    /// Makes it unreadable.
    func clear() {
        guard isReadable else { return }
        isReadable = false
        _ = cplatform_eventfd_clear(fileDescriptor)
    }
}
