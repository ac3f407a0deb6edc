internal import ChangerDevice
internal import DiskDevice
internal import Dispatch
internal import Foundation
internal import Media
internal import Platform
internal import Profiles
internal import SCSI
internal import TapeDevice
internal import TargetCore

/// A disk, a tape drive with a cartridge, a library that takes microcode and whose robot moves nothing real, and disks
/// with protection information. Behind the disks is one more, to which copies may go. All runs of a process share them.
final class CommandFixture: Sendable {
    static let shared = CommandFixture()

    /// A device in a target of its own.
    struct Device: Sendable {
        let target: Target
        /// What brings it back to where a run begins.
        let preparation: [[UInt8]]
    }

    let reactor: Reactor
    let devices: [Device]

    private static let folder = FileManager.default.temporaryDirectory
        .appending(path: "carousel-fuzz-\(UUID().uuidString)")

    private init() {
        do {
            try FileManager.default.createDirectory(at: Self.folder, withIntermediateDirectories: true)
            atexit { try? FileManager.default.removeItem(at: CommandFixture.folder) }
            let engine = try FileEngine(threads: 2)
            reactor = try Reactor.start(name: "devices", poolLimit: 256 << 20, fileEngine: engine)
            let profiles = try Self.profiles()
            let copies = CopyManager()
            devices = [
                try Self.disk(engine, copies, number: 0),
                try Self.tape(profiles.drive(named: "ibm-ult3580-td8"), reactor),
                try Self.changer(profiles.library(named: "microcode"), reactor),
                try Self.disk(engine, copies, number: 1, .type1), try Self.disk(engine, copies, number: 2, .type2),
            ]
        } catch {
            preconditionFailure("the devices can be made: \(error)")
        }
    }

    /// The profiles, with one of a library that takes microcode.
    private static func profiles() throws -> ProfileLibrary {
        let own = folder.appending(path: "profiles")
        try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
        let entry = try ProfileLibrary().entries.first { $0.name == "ibm-03584l32" }
        try String(decoding: entry?.content ?? Data(), as: UTF8.self)
            .replacingOccurrences(of: "\"ibm-03584l32\"", with: "\"microcode\"")
            .replacingOccurrences(of: "\"revision\"", with: "\"acceptsMicrocode\": true, \"revision\"")
            .write(to: own.appending(path: "microcode.json"), atomically: true, encoding: .utf8)
        return try ProfileLibrary(folders: [own.path(percentEncoded: false)])
    }

    private static func target(_ name: String, _ server: any DeviceServer) -> Target {
        let target = Target(name: "iqn.2026-11.dev.carousel:\(name)", alias: "", homeReactor: nil)
        target.map(LogicalUnit(server), at: 0)
        return target
    }

    /// The NAA identifier of the disk of that number, and of the one behind it.
    static func naa(ofDisk number: Int, isOther: Bool = false) -> UInt64 {
        0x3000_0000_0000_00D1 + UInt64(2 * number + (isOther ? 1 : 0))
    }

    private static func disk(
        _ engine: FileEngine, _ copies: CopyManager, number: Int, _ protection: ProtectionType? = nil
    ) throws -> Device {
        func unit(_ name: String, _ naa: UInt64) throws -> LogicalUnit {
            let image = try RawDiskImage.create(
                path: folder.appending(path: name).path(percentEncoded: false), capacity: 1 << 20, blockSize: 512,
                protection: protection, engine: engine)
            let unit = LogicalUnit(
                DiskDeviceServer(
                    image: image,
                    identity: DeviceIdentity(
                        vendor: "CAROUSEL", product: "VIRTUAL DISK", revision: "0001", serialNumber: "D0000001",
                        naa: naa), copyManager: copies))
            copies.add(unit)
            return unit
        }
        let target = Target(name: "iqn.2026-11.dev.carousel:disk\(number)", alias: "", homeReactor: nil)
        target.map(try unit("disk\(number)", naa(ofDisk: number)), at: 0)
        // No command of the input is for it.
        target.map(try unit("other\(number)", naa(ofDisk: number, isOther: true)), at: 2)
        return Device(target: target, preparation: [])
    }

    private static func tape(_ profile: DriveProfile, _ reactor: Reactor) throws -> Device {
        let store = CartridgeStore(directory: folder.path(percentEncoded: false))
        let drive = TapeDeviceServer(
            identity: TapeDeviceServer.identity(
                serialNumber: "1097000001", naa: 0x3000_0000_0000_0001, profile: profile),
            profile: profile, reactor: reactor)
        try store.create(barcode: "F00001L8", capacity: 16 << 20, densityCode: 0x5E)
        let done = DispatchSemaphore(value: 0)
        drive.insertMedium(opening: { () throws(CartridgeError) in try store.open(barcode: "F00001L8") }) { error in
            precondition(error == nil, "a new cartridge can be loaded")
            done.signal()
        }
        done.wait()
        // LOAD, and REWIND.
        return Device(
            target: target("tape", drive),
            preparation: [[OperationCode.loadUnload, 0, 0, 0, 1, 0], [OperationCode.rewind, 0, 0, 0, 0, 0]])
    }

    private static func changer(_ profile: LibraryProfile, _ reactor: Reactor) throws -> Device {
        var contents: [LibraryElement: ElementContent] = [:]
        for (index, barcode) in ["A00001L8", "B00001L8", "C00001L8"].enumerated() {
            contents[LibraryElement(.storage, index + 1)] = ElementContent(barcode: barcode)
        }
        let unit = try ChangerDeviceServer(
            serialNumber: "0000013400", naa: 0x3000_0000_0000_0002, profile: profile, reactor: reactor,
            drives: [EmptyBay("1097000001"), EmptyBay("1097000002")], slotCount: 5,
            mailSlotCount: 2, contents: contents, inventory: WillingInventory())
        return Device(target: target("library", unit), preparation: [])
    }
}

/// A drive that loads and unloads whatever the robot brings.
private final class EmptyBay: DriveBay {
    let identity: DeviceIdentity

    init(_ serialNumber: String) {
        identity = DeviceIdentity(
            vendor: "IBM", product: "ULT3580-TD8", revision: "N9M1", serialNumber: serialNumber, naa: 1)
    }

    var preventsMediumRemoval: Bool { false }

    func load(_ barcode: String, completion: @escaping @Sendable () -> Void) {
        DispatchQueue.global().async(execute: completion)
    }

    func unload(completion: @escaping @Sendable (BayRelease) -> Void) {
        DispatchQueue.global().async { completion(.released) }
    }
}

/// An inventory that agrees to every move.
private final class WillingInventory: LibraryInventory {
    func commit(
        _ moves: [MediumMove], by requester: MoveRequester, completion: @escaping @Sendable (String?) -> Void
    ) {
        DispatchQueue.global().async { completion(nil) }
    }
}
