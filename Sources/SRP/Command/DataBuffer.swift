internal import Bytes

/// Where the data of one direction of a command is (SRP r16a clause 6.8; immediate data: SRP-2, as Linux has it).
@frozen public enum SRPDataBuffer: Hashable, Sendable {
    /// There is none.
    case none
    /// In one piece of memory.
    case direct(SRPMemoryDescriptor)
    /// In as many pieces as a table has descriptors.
    case indirect(SRPIndirectBuffer)
    /// In the information unit itself; the length is in bytes. Only data-out may be there.
    case immediate(UInt32)

    /// The length of the descriptor of immediate data, in bytes.
    public static let immediateDescriptorLength = 4

    /// DATA-OUT or DATA-IN BUFFER DESCRIPTOR FORMAT, four bits.
    @inlinable
    public var formatCode: UInt8 {
        switch self {
        case .none: 0
        case .direct: 1
        case .indirect: 2
        case .immediate: 3
        }
    }

    /// How many bytes of data there may be.
    @inlinable
    public var dataLength: UInt32 {
        switch self {
        case .none: 0
        case .direct(let descriptor): descriptor.dataLength
        case .indirect(let buffer): buffer.dataLength
        case .immediate(let length): length
        }
    }

    /// How many bytes of the information unit describe the buffer: descriptors, without immediate data.
    @inlinable
    public var descriptorLength: Int {
        switch self {
        case .none: 0
        case .direct: SRPMemoryDescriptor.length
        case .indirect(let buffer): SRPIndirectBuffer.fixedLength + buffer.listCount * SRPMemoryDescriptor.length
        case .immediate: Self.immediateDescriptorLength
        }
    }

    /// DATA-OUT or DATA-IN BUFFER DESCRIPTOR COUNT: the descriptors of a partial list, else 0.
    var listCount: Int {
        if case .indirect(let buffer) = self { buffer.listCount } else { 0 }
    }

    /// The buffer of that format, known to be a right one, whose description is at `offset` of `bytes` and may go on
    /// to `limit`.
    init(_ bytes: RawSpan, at offset: Int, formatCode: UInt8, listCount: Int, limit: Int) throws(SRPError) {
        func need(_ count: Int) throws(SRPError) {
            guard offset + count <= limit else { throw .descriptorsDoNotFit(end: offset + count, limit: limit) }
        }
        switch formatCode {
        case 1:
            try need(SRPMemoryDescriptor.length)
            self = .direct(SRPMemoryDescriptor(bytes, at: offset))
        case 2:
            try need(SRPIndirectBuffer.fixedLength + listCount * SRPMemoryDescriptor.length)
            let buffer = SRPIndirectBuffer(
                table: SRPMemoryDescriptor(bytes, at: offset), dataLength: bytes.loadBE32(at: offset + 16),
                listCount: listCount)
            try buffer.checkCounts()
            if buffer.isListComplete {
                let start = offset + SRPIndirectBuffer.fixedLength
                let end = start + listCount * SRPMemoryDescriptor.length
                try buffer.check(SRPDescriptorList(bytes.extracting(start..<end)))
            }
            self = .indirect(buffer)
        case 3:
            try need(Self.immediateDescriptorLength)
            self = .immediate(bytes.loadBE32(at: offset))
        default:
            self = .none
        }
    }

    /// Writes the description at `offset` of `bytes`, without the descriptors of a partial list.
    @_lifetime(bytes: copy bytes)
    func encode(into bytes: inout MutableRawSpan, at offset: Int) {
        switch self {
        case .none: break
        case .direct(let descriptor): descriptor.encode(into: &bytes, at: offset)
        case .indirect(let buffer):
            buffer.table.encode(into: &bytes, at: offset)
            bytes.storeBE32(buffer.dataLength, at: offset + 16)
        case .immediate(let length): bytes.storeBE32(length, at: offset)
        }
    }
}

/// An indirect data buffer: a table of memory descriptors in the initiator's memory, the beginning of which, or all,
/// stands in the information unit too (SRP r16a clause 6.8; Linux, `struct srp_indirect_buf`).
@frozen public struct SRPIndirectBuffer: Hashable, Sendable {
    /// The length of what stands before the partial list, in bytes.
    public static let fixedLength = 20

    /// INDIRECT TABLE MEMORY DESCRIPTOR: where the whole table is.
    public var table: SRPMemoryDescriptor
    /// TOTAL DATA LENGTH, in bytes.
    public var dataLength: UInt32
    /// How many descriptors of the table stand in the information unit (PARTIAL MEMORY DESCRIPTOR LIST).
    public var listCount: Int

    @inlinable
    public init(table: SRPMemoryDescriptor, dataLength: UInt32, listCount: Int) {
        self.table = table
        self.dataLength = dataLength
        self.listCount = listCount
    }

    /// How many descriptors the table has.
    @inlinable
    public var tableCount: Int { Int(table.dataLength) / SRPMemoryDescriptor.length }

    /// Whether the information unit has the whole table; otherwise an RDMA Read brings it.
    @inlinable
    public var isListComplete: Bool { listCount == tableCount }

    /// Refuses a table that does not consist of descriptors, and one that is shorter than its own beginning.
    func checkCounts() throws(SRPError) {
        guard table.dataLength % UInt32(SRPMemoryDescriptor.length) == 0 else { throw .tableLength(table.dataLength) }
        guard listCount <= tableCount else { throw .listLongerThanTable(list: listCount, table: tableCount) }
    }

    /// Refuses the whole table, `list`, when it has room for fewer bytes than the buffer shall have. Parsing has
    /// checked it when `isListComplete`; a table that was fetched is checked here.
    public func check(_ list: borrowing SRPDescriptorList) throws(SRPError) {
        let room = list.dataLength
        guard room >= Int(dataLength) else { throw .listTooShort(bytes: room, total: dataLength) }
    }
}
