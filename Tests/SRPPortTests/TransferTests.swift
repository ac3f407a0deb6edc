import Bytes
import DeviceTestSupport
import Fabric
import Platform
import SCSI
import SRP
import TestSupport
import Testing

@testable import SRPPort

@Suite("SRP port: data")
struct TransferTests {
    @Test("A channel, INQUIRY, WRITE and READ by direct descriptors")
    func walking() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            #expect(initiator.limit == 64)
            let inquiry = TestCommand.inquiry()
            let answer = initiator.run(inquiry)
            #expect(answer?.status == .good)
            let text = String(decoding: initiator.data(inquiry, count: 24)[8...], as: UTF8.self)
            #expect(text == "CAROUSELMEMORY  ".prefix(16))
            var random = SeededRandom(seed: 1)
            let data = random.bytes(8 * 512)
            #expect(initiator.run(.write(100, data))?.status == .good)
            let read = TestCommand.read(100, 8)
            #expect(initiator.run(read)?.status == .good)
            #expect(initiator.data(read, count: data.count) == data)
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }

    private static let forms: [BufferForm] = [
        .direct, .complete(1), .complete(3), .complete(16), .partial(2, 1), .partial(3, 0), .partial(16, 2),
        .partial(100, 12), .partial(300, 0), .partial(300, 255),
    ]

    @Test(
        "Every form of descriptors, read and written, with messages of every length",
        arguments: [FabricTransport.roce, .iWARP], [1 << 30, 4096, 1000])
    func forms(transport: FabricTransport, messageLength: Int) throws {
        try onReactor {
            var setup = PortSetup()
            setup.transport = transport
            // Information units are messages, too.
            setup.deviceLimits.messageLength = max(messageLength, SRPPortLimits.maximumTargetLength)
            let fixture = try PortFixture(setup)
            let initiator = try fixture.loggedIn()
            var random = SeededRandom(seed: UInt64(messageLength))
            for (number, outForm) in (Self.forms + [.immediate]).enumerated() {
                for inForm in Self.forms {
                    let isLong = messageLength > 8192 || outForm != .partial(300, 255) && inForm != .partial(300, 255)
                    guard isLong, outForm != .immediate || messageLength > 8192 else { continue }
                    let blocks = outForm == .immediate ? 16 : Int.random(in: 8...64, using: &random)
                    let data = random.bytes(blocks * 512)
                    let write = initiator.run(.write(number * 64, data, outForm))
                    #expect(write?.status == .good && write?.response.dataOutResidual.count == 0, "\(outForm)")
                    let read = TestCommand.read(number * 64, blocks, inForm)
                    let answer = initiator.run(read)
                    #expect(answer?.status == .good && answer?.response.dataInResidual.count == 0, "\(inForm)")
                    let isSame = initiator.data(read, count: data.count) == data
                    #expect(isSame, "\(outForm), then \(inForm)")
                }
            }
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }

    @Test("A command of megabytes in pieces of a page, in two directions")
    func large() throws {
        try onReactor {
            var setup = PortSetup()
            setup.blockCount = 16384
            setup.deviceLimits.workRequests = 80
            let fixture = try PortFixture(setup)
            let initiator = try TestInitiator(fixture, number: 1, areas: 40)
            try initiator.logIn()
            _ = initiator.run(.testUnitReady)
            let memory = try #require(initiator.memory)
            var random = SeededRandom(seed: 5)
            let data = random.bytes(8 << 20)
            let start = initiator.area(0)
            memory.fill(data, at: start)
            let tag = initiator.takeTag()
            initiator.spend()
            initiator.send(Self.transfer(0x2A, tag, memory, start, 8 << 20, isOut: true))
            fixture.settle()
            #expect(initiator.answers[tag]?.status == .good)
            memory.fill([UInt8](repeating: 0, count: 8 << 20), at: start)
            let readTag = initiator.takeTag()
            initiator.spend()
            initiator.send(Self.transfer(0x28, readTag, memory, start, 8 << 20, isOut: false))
            fixture.settle()
            #expect(initiator.answers[readTag]?.status == .good)
            let isSame = memory.bytes(start, 8 << 20) == data
            #expect(isSame)
            fixture.finish()
        }
    }

    /// READ(10) or WRITE(10) of the first `length` bytes, whose table has a descriptor for each 4 KiB.
    private static func transfer(
        _ code: UInt8, _ tag: UInt64, _ memory: TestMemory, _ start: Int, _ length: Int, isOut: Bool
    ) -> [UInt8] {
        let blocks = length / 512
        var command = SRPCommand(
            cdb: CommandDescriptorBlock(
                [code, 0, 0, 0, 0, 0, 0, UInt8(blocks >> 8), UInt8(blocks & 0xFF)]
                    + [UInt8](repeating: 0, count: 7)))
        command.tag = tag
        var table: [UInt8] = []
        for offset in stride(from: 0, to: length, by: 4096) {
            let descriptor = memory.descriptor(start + offset, 4096)
            table.appendBE64(descriptor.virtualAddress)
            table.appendBE32(descriptor.memoryHandle)
            table.appendBE32(descriptor.dataLength)
        }
        memory.fill(table, at: start + length)
        let buffer = SRPDataBuffer.indirect(
            SRPIndirectBuffer(
                table: memory.descriptor(start + length, table.count), dataLength: UInt32(length), listCount: 0))
        if isOut { command.dataOut = buffer } else { command.dataIn = buffer }
        return command.bytes
    }

    @Test("Residuals, over and under, in both directions")
    func residuals() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            let data = [UInt8](repeating: 7, count: 4 * 512)
            #expect(initiator.run(.write(0, data))?.status == .good)

            var read = TestCommand.read(0, 2)
            read.inLength = 4 * 512
            #expect(initiator.run(read)?.response.dataInResidual == .under(1024))
            read = .read(0, 4)
            read.inLength = 1000
            let cut = initiator.run(read)
            #expect(cut?.response.dataInResidual == .over(1048) && cut?.status == .good)
            #expect(initiator.data(read, count: 1000) == Array(data.prefix(1000)))
            read = .read(0, 4)
            read.inForm = .none
            #expect(initiator.run(read)?.response.dataInResidual == .over(2048))

            var write = TestCommand.write(0, data)
            write.cdb[8] = 2
            let more = initiator.run(write)
            #expect(more?.status == .good && more?.response.dataOutResidual == .under(1024))
            write = .write(0, data)
            write.cdb[8] = 6
            let less = initiator.run(write)
            #expect(less?.status == .checkCondition && less?.response.dataOutResidual == .over(1024))
            #expect(less?.senseData?.additionalSenseCode == .invalidFieldInCommandInformationUnit)

            // A command that fails uses nothing of its buffer.
            read = .read(1 << 20, 4)
            let failed = initiator.run(read)
            #expect(failed?.response.dataInResidual == .under(2048))
            #expect(failed?.senseData == SenseData(.illegalRequest, .logicalBlockAddressOutOfRange))
            fixture.finish()
        }
    }

    @Test("Sense data of every length, a long CDB, other units, solicited answers")
    func answers() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            let foreign = initiator.run(TestCommand([0xC2] + [UInt8](repeating: 0, count: 15)))
            #expect(foreign?.sense == MemoryDevice.longestSense)
            var long = TestCommand.testUnitReady.encoded(
                tag: initiator.takeTag(), try #require(initiator.memory), area: 0)
            long[31] = 200
            initiator.spend()
            initiator.send(long + [UInt8](repeating: 0, count: 200))
            fixture.settle()
            let refused = initiator.answers[long.rawSpan.loadBE64(at: 8)]?.senseData
            #expect(refused == SenseData(.illegalRequest, .invalidCommandOperationCode))
            var absent = TestCommand.testUnitReady
            absent.lun = 9
            #expect(initiator.run(absent)?.senseData?.additionalSenseCode == .logicalUnitNotSupported)
            #expect(initiator.solicited == 0)
            var command = TestCommand.testUnitReady
            command.solicitation = .success
            _ = initiator.run(command)
            #expect(initiator.solicited == 1)
            command.solicitation = .failure
            _ = initiator.run(command)
            #expect(initiator.solicited == 1)
            command.lun = 9
            _ = initiator.run(command)
            #expect(initiator.solicited == 2)
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }

    @Test("Data and sense data of one command")
    func dataWithSense() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            for form in [BufferForm.direct, .complete(5), .partial(5, 2)] {
                var command = TestCommand([MemoryDevice.dataWithSense] + [UInt8](repeating: 0, count: 15))
                command.inLength = 2048
                command.inForm = form
                let answer = initiator.run(command)
                #expect(answer?.status == .checkCondition)
                #expect(answer?.senseData == SenseData(.noSense, .filemarkDetected))
                #expect(answer?.response.dataInResidual == .under(1536))
                #expect(initiator.data(command, count: 512) == [UInt8](repeating: 0x5A, count: 512))
            }
            fixture.finish()
        }
    }

    @Test("What descriptors say that does not fit is answered, and the channel goes on")
    func invalidFields() throws {
        try onReactor {
            var setup = PortSetup()
            setup.limits.tableDescriptors = 32
            let fixture = try PortFixture(setup)
            let initiator = try fixture.loggedIn()
            let data = [UInt8](repeating: 1, count: 4096)
            let spoil: @Sendable (inout SRPMemoryDescriptor) -> Void = { $0.dataLength -= 1 }
            for form in [BufferForm.complete(4), .partial(4, 0), .partial(40, 0)] {
                var write = TestCommand.write(0, data, form)
                var read = TestCommand.read(0, 8, form)
                if form != .partial(40, 0) {
                    write.spoil = spoil
                    read.spoil = spoil
                }
                for command in [write, read] {
                    let answer = initiator.run(command)
                    #expect(answer?.response.responseCode == .requestFieldsInvalid, "\(form)")
                    #expect(answer?.status == .checkCondition)
                    #expect(answer?.senseData?.additionalSenseCode == .invalidFieldInCommandInformationUnit)
                }
            }
            #expect(initiator.run(.testUnitReady)?.status == .good)
            #expect(initiator.credits == initiator.limit)
            fixture.finish()
        }
    }

    @Test("Without memory for the data: TASK SET FULL, and the command that comes later finds some")
    func exhausted() throws {
        try onReactor {
            let fixture = try PortFixture()
            let initiator = try fixture.loggedIn()
            var held: [BufferLeaseBox] = []
            let pool = fixture.reactor.pool
            for length in [16 << 20, 1 << 20, 64 << 10, 4096] {
                while let lease = pool.lease(capacity: length) { held.append(BufferLeaseBox(lease)) }
            }
            let data = [UInt8](repeating: 1, count: 4096)
            for form in [BufferForm.direct, .complete(2), .partial(4, 0), .immediate] {
                #expect(initiator.run(.write(0, data, form))?.status == .taskSetFull, "\(form)")
            }
            #expect(initiator.run(.read(0, 8))?.status == .taskSetFull)
            #expect(initiator.run(.read(0, 8, .partial(4, 0)))?.status == .taskSetFull)
            let other = try fixture.initiator(2)
            try other.logIn()
            #expect(other.outcome == .rejected(SRPLoginReject(.insufficientResources, tag: 0xABCD)))
            held = []
            #expect(initiator.run(.write(0, data))?.status == .good)
            fixture.finish()
        }
    }
}
