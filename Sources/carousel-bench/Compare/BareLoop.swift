internal import CBench
internal import Glibc
internal import Platform

/// The bare responder of module `CBench` in this process: what any target could reach that answers from the page cache,
/// by system calls or from a mapping.
@safe final class BareLoop: Sendable {
    // Safe: made in init, ended in deinit, and any thread may ask its clock in between.
    private nonisolated(unsafe) let loop: OpaquePointer
    /// Its only unit.
    let unit: LogicalUnitURL

    /// Serves the file at `path`, whose length is a multiple of 512.
    init(path: String, isMapped: Bool) throws {
        var port: UInt16 = 0
        guard let loop = unsafe cbench_loop_start(path, isMapped ? 1 : 0, &port) else {
            throw SystemError(code: errno, operation: "serve", path: path)
        }
        guard let unit = LogicalUnitURL(argument: "iscsi://127.0.0.1:\(port)/iqn.2026-11.dev.carousel:floor/0") else {
            preconditionFailure("the address of the bare loop is one")
        }
        unsafe self.loop = loop
        self.unit = unit
    }

    /// The processor time of its thread.
    var processorNanoseconds: Int64 { unsafe cbench_loop_nanoseconds(loop) }

    deinit {
        unsafe cbench_loop_stop(loop)
    }
}
