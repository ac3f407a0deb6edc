import DeviceTestSupport
import Platform
import SCSI
import TargetCore

/// An initiator of a fixture, which it keeps alive.
final class DiskInitiator: Sendable {
    let fixture: DiskFixture
    let port: InMemoryPort

    init(fixture: DiskFixture, port: InMemoryPort) {
        self.fixture = fixture
        self.port = port
    }

    /// Sends a command and waits for its outcome.
    @discardableResult
    func execute(_ command: [UInt8], dataOut: [UInt8] = []) -> CommandResult {
        port.execute(command, dataOut: dataOut)
    }

    /// Sends a command; its outcome comes later. Returns its slot.
    @discardableResult
    func submit(_ command: [UInt8], dataOut: [UInt8] = []) -> (slot: Int, outcome: Outcome) {
        let outcome = Outcome()
        let slot = port.submit(command, dataOut: dataOut) { outcome.set($0) }
        return (slot, outcome)
    }

    /// READ(16) of blocks that must succeed.
    func read(_ lba: Int, _ count: Int) -> [UInt8] {
        let result = execute(CDB.sixteen(OperationCode.read16, lba: UInt64(lba), count: count))
        precondition(result.status == .good, "READ(16) failed")
        return result.dataIn
    }

    /// WRITE(16) of blocks.
    @discardableResult
    func write(_ lba: Int, _ data: [UInt8], blockSize: Int = 512, flags: UInt8 = 0) -> CommandResult {
        execute(
            CDB.sixteen(OperationCode.write16, lba: UInt64(lba), count: data.count / blockSize, flags: flags),
            dataOut: data)
    }

    /// The sense key and codes of a command that fails.
    func sense(_ command: [UInt8], dataOut: [UInt8] = []) -> SenseData? {
        execute(command, dataOut: dataOut).sense
    }
}
