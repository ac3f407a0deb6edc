import Bytes
import DeviceTestSupport
import SCSI
import TestSupport
import Testing

@testable import TargetCore

@Suite("Self-tests, diagnostic pages, buffers")
struct DiagnosticTests {
    private func send(_ port: InMemoryPort, _ flags: UInt8, _ list: [UInt8] = [], length: Int? = nil) -> CommandResult {
        let length = length ?? list.count
        return port.execute(
            [OperationCode.sendDiagnostic, flags, 0, UInt8(length >> 8), UInt8(length & 0xFF), 0], dataOut: list)
    }

    // MARK: SEND DIAGNOSTIC

    @Test("Self-tests leave their results, the last one first, and those are kept")
    func selfTests() throws {
        let store = ParameterStore()
        let fixture = UnitFixture()
        fixture.device.commonLogPages = [.selfTestResults]
        fixture.unit.keepParameters(with: store)
        let port = fixture.initiator()
        let empty = port.logSense(0x10).dataIn
        #expect(empty.count == 4 + 20 * 20 && Array(empty[0..<8]) == [0x10, 0, 0x01, 0x90, 0, 1, 3, 16])
        #expect(logParameters(empty).values.allSatisfy { $0.value.allSatisfy { $0 == 0 } })
        // The default self-test is not listed.
        #expect(send(port, 0x04).status == .good && store.kept.isEmpty)
        #expect(send(port, 0x20).status == .good && send(port, 0xC0).status == .good)
        fixture.device.selfTestFailure = SenseData(.mediumError, .writeError)
        #expect(send(port, 0x04).sense == SenseData(.hardwareError, .failedSelfTest))
        #expect(send(port, 0xA0).sense == SenseData(.hardwareError, .failedSelfTest))
        // What a background self-test finds is only in the log.
        #expect(send(port, 0x40).status == .good)
        let results = logParameters(port.logSense(0x10).dataIn)
        let first = (1...5).map { results[UInt16($0)]?.value[0] }
        #expect(first == [0x44, 0xA4, 0xC0, 0x20, 0x00])
        #expect(results[1]?.value.suffix(4) == [0x03, 0x0C, 0x00, 0x00])
        #expect(results[3]?.value[4..<16] == [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])
        for _ in 0..<20 { _ = send(port, 0x40) }
        #expect(store.kept[KeptParameter(.selfTests)]?.count == 320)
        let again = UnitFixture()
        again.device.commonLogPages = [.selfTestResults]
        again.unit.keepParameters(with: ParameterStore(store.kept))
        #expect(again.initiator().logSense(0x10).dataIn == port.logSense(0x10).dataIn)
    }

    @Test("Fields of SEND DIAGNOSTIC that do not go together are refused")
    func wrongFields() {
        let port = UnitFixture().initiator()
        #expect(send(port, 0x00).status == .good && send(port, 0x03).status == .good)
        for code in [UInt8(0x60), 0xE0, 0x24, 0x80] {
            #expect(send(port, code).sense == .invalidField(byte: 1, bit: 7))
        }
        #expect(send(port, 0x04, [0, 0, 0, 0]).sense == .invalidField(byte: 3))
        #expect(send(port, 0x20, [0, 0, 0, 0]).sense == .invalidField(byte: 3))
        #expect(send(port, 0x00, [0, 0, 0, 0]).sense == .invalidField(byte: 1, bit: 4))
        #expect(send(port, 0x08).sense == .invalidField(byte: 1, bit: 3))
    }

    @Test("The only diagnostic page is the list of them")
    func pages() {
        let port = UnitFixture().initiator()
        #expect(send(port, 0x10, [0, 0, 0, 0]).status == .good)
        let list: [UInt8] = [0, 0, 0, 1, 0]
        #expect(port.execute([OperationCode.receiveDiagnosticResults, 0, 0, 0, 255, 0]).dataIn == list)
        #expect(port.execute([OperationCode.receiveDiagnosticResults, 1, 0, 0, 255, 0]).dataIn == list)
        #expect(port.execute([OperationCode.receiveDiagnosticResults, 1, 0, 0, 3, 0]).dataIn == [0, 0, 0])
        #expect(
            port.execute([OperationCode.receiveDiagnosticResults, 1, 1, 0, 255, 0]).sense == .invalidField(byte: 2))
        #expect(send(port, 0x10, [0x40, 0, 0, 0]).sense == .invalidParameter(byte: 0))
        #expect(send(port, 0x10, [0, 0, 0, 1, 0]).sense == .invalidParameter(byte: 2))
        for length in [1, 2, 3, 5] {
            let sense = send(port, 0x10, [UInt8](repeating: 0, count: length)).sense
            #expect(sense == SenseData(.illegalRequest, .parameterListLengthError))
        }
    }

    // MARK: Buffers

    private func read(
        _ port: InMemoryPort, _ mode: UInt8, _ buffer: UInt8 = 0, at offset: Int = 0, _ length: Int = 65535
    )
        -> CommandResult
    {
        var command: [UInt8] = [OperationCode.readBuffer10, mode, buffer]
        command.appendBE24(UInt32(offset))
        command.appendBE24(UInt32(length))
        return port.execute(command + [0])
    }

    private func write(_ port: InMemoryPort, _ mode: UInt8, _ bytes: [UInt8], _ buffer: UInt8 = 0, at offset: Int = 0)
        -> CommandResult
    {
        var command: [UInt8] = [OperationCode.writeBuffer, mode, buffer]
        command.appendBE24(UInt32(offset))
        command.appendBE24(UInt32(bytes.count))
        return port.execute(command + [0], dataOut: bytes)
    }

    @Test("The echo buffer returns what the nexus wrote, and says when another has written over it")
    func echo() {
        let fixture = UnitFixture()
        let (port, other) = (fixture.initiator(), fixture.initiator("iqn.2026-11.test:b"))
        #expect(read(port, 0x0B).dataIn == [1, 0, 0x10, 0])
        #expect(read(port, 0x0A).sense == SenseData(.illegalRequest, .commandSequenceError))
        let bytes = (0..<4096).map { UInt8($0 & 0xFF) }
        #expect(write(port, 0x0A, bytes).status == .good && read(port, 0x0A).dataIn == bytes)
        #expect(read(port, 0x0A, 0, at: 0, 7).dataIn == Array(bytes.prefix(7)))
        #expect(write(port, 0x0A, bytes + [1]).sense == .invalidField(byte: 6))
        #expect(write(other, 0x0A, [5, 6]).status == .good && read(other, 0x0A).dataIn == [5, 6])
        #expect(read(port, 0x0A).sense == SenseData(.abortedCommand, .echoBufferOverwritten))
    }

    @Test("MODE SPECIFIC is refused by its bit in modes that have none")
    func modeSpecific() {
        let port = UnitFixture().initiator()
        for mode in [0x02, 0x0A] as [UInt8] {
            for bit in 5...7 {
                #expect(write(port, mode | 1 << UInt8(bit), [1]).sense == .invalidField(byte: 1, bit: UInt8(bit)))
            }
        }
    }

    @Test("The data buffer is written and read at any offset inside of it")
    func data() {
        let port = UnitFixture().initiator()
        #expect(read(port, 0x03).dataIn == [0, 0, 0x20, 0] && read(port, 0x03, 1).dataIn == [0, 0, 0, 0])
        #expect(read(port, 0x02).dataIn == [UInt8](repeating: 0, count: 8192))
        #expect(write(port, 0x02, [1, 2, 3], at: 8189).status == .good)
        #expect(read(port, 0x02, at: 8188).dataIn == [0, 1, 2, 3] && read(port, 0x02, at: 8192).dataIn == [])
        #expect(write(port, 0x02, [1, 2, 3, 4], at: 8189).sense == .invalidField(byte: 6))
        #expect(write(port, 0x02, [], at: 8193).sense == .invalidField(byte: 3))
        #expect(read(port, 0x02, at: 8193).sense == .invalidField(byte: 3))
        #expect(read(port, 0x02, 1).sense == .invalidField(byte: 2))
        #expect(write(port, 0x02, [1], 1).sense == .invalidField(byte: 2))
    }

    @Test("Microcode and other modes are refused", arguments: [0x00, 0x04, 0x05, 0x06, 0x07, 0x0D, 0x0E, 0x0F, 0x1C])
    func otherModes(mode: Int) {
        let port = UnitFixture().initiator()
        #expect(write(port, UInt8(mode), [1, 2, 3, 4]).sense == .invalidField(byte: 1, bit: 4))
        #expect(read(port, UInt8(mode)).sense == .invalidField(byte: 1, bit: 4))
        #expect(read(port, UInt8(mode) | 0x20).sense == .invalidField(byte: 1, bit: 5))
        #expect(write(port, UInt8(mode) | 0xC0, [1, 2, 3, 4]).sense == .invalidField(byte: 1, bit: 7))
    }
}
