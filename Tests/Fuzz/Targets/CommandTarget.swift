internal import Bytes
internal import DeviceTestSupport
internal import Platform
internal import SCSI
internal import TargetCore

/// The input is a kind of device, and commands with their data for it.
enum CommandTarget {
    private static let maximumCommands = 48

    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let fixture = CommandFixture.shared
        let device = fixture.devices[Int(reader.byte()) % fixture.devices.count]
        let port = InMemoryPort("iqn.2026-11.dev.carousel:host", target: device.target, reactor: fixture.reactor)
        defer { port.logOut() }
        _ = port.manage(.logicalUnitReset)
        port.clearUnitAttentions()
        for command in device.preparation { _ = port.execute(command) }
        var count = 0
        while !reader.isAtEnd, count < maximumCommands {
            count += 1
            try execute(&reader, port)
        }
    }

    private static func execute(_ reader: inout FuzzReader, _ port: InMemoryPort) throws(FuzzFinding) {
        let flags = reader.byte()
        if flags == 0xFF {
            _ = port.manage(TaskManagementFunction(rawValue: reader.byte() % 9) ?? .abortTaskSet)
            return
        }
        let operationCode = reader.byte()
        let length = CommandDescriptorBlock.length(ofOperationCode: operationCode) ?? 16
        let rest = reader.bytes(length - 1)
        let command = [operationCode] + rest + [UInt8](repeating: 0, count: length - 1 - rest.count)
        let expected = flags & 1 != 0 ? reader.number16() : 1 << 20
        var data: [UInt8] = []
        if flags & 2 != 0 { data = reader.bytes(Int(reader.byte())) }
        // Blocks of data need not stand in the input.
        if flags & 4 != 0 { data += [UInt8](repeating: 0x5A, count: Int(reader.byte()) * 512) }
        let attribute: TaskAttribute = flags & 8 != 0 ? .ordered : flags & 16 != 0 ? .headOfQueue : .simple
        let result = port.execute(
            command, logicalUnit: flags & 32 != 0 ? 1 : 0, attribute: attribute, dataOut: data, expecting: expected)
        try require(
            (result.sense != nil) == (result.status == .checkCondition),
            "sense data comes with CHECK CONDITION, and only then")
        try require(result.dataIn.count <= expected, "no more comes than was expected")
        try require(!result.isAborted, "what nobody aborts is answered")
    }
}
