import Bytes
import DeviceTestSupport
import SCSI
import TestSupport

/// What a tape holds according to the outcomes of commands, and what of it they vouch for.
struct TapeLossModel {
    /// A command, as the model knows it.
    enum Command {
        case write(data: [UInt8])
        case writeFixed(data: [UInt8], count: Int)
        case writeFilemarks(Int, isImmediate: Bool)
        case read
        case locate(Int)
        case spaceToEndOfData
        case rewind
        case erase
        case selectMode(blockLength: Int, isBuffered: Bool)
        case writeAttribute(UInt16, [UInt8])
        case unload
        case load
        case testUnitReady

        /// The CDB and the Data-Out.
        var bytes: (block: [UInt8], dataOut: [UInt8]) {
            switch self {
            case .write(let data): return ([OperationCode.write6, 0] + bytes24(data.count) + [0], data)
            case .writeFixed(let data, let count): return ([OperationCode.write6, 1] + bytes24(count) + [0], data)
            case .writeFilemarks(let count, let isImmediate):
                return ([OperationCode.writeFilemarks6, isImmediate ? 1 : 0] + bytes24(count) + [0], [])
            case .read: return ([OperationCode.read6, 2] + bytes24(1 << 20) + [0], [])
            case .locate(let object):
                var block: [UInt8] = [OperationCode.locate16, 0, 0, 0]
                block.appendBE64(UInt64(object))
                return (block + [0, 0, 0, 0], [])
            case .spaceToEndOfData: return ([OperationCode.space6, 3, 0, 0, 0, 0], [])
            case .rewind: return ([OperationCode.rewind, 0, 0, 0, 0, 0], [])
            case .erase: return ([OperationCode.erase6, 0, 0, 0, 0, 0], [])
            case .selectMode(let length, let isBuffered):
                let list: [UInt8] = [0, 0, isBuffered ? 0x10 : 0, 8, 0, 0, 0, 0, 0] + bytes24(length)
                return ([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0], list)
            case .writeAttribute(let identifier, let value):
                var list: [UInt8] = []
                list.appendBE32(UInt32(value.count + 5))
                list.appendBE16(identifier)
                list.append(1)
                list.appendBE16(UInt16(value.count))
                list += value
                var block: [UInt8] = [OperationCode.writeAttribute, 0, 0, 0, 0, 0, 0, 0, 0, 0]
                block.appendBE32(UInt32(list.count))
                return (block + [0, 0], list)
            case .unload: return ([OperationCode.loadUnload, 0, 0, 0, 0, 0], [])
            case .load: return ([OperationCode.loadUnload, 0, 0, 0, 1, 0], [])
            case .testUnitReady: return ([OperationCode.testUnitReady, 0, 0, 0, 0, 0], [])
            }
        }

        /// What messages call it.
        var name: String { String("\(self)".prefix { $0 != "(" }) }

        /// What the command writes, object by object.
        var objects: [[UInt8]?] {
            switch self {
            case .write(let data): [data]
            case .writeFixed(let data, let count):
                (0..<count).map { Array(data[$0 * data.count / count..<($0 + 1) * data.count / count]) }
            case .writeFilemarks(let count, _): [[UInt8]?](repeating: nil, count: count)
            default: []
            }
        }
    }

    /// A workload that a seed decides.
    struct Commands {
        /// Beyond this no more randomness is worth its time.
        private static let tileLength = 64

        private var random: SeededRandom
        /// About how many objects there are.
        private var objects = 0

        init(seed: UInt64) { random = SeededRandom(seed: seed) }

        private mutating func data(_ count: Int) -> [UInt8] {
            let tile = random.bytes(Self.tileLength)
            var data = [UInt8](repeating: tile[0], count: max(0, count - Self.tileLength))
            data += tile.prefix(count - data.count)
            return data
        }

        /// The commands that a nexus sends next, one behind the other.
        mutating func next(_ round: Int) -> [Command] {
            if round == 20 || round == 45 { return [.unload, .load, .testUnitReady, .spaceToEndOfData] }
            objects += 1
            switch Int.random(in: 0..<24, using: &random) {
            case 0..<7:
                let length = [1, 64, 700, 5000, 20000, 70000].randomElement(using: &random) ?? 1
                return [.write(data: data(length))]
            case 7:
                // Longer than what goes to the page cache on the reactor.
                return [.write(data: data(300_000))]
            case 8..<11:
                let count = Int.random(in: 1...8, using: &random)
                objects += count
                return [.writeFixed(data: (0..<count).flatMap { _ in data(512) }, count: count)]
            case 11..<13: return [.writeFilemarks(Int.random(in: 1...3, using: &random), isImmediate: true)]
            case 13..<16: return [.writeFilemarks(Int.random(in: 0...2, using: &random), isImmediate: false)]
            case 16: return [.locate(Int.random(in: 0...objects, using: &random)), .read]
            case 17: return [.locate(max(0, objects - Int.random(in: 1...6, using: &random)))]
            case 18, 19: return [.spaceToEndOfData]
            case 20: return [.selectMode(blockLength: 512, isBuffered: Bool.random(using: &random))]
            case 21, 22:
                let identifier: UInt16 = Bool.random(using: &random) ? 0x0800 : 0x0801
                return [.writeAttribute(identifier, random.bytes(8).map { 0x41 + $0 % 26 })]
            default: return Int.random(in: 0..<4, using: &random) == 0 ? [.rewind] : [.locate(objects / 2), .erase]
            }
        }
    }

    // MARK: State

    private struct Object {
        var bytes: [UInt8]?
        let session: Int
        /// When the command ended that has written it, in commands.
        let time: Int
    }
    /// What commands have written; filemarks are nil.
    private var written: [Object] = []
    /// Objects before this were vouched for, and nobody has overwritten them.
    private(set) var durable = 0
    /// What may be found instead of, or behind, what is not durable, by object number: what failed commands have tried
    /// to write, and what was lost.
    private(set) var tried: [Int: [[UInt8]?]] = [:]
    private var position = 0
    private var isBuffered = true
    private var time = 0
    /// When a session was told last that data could not be written, in commands.
    private var toldAt: [Int: Int] = [:]
    /// Whether a loss is not acknowledged.
    private(set) var hasLost = false
    /// What WRITE ATTRIBUTE has vouched for, and what failed ones may have left.
    private(set) var attributes: [UInt16: [UInt8]] = [:]
    private(set) var triedAttributes: [UInt16: [[UInt8]]] = [:]
    /// What is wrong, in the order of the commands.
    private(set) var faults: [String] = []
    /// The sessions whose data ended with GOOD, are not there any more, and that have not been told.
    private(set) var untold: Set<Int> = []

    /// What the tape holds.
    var objects: [[UInt8]?] { written.map(\.bytes) }

    // MARK: Commands

    /// Follows the outcomes of commands.
    init(_ performed: [TapeLossRun.Performed]) {
        for entry in performed { follow(entry) }
    }

    /// Follows the outcome of one more command.
    mutating func follow(_ entry: TapeLossRun.Performed) {
        time += 1
        let sense = entry.result.sense
        if sense?.key == .mediumError, sense?.additionalSenseCode == .writeError {
            toldAt[entry.session] = time
            untold.remove(entry.session)
        }
        // What a deferred error, a unit attention or an unloaded drive has stopped has done nothing.
        let isPerformed = sense?.isDeferred != true && sense?.key != .unitAttention && sense?.key != .notReady
        let isGood = entry.result.status == .good
        if isGood, hasLost, writes(entry.command) || vouches(entry.command) {
            faults.append("GOOD for \(entry.command.name) after a loss")
        }
        if isPerformed { apply(entry, isGood: isGood) }
        if let tape = entry.tape { withdraw(tape.endOfData) }
        if isGood, vouches(entry.command) { durable = written.count }
    }

    private func writes(_ command: Command) -> Bool {
        switch command {
        case .write, .writeFixed, .erase, .writeAttribute: true
        case .writeFilemarks(let count, _): count > 0
        default: false
        }
    }

    /// Whether GOOD says that all that was written before is durable.
    private func vouches(_ command: Command) -> Bool {
        switch command {
        case .write, .writeFixed: !isBuffered
        case .writeFilemarks(_, let isImmediate): !isImmediate
        case .rewind, .unload: true
        default: false
        }
    }

    private mutating func apply(_ entry: TapeLossRun.Performed, isGood: Bool) {
        switch entry.command {
        case .write, .writeFixed, .writeFilemarks: append(entry, isGood: isGood)
        case .erase where position < written.count:
            // A failed one may have made the position the end of data.
            durable = min(durable, position)
            guard isGood else { break }
            cut(to: position)
            durable = written.count
        case .read:
            guard isGood, position < written.count, let block = written[position].bytes else { break }
            if entry.result.dataIn != block { faults.append("READ of object \(position) gives other bytes") }
        case .selectMode(_, let isBuffered): if isGood { self.isBuffered = isBuffered }
        case .writeAttribute(let identifier, let value):
            if isGood {
                attributes[identifier] = value
                triedAttributes[identifier] = []
            } else {
                triedAttributes[identifier, default: []].append(value)
            }
        default: break
        }
        if let tape = entry.tape { position = tape.position }
        if case .unload = entry.command { position = 0 }
    }

    private mutating func append(_ entry: TapeLossRun.Performed, isGood: Bool) {
        let objects = entry.command.objects
        guard !objects.isEmpty else { return }
        let done = isGood ? objects.count : max(0, min(objects.count, (entry.tape?.position ?? 0) - position))
        if position < written.count {
            // Also a failed one may have made the position the end of data.
            durable = min(durable, position)
            if done > 0 || (entry.tape?.endOfData ?? .max) <= position { cut(to: position) }
        }
        for object in objects.prefix(done) {
            written.append(Object(bytes: object, session: entry.session, time: time))
        }
        for (number, object) in objects.enumerated().dropFirst(done) {
            tried[position + number, default: []].append(object)
        }
    }

    private mutating func cut(to end: Int) {
        written.removeLast(max(0, written.count - end))
    }

    /// Objects are not there any more that were.
    private mutating func withdraw(_ endOfData: Int) {
        if endOfData > written.count { faults.append("\(endOfData) objects instead of \(written.count)") }
        if endOfData < durable { faults.append("object \(endOfData) was durable, and is not there") }
        if endOfData < written.count { lose(from: endOfData) }
    }

    /// Objects from `end` on are lost: their sessions have been told since, or must be.
    mutating func lose(from end: Int) {
        hasLost = true
        for (number, object) in written.enumerated().dropFirst(end) {
            tried[number, default: []].append(object.bytes)
            if toldAt[object.session] ?? 0 < object.time { untold.insert(object.session) }
        }
        cut(to: end)
        position = min(position, end)
    }

    /// What failed commands have tried to write, and could not take back, is there behind the rest.
    mutating func adopt(_ objects: ArraySlice<[UInt8]?>) {
        for object in objects { written.append(Object(bytes: object, session: -1, time: 0)) }
    }

    /// The operator has acknowledged the loss.
    mutating func acknowledge() { hasLost = false }
}
