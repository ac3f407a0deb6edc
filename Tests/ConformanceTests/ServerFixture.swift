import Authentication
import DiskDevice
import Encryption
import Glibc
import ISCSI
import ISCSIPort
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

/// Access for those who prove that they know a secret.
private struct CHAPAccess: AccessControl {
    let policy: AuthenticationPolicy

    func access(_ request: AccessRequest, to target: Target) -> TargetAccess { .granted(policy) }
    func discoveryAuthentication(_ request: AccessRequest) -> AuthenticationPolicy { policy }
    func isVisible(_ target: Target, to request: AccessRequest) -> Bool { true }
    func portalGroupTags(of target: Target) -> Set<UInt16>? { nil }
}

/// A server with one target of two disks, on a port of the loopback interface.
final class ServerFixture {
    static let targetName = "iqn.2026-11.dev.carousel:conformance"
    let address: SocketAddress
    private let engine: FileEngine
    private let reactors: [Reactor]
    private let server: ISCSIServer
    private let files: [TemporaryFile]

    /// A file that goes away with its owner.
    private final class TemporaryFile {
        let path = TemporaryPath(prefix: "carousel-conformance")

        deinit { _ = unsafe unlink(path.path + ".key") }
    }

    /// With disks of that length and protection information, encrypted under `userKey` if there is one.
    init(
        authentication: AuthenticationPolicy = .none, protection: ProtectionType? = nil, capacity: Int64 = 8 << 20,
        userKey: UserKey? = nil
    ) throws {
        engine = try FileEngine(threads: 2)
        var reactors: [Reactor] = []
        for index in 0..<2 {
            reactors.append(
                try Reactor.start(
                    name: "conformance-\(index)", index: index, poolLimit: 256 << 20, fileEngine: engine))
        }
        self.reactors = reactors
        let target = Target(name: Self.targetName, alias: "conformance", homeReactor: nil)
        files = [TemporaryFile(), TemporaryFile()]
        let copies = CopyManager()
        for (number, file) in files.enumerated() {
            let image = try RawDiskImage.create(
                path: file.path.path, capacity: capacity, blockSize: 512, protection: protection, userKey: userKey,
                engine: engine)
            let server = DiskDeviceServer(
                image: image,
                identity: DeviceIdentity(
                    vendor: "CAROUSEL", product: "VIRTUAL DISK", revision: "0001", serialNumber: "C000000\(number)",
                    naa: 0x3000_0000_0000_00C1 + UInt64(number)), copyManager: copies)
            let unit = LogicalUnit(server)
            copies.add(unit)
            target.map(unit, at: number)
        }
        let targets = TargetDirectory()
        targets.add(target)
        server = ISCSIServer(reactors: reactors, targets: targets, access: CHAPAccess(policy: authentication))
        address = try server.addPortal(#require(SocketAddress("127.0.0.1:0")))
    }

    deinit {
        let server = server
        let reactors = reactors
        let engine = engine
        // A reactor's end must not wait for the test's thread.
        Task.detached {
            await server.stop(gracePeriod: .milliseconds(1))
            engine.stop()
            for reactor in reactors { reactor.stop() }
        }
    }
}
