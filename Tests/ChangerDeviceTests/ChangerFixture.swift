import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import Profiles
import SCSI
import TargetCore

@testable import ChangerDevice

/// A drive that notes what the robot does with it, and answers on another thread.
final class FakeBay: DriveBay {
    let identity: DeviceIdentity
    let log = Lock<[String]>([])
    let prevents = Lock(false)
    let release = Lock(BayRelease.released)

    init(_ serialNumber: String) {
        identity = DeviceIdentity(
            vendor: "IBM", product: "ULT3580-TD8", revision: "N9M1", serialNumber: serialNumber, naa: 1)
    }

    var preventsMediumRemoval: Bool { prevents.withLock { $0 } }

    func load(_ barcode: String, completion: @escaping @Sendable () -> Void) {
        log.withLock { $0.append("load \(barcode)") }
        DispatchQueue.global().async(execute: completion)
    }

    func unload(completion: @escaping @Sendable (BayRelease) -> Void) {
        log.withLock { $0.append("unload") }
        let release = release.withLock { $0 }
        DispatchQueue.global().async { completion(release) }
    }

    /// What was done since the last call.
    func takeLog() -> [String] {
        log.withLock { log in
            defer { log = [] }
            return log
        }
    }
}

/// An inventory that keeps its moves, or refuses them.
final class FakeInventory: LibraryInventory {
    let moves = Lock<[[MediumMove]]>([])
    let failure = Lock<String?>(nil)

    func commit(
        _ moves: [MediumMove], by requester: MoveRequester, completion: @escaping @Sendable (String?) -> Void
    ) {
        let failure = failure.withLock { $0 }
        if failure == nil { self.moves.withLock { $0.append(moves) } }
        DispatchQueue.global().async { completion(failure) }
    }
}

/// A library with two drives, five slots and two mail slots, and one nexus. Cartridges A to C are in slots 1 to 3.
final class ChangerFixture {
    static let slot = 0x400
    static let mail = 0x300
    static let drive = 0x101

    let engine: FileEngine
    let reactor: Reactor
    let bays = [FakeBay("1097000001"), FakeBay("1097000002")]
    let inventory = FakeInventory()
    let changer: ChangerDeviceServer
    let target: Target
    let port: InMemoryPort

    init(mailSlotCount: Int = 2) throws {
        engine = try FileEngine(threads: 1)
        reactor = try Reactor.start(name: "changer", poolLimit: 64 << 20, fileEngine: engine)
        let profile = try ProfileLibrary().library(named: "ibm-03584l32")
        var contents: [LibraryElement: ElementContent] = [:]
        for (index, barcode) in ["A00001L8", "B00001L8", "C00001L8"].enumerated() {
            contents[LibraryElement(.storage, index + 1)] = ElementContent(barcode: barcode)
        }
        changer = try ChangerDeviceServer(
            serialNumber: "0000013400", naa: 0x3000_0000_0000_0002, profile: profile, reactor: reactor, drives: bays,
            slotCount: 5, mailSlotCount: mailSlotCount,
            contents: contents, inventory: inventory)
        target = Target(name: "iqn.2026-11.dev.carousel:library", alias: "", homeReactor: reactor)
        target.map(LogicalUnit(changer), at: 0)
        port = InMemoryPort("iqn.1994-05.com.example:a", target: target, reactor: reactor)
        port.clearUnitAttentions()
    }

    deinit {
        port.logOut()
        reactor.stop()
        engine.stop()
    }

    func secondPort() -> InMemoryPort {
        InMemoryPort("iqn.1994-05.com.example:b", target: target, reactor: reactor)
    }

    func move(_ source: Int, _ destination: Int, transport: Int = 0) -> String {
        text(
            port.execute(
                [OperationCode.moveMedium, 0] + be16(transport) + be16(source) + be16(destination) + [0, 0, 0, 0]))
    }

    func exchange(_ source: Int, _ first: Int, _ second: Int) -> String {
        text(
            port.execute(
                [OperationCode.exchangeMedium, 0] + be16(0) + be16(source) + be16(first) + be16(second) + [0, 0]))
    }

    func relocate(_ barcode: String, _ origin: MediumPlace, _ destination: MediumPlace) -> MoveRefusal? {
        let done = DispatchSemaphore(value: 0)
        let result = Lock<MoveRefusal?>(nil)
        changer.relocate(barcode, from: origin, to: destination) { refusal in
            result.withLock { $0 = refusal }
            done.signal()
        }
        done.wait()
        return result.withLock { $0 }
    }

    /// READ ELEMENT STATUS.
    func status(
        type: UInt8 = 0, from start: Int = 0, count: Int = 0xFFFF, tags: Bool = true, identifiers: Bool = false,
        allocation: Int = 65536
    ) -> CommandResult {
        let length = [UInt8(allocation >> 16), UInt8(allocation >> 8 & 0xFF), UInt8(allocation & 0xFF)]
        return port.execute(
            [OperationCode.readElementStatus, (tags ? 0x10 : 0) | type] + be16(start) + be16(count) + [
                identifiers ? 1 : 0
            ] + length + [0, 0])
    }

    /// The labels by element address, of all elements that hold a cartridge.
    var labels: [Int: String] { parse(status().dataIn).filter { $0.value.isFull }.mapValues(\.label) }

    struct Descriptor: Equatable {
        var isFull: Bool
        var flags: UInt8
        var label: String
        var source: Int?
    }

    /// Parses a report with volume tags as mtx does.
    func parse(_ report: [UInt8]) -> [Int: Descriptor] {
        var found: [Int: Descriptor] = [:]
        var offset = 8
        while offset + 8 <= report.count {
            let length = Int(report.rawSpan.loadBE16(at: offset + 2))
            let end = offset + 8 + Int(report.rawSpan.loadBE24(at: offset + 5))
            offset += 8
            while offset + length <= min(end, report.count) {
                let tag = String(decoding: report[offset + 12..<offset + 44], as: UTF8.self)
                found[Int(report.rawSpan.loadBE16(at: offset))] = Descriptor(
                    isFull: report[offset + 2] & 1 != 0, flags: report[offset + 2],
                    label: String(tag.prefix { $0 != " " && $0 != "\0" }),
                    source: report[offset + 9] & 0x80 != 0 ? Int(report.rawSpan.loadBE16(at: offset + 10)) : nil)
                offset += length
            }
        }
        return found
    }
}

func be16(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

/// A command's outcome in short: `good`, or key/ASC+ASCQ.
func text(_ result: CommandResult) -> String {
    guard let sense = result.sense else { return result.status == .good ? "good" : "status \(result.status.rawValue)" }
    func hex(_ value: UInt8) -> String {
        (value < 16 ? "0" : "") + String(value, radix: 16, uppercase: true)
    }
    let code = sense.additionalSenseCode
    return "\(String(sense.key.rawValue, radix: 16, uppercase: true))/\(hex(code.code))\(hex(code.qualifier))"
}
