import ChangerDevice
import Logging
import Media
import Platform
import Resources
import SCSI
import TapeDevice
import TargetCore

/// A drive in its library: the robot's hand on one side, the cartridges' folder on the other.
final class LibraryDrive: DriveBay {
    let server: TapeDeviceServer
    let unit: LogicalUnit
    private let cartridges: CartridgeStore
    private let register: CartridgeRegister
    private let checks: CartridgeChecks
    private let logger: Logger
    private let name: String
    /// What was loaded last, for the log.
    private let loaded = Lock<String?>(nil)

    /// The drive of `server`, with cartridges from `cartridges`; `register` hears of those that cannot be loaded or
    /// lose data, `checks` are ended for those that are loaded, and `name` is for the log.
    init(
        _ server: TapeDeviceServer, cartridges: CartridgeStore, register: CartridgeRegister, checks: CartridgeChecks,
        name: String, failures: FailureLog, logger: Logger,
        whenMicrocodeChanged: @escaping @Sendable (MicrocodeChange) -> Void
    ) {
        self.server = server
        unit = LogicalUnit(
            server, whenFailed: failures.note(of: name, kind: "drive"), whenMicrocodeChanged: whenMicrocodeChanged)
        self.cartridges = cartridges
        self.register = register
        self.checks = checks
        self.name = name
        self.logger = logger
        server.whenDataLost { barcode, loss in
            register.setLoss(LossSummary(loss), barcode)
            logger.error(
                "data were lost: the cartridge is not written until the loss is acknowledged",
                metadata: ["drive": "\(name)", "cartridge": "\(barcode)", "reason": "\(loss.failure)"])
        }
    }

    var identity: DeviceIdentity { server.identity }
    var preventsMediumRemoval: Bool { server.attachedNexuses.isMediumRemovalPrevented }

    func load(_ barcode: String, completion: @escaping @Sendable () -> Void) {
        let cartridges = cartridges
        let checks = checks
        let epoch = register.epoch
        let loss = Lock<LossSummary?>(nil)
        loaded.withLock { $0 = barcode }
        server.insertMedium(
            opening: { () throws(CartridgeError) in
                let cartridge = try Self.open(barcode, cartridges, checks)
                loss.withLock { $0 = cartridge.lossReport.map { LossSummary($0) } }
                return cartridge
            },
            completion: { error in
                self.register.setLoaded(
                    error.map { CartridgeProblem($0) }, loss: loss.withLock { $0 }, barcode, since: epoch)
                if let error { self.report("cartridge cannot be used", barcode, "\(error)") }
                completion()
            })
    }

    /// Opens the cartridge, whoever checks it.
    private static func open(
        _ barcode: String, _ cartridges: CartridgeStore, _ checks: CartridgeChecks
    ) throws(CartridgeError) -> Media.Cartridge {
        let folder = cartridges.folder(of: barcode)
        // A check that begins after the first look has the lock, and is ended by the second.
        for _ in 0..<2 {
            checks.interrupt(folder)
            do throws(CartridgeError) {
                return try cartridges.open(barcode: barcode)
            } catch {
                guard case .inUse = error else { throw error }
            }
        }
        throw CartridgeError.inUse(barcode: barcode)
    }

    func unload(completion: @escaping @Sendable (BayRelease) -> Void) {
        server.removeMedium { removal in
            switch removal {
            case .removed(let failure):
                if let failure { self.reportClosing(failure) }
                completion(.released)
            case .empty: completion(.released)
            case .prevented: completion(.prevented)
            case .busy: completion(.failed)
            }
        }
    }

    /// Takes the cartridge out, whatever initiators want: the library or the daemon stops. The answer is false when it
    /// could not be written out.
    func close(completion: @escaping @Sendable (Bool) -> Void) {
        server.removeMedium(isForced: true) { removal in
            switch removal {
            case .removed(nil), .empty: completion(true)
            case .removed(let failure?):
                self.reportClosing(failure)
                completion(false)
            case .prevented, .busy: completion(false)
            }
        }
    }

    private func reportClosing(_ failure: WriteFailure) {
        report("the cartridge could not be closed in order", loaded.withLock { $0 } ?? "-", failure.description)
    }

    private func report(_ message: Logger.Message, _ barcode: String, _ reason: String) {
        logger.error(message, metadata: ["drive": "\(name)", "cartridge": "\(barcode)", "reason": "\(reason)"])
    }
}
