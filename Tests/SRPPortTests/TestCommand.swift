import Bytes
import Fabric
import SCSI
import SRP

/// How a command says where its data is.
enum BufferForm: Equatable, CustomStringConvertible {
    case none
    case direct
    /// So many pieces, all of them in the information unit.
    case complete(Int)
    /// So many pieces, of which the second number is in the information unit.
    case partial(Int, Int)
    case immediate

    var description: String {
        switch self {
        case .none: "none"
        case .direct: "direct"
        case .complete(let count): "complete list of \(count)"
        case .partial(let count, let listed): "\(listed) of \(count) descriptors"
        case .immediate: "immediate"
        }
    }
}

/// A command of a test, with its data in an area of the initiator's memory.
struct TestCommand: Sendable {
    var cdb: [UInt8]
    var lun = 0
    var attribute = TaskAttribute.simple
    var solicitation: SRPSolicitation = []
    var dataOut: [UInt8] = []
    var outForm = BufferForm.none
    /// How much the data-in buffer holds.
    var inLength = 0
    var inForm = BufferForm.none
    /// Which area the data is in.
    var area = 0
    var immediateOffset = 80
    /// Changes descriptors before they are sent.
    var spoil: (@Sendable (inout SRPMemoryDescriptor) -> Void)?

    init(_ cdb: [UInt8]) { self.cdb = cdb }

    static let testUnitReady = TestCommand([UInt8](repeating: 0, count: 16))
    static let wait = TestCommand([0xC0] + [UInt8](repeating: 0, count: 15))
    static let letGo = TestCommand([0xC1] + [UInt8](repeating: 0, count: 15))

    static func inquiry(_ length: Int = 96, _ form: BufferForm = .direct) -> TestCommand {
        var command = TestCommand([0x12, 0, 0, 0, UInt8(length)] + [UInt8](repeating: 0, count: 11))
        command.inLength = length
        command.inForm = form
        return command
    }

    private static func transfer(_ code: UInt8, _ block: Int, _ count: Int) -> TestCommand {
        var cdb = [code, 0]
        cdb.appendBE32(UInt32(block))
        cdb.append(0)
        cdb.appendBE16(UInt16(count))
        return TestCommand(cdb + [UInt8](repeating: 0, count: 7))
    }

    static func read(_ block: Int, _ count: Int, _ form: BufferForm = .direct) -> TestCommand {
        var command = transfer(0x28, block, count)
        command.inLength = count * 512
        command.inForm = form
        return command
    }

    static func write(_ block: Int, _ data: [UInt8], _ form: BufferForm = .direct) -> TestCommand {
        var command = transfer(0x2A, block, data.count / 512)
        command.dataOut = data
        command.outForm = form
        return command
    }

    // MARK: Layout

    /// Pieces of the area for `length` bytes, from the end of the area to its start and with gaps between.
    private func pieces(_ form: BufferForm, _ length: Int) -> [(offset: Int, length: Int)] {
        let count: Int
        switch form {
        case .none, .immediate: return []
        case .direct: return [(0, length)]
        case .complete(let number), .partial(let number, _): count = number
        }
        let share = length / count
        return (0..<count).map { index in
            let own = index == 0 ? length - share * (count - 1) : share
            return ((count - 1 - index) * (share + share % 7 + 3), own)
        }
    }

    /// Where the table of descriptors is, behind all data.
    private static let tableOffset = 160 << 10

    private func buffer(
        _ form: BufferForm, _ length: Int, _ memory: TestMemory, _ area: Int
    ) -> (buffer: SRPDataBuffer, list: [SRPMemoryDescriptor]) {
        var descriptors = pieces(form, length).map { memory.descriptor(area + $0.offset, $0.length) }
        if let spoil { for index in descriptors.indices { spoil(&descriptors[index]) } }
        switch form {
        case .none: return (.none, [])
        case .immediate: return (.immediate(UInt32(length)), [])
        case .direct: return (.direct(descriptors[0]), [])
        case .complete(let count), .partial(let count, _):
            var listed = count
            if case .partial(_, let number) = form { listed = number }
            var bytes: [UInt8] = []
            for descriptor in descriptors {
                var part = [UInt8](repeating: 0, count: 16)
                part.modifyBytes { descriptor.encode(into: &$0, at: 0) }
                bytes += part
            }
            memory.fill(bytes, at: area + Self.tableOffset)
            return (
                .indirect(
                    SRPIndirectBuffer(
                        table: memory.descriptor(area + Self.tableOffset, bytes.count), dataLength: UInt32(length),
                        listCount: listed)), Array(descriptors.prefix(listed))
            )
        }
    }

    /// The information unit; data for the target is put where it belongs.
    func encoded(tag: UInt64, _ memory: TestMemory, area: Int) -> [UInt8] {
        var command = SRPCommand(cdb: CommandDescriptorBlock(cdb))
        command.tag = tag
        command.solicitation = solicitation
        command.logicalUnitNumber = LogicalUnitNumber(lun)
        command.taskAttribute = attribute
        command.immediateDataOffset = immediateOffset
        let out = buffer(outForm, dataOut.count, memory, area)
        let into = buffer(inForm, inLength, memory, area + (outForm == .none ? 0 : 80 << 10))
        command.dataOut = out.buffer
        command.dataIn = into.buffer
        var data = dataOut
        for piece in pieces(outForm, dataOut.count) {
            memory.fill(Array(data.prefix(piece.length)), at: area + piece.offset)
            data.removeFirst(min(piece.length, data.count))
        }
        var bytes = [UInt8](repeating: 0, count: command.length)
        bytes.modifyBytes { target in
            command.encode(into: &target)
            for (index, descriptor) in out.list.enumerated() {
                descriptor.encode(into: &target, at: command.dataOutList.lowerBound + index * 16)
            }
            for (index, descriptor) in into.list.enumerated() {
                descriptor.encode(into: &target, at: command.dataInList.lowerBound + index * 16)
            }
            if let range = command.immediateData { target.store(dataOut.rawSpan, at: range.lowerBound) }
        }
        return bytes
    }

    /// The first `count` bytes of the data-in buffer.
    func gather(_ memory: TestMemory, area: Int, count: Int) -> [UInt8] {
        let start = area + (outForm == .none ? 0 : 80 << 10)
        var data: [UInt8] = []
        for piece in pieces(inForm, inLength) { data += memory.bytes(start + piece.offset, piece.length) }
        return Array(data.prefix(count))
    }
}
