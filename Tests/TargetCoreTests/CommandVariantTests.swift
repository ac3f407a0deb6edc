import DeviceTestSupport
import Platform
import SCSI
import Synchronization
import Testing

@testable import TargetCore

/// A device whose table has two variants: READ(6) with and without a bit in byte 1, and WRITE(6) in the second only.
private final class VariantDevice: DeviceServer {
    private static func row(
        _ code: UInt8, _ flags: UInt8, _ sense: AdditionalSenseCode
    ) -> CommandDescriptor<VariantDevice> {
        CommandDescriptor(code, "ROW", usage: [flags, 0, 0, 0, 0]) { device, task, _ in
            device.begun.add(1, ordering: .relaxed)
            return task.fail(.abortedCommand, sense)
        }
    }
    private static let common: [CommandDescriptor<VariantDevice>] = [
        CommonCommands.testUnitReady(), CommonCommands.requestSense(), CommonCommands.inquiry(),
    ]
    fileprivate static let table = CommandTable<VariantDevice>(variants: [
        common + CommonCommands.reportSupported() + [row(OperationCode.read6, 0, .logParametersChanged)],
        common + CommonCommands.reportSupported() + [
            row(OperationCode.read6, 0x10, .mediumMayHaveChanged), row(OperationCode.write6, 0, .mediumMayHaveChanged),
        ],
    ])

    let identity = DeviceIdentity(vendor: "CAROUSEL", product: "VARIANTS", revision: "1", serialNumber: "V1", naa: 3)
    let traits = InquiryTraits(type: .directAccessBlock)
    let commands = VariantDevice.table.commands
    let modePages = ModePages([])
    let attachedNexuses = AttachedNexuses()
    let variant = Atomic<Int>(0)
    let begun = Atomic<Int>(0)
    var commandVariant: Int { variant.load(ordering: .acquiring) }

    func begin(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.begin(command, self, task, nexus)
    }
    func execute(_ command: Int, _ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress {
        Self.table.execute(command, self, task, nexus)
    }
    func fileCompleted(_ task: SCSITask, _ nexus: ITLNexus) -> CommandProgress { task.good() }
}

@Suite("Variants of a command table")
struct CommandVariantTests {
    @Test("rows have numbers of their own in each variant, which says which it is")
    func rows() {
        let commands = VariantDevice.table.commands
        let block = CommandDescriptorBlock([OperationCode.read6, 0, 0, 0, 0, 0])
        guard case .command(let first) = commands.find(block, in: 0),
            case .command(let second) = commands.find(block, in: 1)
        else {
            Issue.record("READ(6) is in both")
            return
        }
        #expect(first != second && commands.variant(of: first) == 0 && commands.variant(of: second) == 1)
        #expect(commands.variant(of: -1) == 0 && commands.variant(of: 1000) == 0)
        #expect(commands.hasVariants && commands.attributes(in: 0).count + 1 == commands.attributes(in: 1).count)
        #expect(commands.name(ofOperationCode: OperationCode.write6) == "ROW")
        let write = CommandDescriptorBlock([OperationCode.write6, 0, 0, 0, 0, 0])
        #expect(commands.find(write, in: 0) == .unknownOperationCode)
    }

    @Test("a command is what it is in the variant in force, and so REPORT SUPPORTED OPERATION CODES says")
    func inForce() throws {
        let threads = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "variants", poolLimit: 1 << 24, fileEngine: threads)
        defer {
            reactor.stop()
            threads.stop()
        }
        let device = VariantDevice()
        let target = Target(name: "iqn.2026-11.dev.carousel:variants", alias: "", homeReactor: nil)
        target.map(LogicalUnit(device), at: 0)
        let port = InMemoryPort("iqn.2026-11.test:a", target: target, reactor: reactor)
        port.clearUnitAttentions()
        let report: [UInt8] = [0xA3, 0x0C, 0x01, OperationCode.write6, 0, 0, 0, 0, 0, 64, 0, 0]
        func codes(_ command: [UInt8]) -> AdditionalSenseCode? { port.execute(command).sense?.additionalSenseCode }
        let (read, write) = ([OperationCode.read6, 0x10, 0, 0, 0, 0], [OperationCode.write6, 0, 0, 0, 0, 0])
        #expect(codes(read) == .invalidFieldInCDB && codes(write) == .invalidCommandOperationCode)
        #expect(port.execute(report).dataIn[1] & 7 == 1)
        device.variant.store(1, ordering: .releasing)
        #expect(codes(read) == .mediumMayHaveChanged && codes(write) == .mediumMayHaveChanged)
        #expect(port.execute(report).dataIn[1] & 7 == 3)
        device.variant.store(0, ordering: .releasing)
        #expect(codes([OperationCode.read6, 0, 0, 0, 0, 0]) == .logParametersChanged)
        #expect(device.begun.load(ordering: .relaxed) == 3)
    }
}
