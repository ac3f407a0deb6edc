internal import Bytes
internal import Platform
internal import SCSI

/// The buffers that READ BUFFER and WRITE BUFFER move data to and from, to test what is in between. Any thread.
///
/// They take memory when they are first written.
final class UnitBuffers: Sendable {
    enum Limit {
        /// The length of the echo buffer, in bytes.
        static let echo = 4096
        /// The length of data buffer 0, in bytes.
        static let data = 8192
    }

    private struct State {
        var echo: [UInt8] = []
        /// Who has written the echo buffer last.
        var writer: Registrant?
        var data: [UInt8] = []
    }
    private let state = Lock(State())

    func writeEcho(_ bytes: [UInt8], of nexus: ITLNexus) {
        state.withLock { state in
            state.echo = bytes
            state.writer = nexus.registrant
        }
    }

    /// What the nexus has written to the echo buffer; nil when somebody else has written it since, and empty when
    /// nobody has written it.
    func echo(of nexus: ITLNexus) -> [UInt8]? {
        state.withLock { state in
            state.writer == nil ? [] : state.writer == nexus.registrant ? state.echo : nil
        }
    }

    /// `offset + bytes.count` is at most `Limit.data`.
    func writeData(_ bytes: [UInt8], at offset: Int) {
        state.withLock { state in
            if state.data.isEmpty { state.data = [UInt8](repeating: 0, count: Limit.data) }
            state.data.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
    }

    /// The bytes of the data buffer from `offset` on, which is at most `Limit.data`.
    func data(from offset: Int) -> [UInt8] {
        state.withLock { state in
            state.data.isEmpty ? [UInt8](repeating: 0, count: Limit.data - offset) : Array(state.data[offset...])
        }
    }
}

/// READ BUFFER(10) and WRITE BUFFER (SPC-5 clauses 6.18 and 6.49): a data buffer and the echo buffer. Where the
/// profile accepts no microcode, the modes that download some are refused.
extension LogicalUnit {
    /// MODE of READ BUFFER and WRITE BUFFER.
    private enum BufferMode {
        static let data: UInt8 = 0x02
        static let descriptor: UInt8 = 0x03
        static let echo: UInt8 = 0x0A
        static let echoDescriptor: UInt8 = 0x0B
    }

    /// MODE SPECIFIC of WRITE BUFFER, in byte 1 of the command.
    static let modeSpecific: UInt8 = 0xE0

    func readBuffer(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let identifier = block[2]
        let offset = Int(block.bytes.loadBE24(at: 3))
        let allocationLength = Int(block.bytes.loadBE24(at: 6))
        switch block[1] {
        case BufferMode.data:
            guard identifier == 0 else { return task.failInvalidField(byte: 2) }
            guard offset <= UnitBuffers.Limit.data else { return task.failInvalidField(byte: 3) }
            return task.answer(buffers.data(from: offset), allocationLength: allocationLength)
        case BufferMode.descriptor:
            // OFFSET BOUNDARY 0: any byte. Of a buffer that there is not, all is zero.
            var bytes: [UInt8] = [0]
            bytes.appendBE24(identifier == 0 ? UInt32(UnitBuffers.Limit.data) : 0)
            return task.answer(bytes, allocationLength: allocationLength)
        case BufferMode.echo:
            // BUFFER ID and BUFFER OFFSET are ignored.
            guard let echo = buffers.echo(of: nexus) else { return task.fail(.abortedCommand, .echoBufferOverwritten) }
            guard !echo.isEmpty else { return task.fail(.illegalRequest, .commandSequenceError) }
            return task.answer(echo, allocationLength: allocationLength)
        case BufferMode.echoDescriptor:
            // EBOS: who finds the data of others is told so.
            var bytes: [UInt8] = [0x01, 0]
            bytes.appendBE16(UInt16(UnitBuffers.Limit.echo))
            return task.answer(bytes, allocationLength: allocationLength)
        default: return task.failInvalidField(byte: 1, bit: 4)
        }
    }

    func beginWriteBuffer(_ task: SCSITask) -> CommandProgress {
        let block = task.commandDescriptorBlock
        let offset = Int(block.bytes.loadBE24(at: 3))
        let length = Int(block.bytes.loadBE24(at: 6))
        if let mode = microcodeMode(task) { return beginMicrocode(task, mode) }
        // MODE SPECIFIC is for modes of microcode.
        let specific = block[1] & Self.modeSpecific
        guard specific == 0 else { return task.failInvalidField(byte: 1, bit: 7 - specific.leadingZeroBitCount) }
        switch block[1] {
        case BufferMode.data:
            guard block[2] == 0 else { return task.failInvalidField(byte: 2) }
            guard offset <= UnitBuffers.Limit.data else { return task.failInvalidField(byte: 3) }
            guard length <= UnitBuffers.Limit.data - offset else { return task.failInvalidField(byte: 6) }
        case BufferMode.echo:
            guard length <= UnitBuffers.Limit.echo else { return task.failInvalidField(byte: 6) }
        default: return task.failInvalidField(byte: 1, bit: 4)
        }
        return .awaitDataOut(length: length)
    }

    func writeBuffer(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        if let mode = microcodeMode(task) { return downloadMicrocode(task, nexus, mode) }
        let block = task.commandDescriptorBlock
        let bytes = task.parameterList()
        guard !bytes.isEmpty else { return task.good() }
        if block[1] == BufferMode.echo {
            buffers.writeEcho(bytes, of: nexus)
        } else {
            buffers.writeData(bytes, at: Int(block.bytes.loadBE24(at: 3)))
        }
        return task.good()
    }
}
