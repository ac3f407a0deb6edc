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
        var token: [UInt8] = []
        while !reader.isAtEnd, count < maximumCommands {
            count += 1
            try execute(&reader, port, &token)
        }
    }

    /// Where RECEIVE ROD TOKEN INFORMATION has a ROD token when there is no sense data, and its length.
    private static let tokenOffset = 38
    private static let tokenLength = 512
    /// Where WRITE USING TOKEN has it.
    private static let tokenOffsetInList = 16

    /// The commands that have ended with GOOD: operation code, and service action or mode where there is one.
    private static let succeeded = Lock<Set<[UInt8]>>([])

    private static func note(_ command: [UInt8]) {
        let key =
            switch command[0] {
            case OperationCode.variableLength: [command[0], command[9]]
            case OperationCode.thirdPartyCopyOut, OperationCode.thirdPartyCopyIn, OperationCode.sanitize,
                OperationCode.writeBuffer, OperationCode.readBuffer10:
                [command[0], command[1] & 0x1F]
            default: [command[0]]
            }
        succeeded.withLock { _ = $0.insert(key) }
    }

    /// Whether a command of an input has ended with GOOD, in this process.
    static func hasSucceeded(_ command: [UInt8]) -> Bool { succeeded.withLock { $0.contains(command) } }

    /// Executes a command of the input; `token` is the ROD token that came last, which no input can guess.
    private static func execute(
        _ reader: inout FuzzReader, _ port: InMemoryPort, _ token: inout [UInt8]
    ) throws(FuzzFinding) {
        let flags = reader.byte()
        if flags == 0xFF {
            _ = port.manage(TaskManagementFunction(rawValue: reader.byte() % 9) ?? .abortTaskSet)
            return
        }
        let operationCode = reader.byte()
        let length =
            operationCode == OperationCode.variableLength
            ? CommandDescriptorBlock.maximumLength : CommandDescriptorBlock.length(ofOperationCode: operationCode) ?? 16
        let rest = reader.bytes(length - 1)
        let command = [operationCode] + rest + [UInt8](repeating: 0, count: length - 1 - rest.count)
        let expected = flags & 1 != 0 ? reader.number16() : 1 << 20
        var data: [UInt8] = []
        if flags & 2 != 0 { data = reader.bytes(flags & 64 != 0 ? reader.number16() : Int(reader.byte())) }
        if flags & 128 != 0, data.count >= tokenOffsetInList {
            data.replaceSubrange(tokenOffsetInList..<tokenOffsetInList, with: token)
        }
        // Blocks of data need not stand in the input.
        if flags & 4 != 0 { data += [UInt8](repeating: 0x5A, count: Int(reader.byte()) * 512) }
        let attribute: TaskAttribute = flags & 8 != 0 ? .ordered : flags & 16 != 0 ? .headOfQueue : .simple
        let result = port.execute(
            command, logicalUnit: flags & 32 != 0 ? 1 : 0, attribute: attribute, dataOut: data, expecting: expected)
        try require(
            (result.sense != nil || result.verbatimSense != nil) == (result.status == .checkCondition),
            "sense data comes with CHECK CONDITION, and only then")
        try require(result.dataIn.count <= expected, "no more comes than was expected")
        try require(!result.isAborted, "what nobody aborts is answered")
        if result.status == .good || result.status == .conditionMet { note(command) }
        if operationCode == OperationCode.thirdPartyCopyIn, result.dataIn.count >= tokenOffset + tokenLength {
            token = Array(result.dataIn[tokenOffset..<tokenOffset + tokenLength])
        }
    }
}
