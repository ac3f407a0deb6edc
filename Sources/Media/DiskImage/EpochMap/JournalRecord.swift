internal import Bytes
internal import Platform

/// One operation of the journal.
enum JournalRecord: Equatable, Sendable {
    /// `count` logical units of a head from `first` on are in the physical units from `unit` on, whose bytes have that
    /// checksum.
    case data(head: UInt32, first: UInt64, unit: UInt64, count: UInt32, checksum: UInt32)
    /// `count` logical units of a head from `first` on hold nothing.
    case nothing(head: UInt32, first: UInt64, count: UInt32)
    /// A snapshot of a head is made. The epoch ends.
    case snapshot(head: UInt32, number: UInt32, time: CalendarTime, uuid: [UInt8], name: String)
    /// A head below a snapshot is made. The epoch ends.
    case head(snapshot: UInt32, number: UInt32, time: CalendarTime, uuid: [UInt8], name: String)
    /// A node is being deleted.
    case deletion(node: UInt32)
    /// Of a node that is being deleted so many pages of level 1 are done.
    case merging(node: UInt32, pages: UInt64)
    /// A node is gone.
    case removal(node: UInt32)
    /// A head has so many bytes.
    case capacity(head: UInt32, bytes: UInt64)
    /// A node has that name, or none.
    case name(node: UInt32, name: String?)
    /// A head becomes a snapshot of that name, and head `number`, with that UUID, below the snapshot `below` takes its
    /// name. The epoch ends.
    case turn(head: UInt32, number: UInt32, below: UInt32, time: CalendarTime, uuid: [UInt8], name: String)

    /// A snapshot is not to be deleted before that time, which is not 0.
    case lock(node: UInt32, until: CalendarTime)
    /// The extent of a head that begins with the unit `first` is compressed, in `count` physical units from `unit` on,
    /// whose bytes have that checksum.
    case extent(head: UInt32, first: UInt64, unit: UInt64, count: UInt32, checksum: UInt32)

    private enum Kind: UInt8 {
        case data = 1
        case nothing, snapshot, head, deletion, merging, removal, capacity, name, turn, lock, extent
    }

    /// The most slots of bytes behind a record: a UUID and a name.
    static let maximumSlots = 1 + (EpochFormat.uuidLength + EpochFormat.nameLimit + 31) / EpochFormat.slotLength

    /// The epoch ends behind it.
    var endsEpoch: Bool {
        switch self {
        case .snapshot, .head, .turn: true
        default: false
        }
    }

    /// The physical units that it gives a head, and the checksum of their bytes; nil of records without any.
    var written: (units: Range<UInt64>, checksum: UInt32)? {
        switch self {
        case .data(_, _, let unit, let count, let checksum), .extent(_, _, let unit, let count, let checksum):
            (unit..<unit + UInt64(count), checksum)
        default: nil
        }
    }

    /// The logical units of a head that it changes; nil of records of nodes.
    var changed: (head: UInt32, first: UInt64, count: UInt64)? {
        switch self {
        case .data(let head, let first, _, let count, _): (head, first, UInt64(count))
        case .extent(let head, let first, _, _, _): (head, first, UInt64(EpochFormat.extentUnits))
        case .nothing(let head, let first, let count): (head, first, UInt64(count))
        default: nil
        }
    }

    /// How many slots it takes.
    var slots: Int {
        1 + (byteLength + EpochFormat.slotLength - 1) / EpochFormat.slotLength
    }

    private var byteLength: Int {
        switch self {
        case .snapshot(_, _, _, _, let name), .head(_, _, _, _, let name), .turn(_, _, _, _, _, let name):
            EpochFormat.uuidLength + EpochFormat.bytes(ofName: name).count
        case .name(_, let name): EpochFormat.bytes(ofName: name ?? "").count
        default: 0
        }
    }

    // MARK: Bytes

    private struct Fields {
        var kind: Kind
        var node: UInt32
        var a: UInt64 = 0
        var b: UInt64 = 0
        var c: UInt32 = 0
        var checksum: UInt32 = 0
    }

    private var fields: Fields {
        switch self {
        case .data(let head, let first, let unit, let count, let checksum):
            Fields(kind: .data, node: head, a: first, b: unit, c: count, checksum: checksum)
        case .extent(let head, let first, let unit, let count, let checksum):
            Fields(kind: .extent, node: head, a: first, b: unit, c: count, checksum: checksum)
        case .nothing(let head, let first, let count): Fields(kind: .nothing, node: head, a: first, c: count)
        case .snapshot(let head, let number, let time, _, _):
            Fields(kind: .snapshot, node: head, a: UInt64(number), b: UInt64(clamping: time.seconds))
        case .head(let snapshot, let number, let time, _, _):
            Fields(kind: .head, node: snapshot, a: UInt64(number), b: UInt64(clamping: time.seconds))
        case .deletion(let node): Fields(kind: .deletion, node: node)
        case .merging(let node, let pages): Fields(kind: .merging, node: node, a: pages)
        case .removal(let node): Fields(kind: .removal, node: node)
        case .capacity(let head, let bytes): Fields(kind: .capacity, node: head, a: bytes)
        case .name(let node, _): Fields(kind: .name, node: node)
        case .turn(let head, let number, let below, let time, _, _):
            Fields(kind: .turn, node: head, a: UInt64(number), b: UInt64(clamping: time.seconds), c: below)
        case .lock(let node, let time): Fields(kind: .lock, node: node, a: UInt64(clamping: time.seconds))
        }
    }

    /// Writes the record to `target`, where all is zero, at `offset`: `slots` slots.
    @_lifetime(target: copy target)
    func encode(into target: inout MutableRawSpan, at offset: Int) {
        let fields = fields
        let length = byteLength
        target.store(byte: fields.kind.rawValue, at: offset)
        target.store(byte: UInt8(clamping: slots - 1), at: offset + 1)
        target.storeBE16(UInt16(clamping: length), at: offset + 2)
        target.storeBE32(fields.node, at: offset + 4)
        target.storeBE64(fields.a, at: offset + 8)
        target.storeBE64(fields.b, at: offset + 16)
        target.storeBE32(fields.c, at: offset + 24)
        target.storeBE32(fields.checksum, at: offset + 28)
        guard length > 0 else { return }
        let start = offset + EpochFormat.slotLength
        switch self {
        case .snapshot(_, _, _, let uuid, let name), .head(_, _, _, let uuid, let name),
            .turn(_, _, _, _, let uuid, let name):
            target.store(uuid.rawSpan, at: start)
            target.store(EpochFormat.bytes(ofName: name).rawSpan, at: start + EpochFormat.uuidLength)
        case .name(_, let name):
            target.store(EpochFormat.bytes(ofName: name ?? "").rawSpan, at: start)
        default: break
        }
    }

    /// The record at `offset`, whose fields are in their ranges; nil when there is none that is possible, or it goes
    /// over `end`.
    init?(_ source: RawSpan, at offset: Int, end: Int) {
        guard offset >= 0, end <= source.byteCount, end - offset >= EpochFormat.slotLength,
            let kind = Kind(rawValue: source.byte(at: offset))
        else { return nil }
        let slots = 1 + Int(source.byte(at: offset + 1))
        let length = Int(source.loadBE16(at: offset + 2))
        guard slots <= Self.maximumSlots, slots * EpochFormat.slotLength <= end - offset,
            slots == 1 + (length + EpochFormat.slotLength - 1) / EpochFormat.slotLength
        else { return nil }
        let start = offset + EpochFormat.slotLength
        let bytes = source.extracting(start..<start + length)
        let fields = Fields(
            kind: kind, node: source.loadBE32(at: offset + 4), a: source.loadBE64(at: offset + 8),
            b: source.loadBE64(at: offset + 16), c: source.loadBE32(at: offset + 24),
            checksum: source.loadBE32(at: offset + 28))
        guard fields.node > 0, let record = Self.record(fields, bytes) else { return nil }
        self = record
    }

    private static func record(_ fields: Fields, _ bytes: RawSpan) -> JournalRecord? {
        switch fields.kind {
        case .data, .nothing:
            guard bytes.byteCount == 0, fields.c > 0, hasLogicalUnits(fields) else { return nil }
            guard fields.kind == .data else {
                return .nothing(head: fields.node, first: fields.a, count: fields.c)
            }
            guard hasPhysicalUnits(fields) else { return nil }
            return .data(
                head: fields.node, first: fields.a, unit: fields.b, count: fields.c, checksum: fields.checksum)
        case .snapshot, .head, .turn: return recordOfNode(fields, bytes)
        case .extent:
            let length = UInt64(EpochFormat.extentUnits)
            guard bytes.byteCount == 0, fields.c > 0, UInt64(fields.c) < length, fields.a % length == 0,
                hasLogicalUnits(fields), hasPhysicalUnits(fields)
            else { return nil }
            return .extent(
                head: fields.node, first: fields.a, unit: fields.b, count: fields.c, checksum: fields.checksum)
        case .deletion: return bytes.byteCount == 0 ? .deletion(node: fields.node) : nil
        case .removal: return bytes.byteCount == 0 ? .removal(node: fields.node) : nil
        case .merging:
            guard bytes.byteCount == 0, fields.a <= EpochFormat.maximumCapacity >> 29 else { return nil }
            return .merging(node: fields.node, pages: fields.a)
        case .capacity:
            guard bytes.byteCount == 0, fields.a > 0, fields.a <= EpochFormat.maximumCapacity else { return nil }
            return .capacity(head: fields.node, bytes: fields.a)
        case .name:
            guard bytes.byteCount <= EpochFormat.nameLimit,
                let name = String(validating: bytes.copyToArray(), as: UTF8.self)
            else { return nil }
            return .name(node: fields.node, name: name.isEmpty ? nil : name)
        case .lock:
            guard bytes.byteCount == 0, fields.a > 0, let time = CalendarTime(seconds: Int64(clamping: fields.a))
            else { return nil }
            return .lock(node: fields.node, until: time)
        }
    }

    private static func hasLogicalUnits(_ fields: Fields) -> Bool {
        let limit = EpochFormat.maximumCapacity >> UInt64(EpochFormat.unitShift)
        return fields.a < limit && UInt64(fields.c) <= limit - fields.a
    }

    private static func hasPhysicalUnits(_ fields: Fields) -> Bool {
        fields.b < EpochFormat.physicalUnitLimit && UInt64(fields.c) <= EpochFormat.physicalUnitLimit - fields.b
    }

    private static func recordOfNode(_ fields: Fields, _ bytes: RawSpan) -> JournalRecord? {
        guard let number = UInt32(exactly: fields.a), number > 0,
            let seconds = Int64(exactly: fields.b), let time = CalendarTime(seconds: seconds),
            bytes.byteCount >= EpochFormat.uuidLength,
            bytes.byteCount <= EpochFormat.uuidLength + EpochFormat.nameLimit,
            let name = String(
                validating: bytes.extracting(EpochFormat.uuidLength..<bytes.byteCount).copyToArray(), as: UTF8.self)
        else { return nil }
        let uuid = bytes.extracting(0..<EpochFormat.uuidLength).copyToArray()
        switch fields.kind {
        case .snapshot:
            return .snapshot(head: fields.node, number: number, time: time, uuid: uuid, name: name)
        case .head: return .head(snapshot: fields.node, number: number, time: time, uuid: uuid, name: name)
        case .turn:
            guard fields.c > 0 else { return nil }
            return .turn(
                head: fields.node, number: number, below: fields.c, time: time, uuid: uuid, name: name)
        default: return nil
        }
    }
}
