import Bytes
import DeviceTestSupport
import Dispatch
import Platform
import SCSI
import TargetCore
import Testing

@testable import DiskDevice
@testable import Media

@Suite("A disk with snapshots whose content is replaced, or never changes")
struct ContentTests {
    private let time = CalendarTime.current()
    private let block = [UInt8](repeating: 7, count: 512)
    private let changed = SenseData(.unitAttention, .mediumMayHaveChanged)

    private func fixture(
        _ engine: (any MediumEngine)? = nil, attributes: DiskAttributes = DiskAttributes()
    ) throws -> (DiskFixture, EpochDiskImage) {
        let fixture = try DiskFixture(engine: engine, attributes: attributes, format: .carousel)
        return (fixture, try #require(fixture.image as? EpochDiskImage))
    }

    private func snapshot(_ image: EpochDiskImage) throws -> UInt32 {
        try image.file.snapshot([image.node], names: ["one"], time: time)[0]
    }

    @Test("Every nexus is told of another content, and of another capacity")
    func attentions() throws {
        let (fixture, image) = try fixture()
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        ports[0].write(0, block)
        let snapshot = try snapshot(image)
        ports[1].write(0, [UInt8](repeating: 8, count: 512))
        _ = try image.rollBack(to: snapshot, keeping: "kept", time: time)
        for port in ports { #expect(port.port.clearUnitAttentions() == [.mediumMayHaveChanged]) }
        #expect(ports[1].read(0, 1) == block)
        try fixture.unit.resize(to: 4 << 20)
        for port in ports { #expect(port.port.clearUnitAttentions() == [.capacityDataHasChanged]) }
        #expect(fixture.unit.blockCount == 8192)
        #expect(ports[0].write(8000, block).status == .good)
        _ = try image.rollBack(to: snapshot, keeping: "kept too", time: time)
        for port in ports {
            #expect(Set(port.port.clearUnitAttentions()) == [.mediumMayHaveChanged, .capacityDataHasChanged])
        }
        #expect(fixture.unit.blockCount == 4096)
        #expect(ports[0].write(8000, block).sense == outOfRange)
        #expect(ports[0].write(4000, block).status == .good)
    }

    @Test("A command that has begun with the former content changes nothing of the new one")
    func commands() throws {
        let engine = SimulatedEngine()
        let (fixture, image) = try fixture(engine)
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let zero = [UInt8](repeating: 0, count: 512)
        let snapshot = try snapshot(image)
        let list = CDB.unmapList([(0, 8)])
        let commands: [([UInt8], [UInt8])] = [
            (CDB.ten(OperationCode.write10, lba: 1, count: 1), block),
            (CDB.ten(OperationCode.write10, lba: 1, count: 1, flags: 0x08), block),
            (CDB.ten(OperationCode.writeAndVerify10, lba: 1, count: 1), block),
            (CDB.sixteen(OperationCode.orWrite16, lba: 1, count: 1), block),
            (CDB.compareAndWrite(lba: 1, count: 1), zero + block),
            (CDB.ten(OperationCode.writeSame10, lba: 1, count: 8), block), (CDB.unmap(length: list.count), list),
            (CDB.ten(OperationCode.writeLong10, lba: 1, count: 0, flags: 0x40), []),
            (CDB.ten(OperationCode.read10, lba: 1, count: 1), []),
        ]
        for (number, (command, data)) in commands.enumerated() {
            // Its request waits in the lane.
            engine.hold()
            image.file.door.close()
            let (_, outcome) = port.submit(command, dataOut: data)
            fixture.settle()
            image.file.door.open()
            #expect(!outcome.hasArrived)
            _ = try image.rollBack(to: snapshot, keeping: "kept \(number)", time: time)
            engine.release()
            #expect(outcome.wait().sense == changed, "command \(number)")
            port.port.clearUnitAttentions()
            other.port.clearUnitAttentions()
            #expect(other.read(0, 16) == [UInt8](repeating: 0, count: 16 * 512), "command \(number)")
            // Its data are on their way.
            guard !data.isEmpty else { continue }
            port.port.withholdsDataOut = true
            let (slot, late) = port.submit(command, dataOut: data)
            fixture.settle()
            #expect(port.port.owesDataOut(slot))
            _ = try image.rollBack(to: snapshot, keeping: "kept \(number) too", time: time)
            port.port.sendDataOut(slot)
            #expect(late.wait().sense == changed, "command \(number)")
            port.port.withholdsDataOut = false
            port.port.clearUnitAttentions()
            other.port.clearUnitAttentions()
            #expect(other.read(0, 16) == [UInt8](repeating: 0, count: 16 * 512), "command \(number)")
        }
        #expect(fixture.unit.writeGate.isEmpty)
        #expect(!image.hasMarks)
        #expect(port.write(1, block).status == .good)
        #expect(fixture.leasedBytes(port) == 0)
    }

    @Test("COMPARE AND WRITE does not write to one content what it has compared in another")
    func compareAndWrite() throws {
        let engine = SimulatedEngine()
        let (fixture, image) = try fixture(engine)
        let port = fixture.initiator()
        let snapshot = try snapshot(image)
        port.write(1, block)
        engine.hold()
        let (_, outcome) = port.submit(CDB.compareAndWrite(lba: 1, count: 1), dataOut: block + block)
        fixture.settle()
        // It reads; and before it hears of that, the content is another one.
        let isReplaced = DispatchSemaphore(value: 0)
        fixture.reactor.postCompletion {
            // Its read, and what collects records in the background, in any order.
            while engine.step() {}
            _ = try? image.rollBack(to: snapshot, keeping: "kept", time: CalendarTime.current())
            isReplaced.signal()
        }
        isReplaced.wait()
        engine.release()
        #expect(outcome.wait().sense == changed)
        port.port.clearUnitAttentions()
        #expect(port.read(1, 1) == [UInt8](repeating: 0, count: 512))
    }

    @Test("ROD tokens end with the content")
    func tokens() throws {
        let (fixture, image) = try fixture()
        let port = fixture.initiator()
        let snapshot = try snapshot(image)
        let list = TokenList.populate([(0, 8)])
        #expect(port.execute(CopyCDB.populateToken(1, list.count), dataOut: list).status == .good)
        let token = Array(port.execute(CopyCDB.receive(7, 1)).dataIn.suffix(512))
        #expect(fixture.unit.writeGate.isWatched)
        _ = try image.rollBack(to: snapshot, keeping: "kept", time: time)
        port.port.clearUnitAttentions()
        #expect(!fixture.unit.writeGate.isWatched)
        let use = TokenList.write(token, [(16, 8)])
        #expect(
            port.sense(CopyCDB.writeUsingToken(2, use.count), dataOut: use)
                == SenseData(.illegalRequest, .tokenCancelled))
    }

    @Test("A snapshot is write protected, whatever an operator says")
    func snapshots() throws {
        let (fixture, image) = try fixture()
        fixture.initiator().write(0, block)
        let number = try snapshot(image)
        let reader = try DiskFixture { _, threads in
            try #require(EpochDiskImage(file: image.file, node: number, engine: threads))
        }
        let port = reader.initiator()
        let protected = SenseData(.dataProtect, .writeProtected)
        for _ in 0..<2 {
            #expect(port.read(0, 1) == block)
            #expect(port.write(0, block).sense == protected)
            let list = CDB.unmapList([(0, 8)])
            #expect(port.sense(CDB.unmap(length: list.count), dataOut: list) == protected)
            #expect(port.sense(CDB.ten(OperationCode.writeLong10, lba: 1, count: 0, flags: 0x40)) == protected)
            #expect(port.sense([OperationCode.formatUnit, 0, 0, 0, 0, 0]) == protected)
            #expect(port.sense(CDB.compareAndWrite(lba: 1, count: 1), dataOut: block + block) == protected)
            #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .good)
            // WP.
            let page = port.execute([OperationCode.modeSense6, 0, 0x3F, 0, 255, 0])
            #expect(page.dataIn[2] & 0x80 != 0)
            reader.unit.setReadOnly(false)
            port.port.clearUnitAttentions()
        }
        #expect(throws: DiskResizeError.self) { try reader.unit.resize(to: 16 << 20) }
    }
}
