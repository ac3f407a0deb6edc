import DeviceTestSupport
import Platform
import SCSI
import TargetCore
import Testing

@Suite("Order of tasks and task management")
struct OrderingTests {
    /// Starts a command that waits under `name`.
    private func start(
        _ port: InMemoryPort, _ operationCode: UInt8, _ name: UInt8, _ attribute: TaskAttribute = .simple,
        completion: @escaping @Sendable (CommandResult) -> Void = { _ in }
    ) -> Int {
        port.submit([operationCode, 0, 0, 0, name, 0], attribute: attribute, expecting: 0, completion: completion)
    }

    @Test("Shared commands run side by side, an exclusive one waits and holds the newer ones back")
    func exclusive() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        _ = start(port, ExampleDevice.wait, 1)
        _ = start(port, ExampleDevice.wait, 2)
        _ = start(port, ExampleDevice.waitAlone, 3)
        _ = start(port, ExampleDevice.wait, 4)
        #expect(fixture.device.begun == [1, 2])
        #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good, "INQUIRY passes all")
        port.onReactor { fixture.device.letGo(1) }
        #expect(fixture.device.begun == [1, 2])
        port.onReactor { fixture.device.letGo(2) }
        #expect(fixture.device.begun == [1, 2, 3])
        port.onReactor { fixture.device.letGo(3) }
        #expect(fixture.device.begun == [1, 2, 3, 4])
        port.onReactor { fixture.device.letGo(4) }
    }

    @Test("ORDERED waits for the older and holds the newer; HEAD OF QUEUE goes to the front")
    func attributes() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        _ = start(port, ExampleDevice.wait, 1)
        _ = start(port, ExampleDevice.wait, 2, .ordered)
        _ = start(port, ExampleDevice.wait, 3)
        _ = start(port, ExampleDevice.waitAlone, 4, .headOfQueue)
        _ = start(port, ExampleDevice.wait, 5, .headOfQueue)
        #expect(fixture.device.begun == [1, 5])
        port.onReactor {
            fixture.device.letGo(1)
            fixture.device.letGo(5)
        }
        #expect(fixture.device.begun == [1, 5, 4])
        for name in [4, 2, 3] as [UInt8] { port.onReactor { fixture.device.letGo(name) } }
        #expect(fixture.device.begun == [1, 5, 4, 2, 3])
    }

    @Test("A serial unit runs one command at a time over all nexuses")
    func serial() throws {
        let fixture = UnitFixture(isSerial: true)
        let first = fixture.initiator("iqn.2026-11.test:a")
        let second = fixture.initiator("iqn.2026-11.test:b")
        _ = start(first, ExampleDevice.wait, 1)
        _ = start(second, ExampleDevice.wait, 2)
        #expect(fixture.device.begun == [1])
        first.onReactor { fixture.device.letGo(1) }
        #expect(fixture.device.begun == [1, 2])
        first.onReactor { fixture.device.letGo(2) }
    }

    @Test("ABORT TASK ends a waiting task at once, and waits for one that is with the medium")
    func abortTask() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        let aborted = Lock<[UInt8]>([])
        let running = start(port, ExampleDevice.waitAlone, 1) { if $0.isAborted { aborted.withLock { $0.append(1) } } }
        let waiting = start(port, ExampleDevice.waitAlone, 2) { if $0.isAborted { aborted.withLock { $0.append(2) } } }
        #expect(port.manage(.queryTask, slot: running) == .succeeded)
        #expect(port.manage(.abortTask, slot: waiting) == .complete)
        #expect(aborted.withLock { $0 } == [2])
        let isAnswered = Lock(false)
        port.onReactor {
            port.nexus.perform(
                .abortTaskSet, logicalUnitNumber: LogicalUnitNumber(0), reference: nil
            ) { _ in isAnswered.withLock { $0 = true } }
        }
        #expect(!isAnswered.withLock { $0 }, "the function waits for the task that the medium has")
        port.onReactor { fixture.device.letGo(1) }
        port.onReactor {}
        #expect(isAnswered.withLock { $0 })
        #expect(aborted.withLock { $0 } == [2, 1])
        #expect(port.manage(.abortTask, slot: running) == .taskDoesNotExist)
        #expect(port.manage(.queryTaskSet) == .complete)
        #expect(port.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good)
    }

    @Test("Several functions wait for the same task, and none starts a task that it aborts")
    func abortTwice() throws {
        let fixture = UnitFixture()
        let port = fixture.initiator()
        _ = start(port, ExampleDevice.waitAlone, 1)
        _ = start(port, ExampleDevice.wait, 2)
        let answers = Lock(0)
        port.onReactor {
            for function in [TaskManagementFunction.abortTaskSet, .clearTaskSet, .iTNexusReset] {
                port.nexus.perform(function, logicalUnitNumber: LogicalUnitNumber(0), reference: nil) { response in
                    if response == .complete { answers.withLock { $0 += 1 } }
                }
            }
        }
        #expect(answers.withLock { $0 } == 0)
        port.onReactor { fixture.device.letGo(1) }
        port.onReactor {}
        #expect(answers.withLock { $0 } == 3)
        #expect(fixture.device.begun == [1])
    }

    @Test("LOGICAL UNIT RESET ends the tasks of all nexuses on all reactors and tells each once")
    func logicalUnitReset() throws {
        let fixture = UnitFixture()
        let first = fixture.initiator("iqn.2026-11.test:a")
        let second = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        #expect(first.execute([OperationCode.reserve6, 0, 0, 0, 0, 0]).status == .good)
        #expect(first.execute([OperationCode.preventAllowMediumRemoval, 0, 0, 0, 1, 0]).status == .good)
        #expect(fixture.device.attachedNexuses.isMediumRemovalPrevented)
        #expect(first.manage(.logicalUnitReset) == .complete)
        #expect(fixture.device.resets == 1)
        #expect(!fixture.device.attachedNexuses.isMediumRemovalPrevented)
        #expect(first.clearUnitAttentions() == [.busDeviceResetOccurred])
        #expect(second.clearUnitAttentions() == [.busDeviceResetOccurred])
        #expect(
            second.execute([OperationCode.testUnitReady, 0, 0, 0, 0, 0]).status == .good, "the reservation is gone")
    }

    @Test("The serialisation rules, each pair of classes", arguments: OrderingClass.allCases, OrderingClass.allCases)
    func matrix(running: OrderingClass, new: OrderingClass) throws {
        let passes: Bool =
            switch (running, new) {
            case (_, .immediate), (.immediate, _): true
            case (.shared, .shared): true
            default: false
            }
        let operationCode: [OrderingClass: UInt8] = [.shared: ExampleDevice.wait, .exclusive: ExampleDevice.waitAlone]
        let fixture = UnitFixture()
        let port = fixture.initiator()
        if let code = operationCode[running] { _ = start(port, code, 1) }
        if let code = operationCode[new] {
            _ = start(port, code, 2)
            #expect(fixture.device.begun.contains(2) == passes)
        } else {
            #expect(port.execute([OperationCode.inquiry, 0, 0, 0, 96, 0]).status == .good)
        }
        port.onReactor {
            fixture.device.letGo(1)
            fixture.device.letGo(2)
        }
    }
}
