import Bytes
import DeviceTestSupport
import Dispatch
import Foundation
import Media
import Platform
import Profiles
import SCSI
import TargetCore

@testable import TapeDevice

/// A drive on a reactor of its own, with cartridges in a temporary folder and one nexus.
final class TapeFixture {
    static let barcode = "T00001L8"

    let folder: URL
    let store: CartridgeStore
    let engine: FileEngine
    let reactor: Reactor
    let drive: TapeDeviceServer
    let target: Target
    let port: InMemoryPort

    /// A drive; with a capacity it has a cartridge of that many bytes loaded, and no unit attention waits.
    init(capacity: Int64? = 64 << 20, density: UInt8 = 0x5E) throws {
        folder = URL.temporaryDirectory.appending(path: "tape-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        store = CartridgeStore(directory: folder.path)
        engine = try FileEngine(threads: 1)
        reactor = try Reactor.start(name: "tape", poolLimit: 256 << 20, fileEngine: engine)
        let profile = try ProfileLibrary().drive(named: "ibm-ult3580-td8")
        drive = TapeDeviceServer(
            identity: TapeDeviceServer.identity(
                serialNumber: "1097000001", naa: 0x3000_0000_0000_0001, profile: profile),
            profile: profile, reactor: reactor)
        target = Target(name: "iqn.2026-11.dev.carousel:tape", alias: "", homeReactor: reactor)
        target.map(LogicalUnit(drive), at: 0)
        port = InMemoryPort("iqn.1994-05.com.example:a", target: target, reactor: reactor)
        if let capacity {
            try store.create(barcode: Self.barcode, capacity: capacity, densityCode: density)
            insert(Self.barcode)
            port.clearUnitAttentions()
        }
    }

    deinit {
        _ = remove(isForced: true)
        port.logOut()
        reactor.stop()
        engine.stop()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Lets the robot put a cartridge in, and waits until it is loaded.
    @discardableResult
    func insert(_ barcode: String) -> CartridgeError? {
        let done = DispatchSemaphore(value: 0)
        let result = Lock<CartridgeError?>(nil)
        drive.insertMedium(opening: { [store] () throws(CartridgeError) in try store.open(barcode: barcode) }) {
            error in
            result.withLock { $0 = error }
            done.signal()
        }
        done.wait()
        return result.withLock { $0 }
    }

    /// Lets the robot take the cartridge out.
    func remove(isForced: Bool = false) -> MediumRemoval {
        let done = DispatchSemaphore(value: 0)
        let result = Lock(MediumRemoval.busy)
        drive.removeMedium(isForced: isForced) { removal in
            result.withLock { $0 = removal }
            done.signal()
        }
        done.wait()
        return result.withLock { $0 }
    }

    /// Another nexus with the drive.
    func secondPort() -> InMemoryPort {
        InMemoryPort("iqn.1994-05.com.example:b", target: target, reactor: reactor)
    }

    // MARK: Commands

    func read(_ count: Int, isFixed: Bool = false, sili: Bool = false) -> CommandResult {
        port.execute([OperationCode.read6, (isFixed ? 1 : 0) | (sili ? 2 : 0)] + bytes24(count) + [0])
    }

    func write(_ data: [UInt8]) -> CommandResult {
        port.execute([OperationCode.write6, 0] + bytes24(data.count) + [0], dataOut: data)
    }

    func writeFixed(_ data: [UInt8], blocks: Int) -> CommandResult {
        port.execute([OperationCode.write6, 1] + bytes24(blocks) + [0], dataOut: data)
    }

    func filemarks(_ count: Int, immediate: Bool = true) -> CommandResult {
        port.execute([OperationCode.writeFilemarks6, immediate ? 1 : 0] + bytes24(count) + [0])
    }

    func space(_ code: UInt8, _ count: Int) -> CommandResult {
        port.execute([OperationCode.space6, code] + bytes24(count) + [0])
    }

    func locate(_ object: UInt64, type: UInt8 = 0) -> CommandResult {
        var block: [UInt8] = [OperationCode.locate16, type << 3, 0, 0]
        block.appendBE64(object)
        return port.execute(block + [0, 0, 0, 0])
    }

    func rewind() -> CommandResult { port.execute([OperationCode.rewind, 0, 0, 0, 0, 0]) }

    /// Sets the nexus's block length by MODE SELECT(6).
    func setBlockLength(_ length: Int, bufferedMode: UInt8 = 1) -> CommandResult {
        let list: [UInt8] = [0, 0, bufferedMode << 4, 8, 0, 0, 0, 0, 0] + bytes24(length)
        return port.execute([OperationCode.modeSelect6, 0x10, 0, 0, 12, 0], dataOut: list)
    }

    /// The logical object number of the position, by READ POSITION.
    var position: UInt64 {
        let result = port.execute([OperationCode.readPosition, 0x06, 0, 0, 0, 0, 0, 0, 0, 0])
        return result.dataIn.count == 32 ? result.dataIn.rawSpan.loadBE64(at: 8) : .max
    }

    /// Runs `body` on the reactor.
    func onReactor<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
        let result = Lock<Value?>(nil)
        port.onReactor {
            let value = body()
            result.withLock { $0 = value }
        }
        return result.withLock { $0! }
    }
}

/// The low 24 bits, most significant byte first; negative numbers in two's complement.
func bytes24(_ value: Int) -> [UInt8] {
    [UInt8(truncatingIfNeeded: value >> 16), UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
}

/// A command's outcome in short: `good`, or key/ASC+ASCQ with flags and information, as in `0/0001 FM 100`.
func text(_ result: CommandResult) -> String {
    guard let sense = result.sense else { return result.status == .good ? "good" : "status \(result.status.rawValue)" }
    func hex(_ value: UInt8, _ count: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, count - digits.count)) + digits
    }
    let code = sense.additionalSenseCode
    var text = "\(hex(sense.key.rawValue, 1))/\(hex(code.code, 2))\(hex(code.qualifier, 2))"
    if sense.isFilemark { text += " FM" }
    if sense.isEndOfMedium { text += " EOM" }
    if sense.isIncorrectLength { text += " ILI" }
    if let information = sense.information { text += " \(information)" }
    return text
}
