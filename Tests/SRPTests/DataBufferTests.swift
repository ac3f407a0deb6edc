import Bytes
import SCSI
import SRP
import Testing

@Suite("Data buffers of SRP_CMD")
struct DataBufferTests {
    private let immediate = SRPCommandRules(immediateDataOffset: 80)

    private func errorOfCommand(_ bytes: [UInt8], _ rules: SRPCommandRules = SRPCommandRules()) throws -> SRPError {
        try error { () throws(SRPError) in try SRPCommand(parsing: bytes.rawSpan, rules: rules).tag }
    }

    @Test("Direct, as ib_srp sends it: counts are zero")
    func direct() throws {
        var command = SRPCommand()
        command.dataIn = .direct(Samples.descriptor)
        let bytes = encoded(command)
        #expect(bytes.count == 64 && Array(bytes[5..<8]) == [0x01, 0, 0])
        #expect(Array(bytes[48...]) == words(0x7FFF_0000, 0x1234_5000, 0x1122_3344, 4096))
        let read = try SRPCommand(parsing: bytes.rawSpan)
        #expect(read.dataIn == .direct(Samples.descriptor) && read.dataOut == .none)
        #expect(read.dataIn.dataLength == 4096 && read.dataInList.isEmpty && read.immediateData == nil)
        // A count has no meaning for direct descriptors.
        var counted = bytes
        counted[7] = 200
        #expect(try SRPCommand(parsing: counted.rawSpan).dataIn == read.dataIn)
        command = SRPCommand()
        command.dataOut = .direct(Samples.descriptor)
        #expect(encoded(command)[5] == 0x10)
        #expect(try SRPCommand(parsing: encoded(command).rawSpan).dataOut == .direct(Samples.descriptor))
    }

    @Test("Behind an additional CDB, and data-in behind data-out")
    func bidirectional() throws {
        var command = SRPCommand(cdb: CommandDescriptorBlock([UInt8](repeating: 7, count: 32)))
        command.dataOut = Samples.indirect(tableCount: 2, dataLength: 600, listCount: 2)
        command.dataIn = Samples.indirect(tableCount: 3, dataLength: 700, listCount: 1)
        let bytes = Samples.bytes(
            of: command, dataOut: Samples.list([512, 512]), dataIn: Samples.list([100]))
        #expect(bytes.count == 64 + 20 + 32 + 20 + 16)
        #expect(Array(bytes[5..<8]) == [0x22, 2, 1])
        let again = try SRPCommand(parsing: bytes.rawSpan)
        #expect(again.dataOutList == 84..<116 && again.dataInList == 136..<152)
        #expect(again.dataOut == command.dataOut && again.dataIn == command.dataIn)
        let list = SRPDescriptorList(bytes.rawSpan.extracting(again.dataOutList))
        #expect(list.count == 2 && list.dataLength == 1024)
        let (second, end) = (list[1], again.length)
        #expect(second.virtualAddress == 1 << 32 && second.memoryHandle == 1 && end == bytes.count)
    }

    @Test("Indirect with the whole table")
    func wholeTable() throws {
        var command = SRPCommand()
        command.dataIn = Samples.indirect(tableCount: 255, dataLength: 255 * 4096, listCount: 255)
        let list = Samples.list([UInt32](repeating: 4096, count: 255))
        let bytes = Samples.bytes(of: command, dataIn: list)
        let again = try SRPCommand(parsing: bytes.rawSpan)
        guard case .indirect(let buffer) = again.dataIn else { throw SRPError.empty }
        #expect(buffer.isListComplete && buffer.tableCount == 255)
        #expect(Array(bytes[again.dataInList]) == list)
        #expect(again.dataIn.dataLength == 255 * 4096)
    }

    @Test("Indirect with a partial list: the table is checked when it has been fetched")
    func partialList() throws {
        var command = SRPCommand()
        command.dataOut = Samples.indirect(tableCount: 4, dataLength: 2000, listCount: 1)
        let bytes = Samples.bytes(of: command, dataOut: Samples.list([1]))
        guard case .indirect(let buffer) = try SRPCommand(parsing: bytes.rawSpan).dataOut else { throw SRPError.empty }
        #expect(!buffer.isListComplete && buffer.tableCount == 4)
        let enough = Samples.list([500, 500, 500, 500])
        try buffer.check(SRPDescriptorList(enough.rawSpan))
        let short = Samples.list([500, 500, 500, 499])
        let refusal = try error { () throws(SRPError) in try buffer.check(SRPDescriptorList(short.rawSpan)) }
        #expect(refusal == .listTooShort(bytes: 1999, total: 2000))
        #expect(refusal.remedy == .response(.requestFieldsInvalid))
    }

    @Test("Sums of the largest descriptors do not overflow")
    func largest() throws {
        var command = SRPCommand()
        command.dataOut = Samples.indirect(tableCount: 255, dataLength: .max, listCount: 255)
        let bytes = Samples.bytes(of: command, dataOut: Samples.list([UInt32](repeating: .max, count: 255)))
        #expect(try SRPCommand(parsing: bytes.rawSpan).dataOut.dataLength == .max)
    }

    @Test("Lists and tables that contradict each other")
    func contradictions() throws {
        var command = SRPCommand()
        command.dataIn = Samples.indirect(tableCount: 2, dataLength: 1025, listCount: 2)
        let list = Samples.list([512, 512])
        #expect(
            try errorOfCommand(Samples.bytes(of: command, dataIn: list)) == .listTooShort(bytes: 1024, total: 1025))
        command.dataIn = Samples.indirect(tableCount: 1, dataLength: 512, listCount: 2)
        #expect(
            try errorOfCommand(Samples.bytes(of: command, dataIn: list)) == .listLongerThanTable(list: 2, table: 1))
        command.dataIn = Samples.indirect(tableCount: 2, dataLength: 512, listCount: 2)
        var bytes = Samples.bytes(of: command, dataIn: list)
        bytes[48 + 15] = 33
        #expect(try errorOfCommand(bytes) == .tableLength(33))
        #expect(try errorOfCommand(bytes).remedy == .response(.requestFieldsInvalid))
        bytes[48 + 15] = 32
        bytes[7] = 3
        #expect(try errorOfCommand(bytes) == .descriptorsDoNotFit(end: 116, limit: 100))
    }

    @Test("Immediate data, as ib_srp sends it at offset 80")
    func immediateData() throws {
        var command = SRPCommand()
        command.dataOut = .immediate(512)
        command.immediateDataOffset = 80
        var bytes = encoded(command)
        bytes.replaceSubrange(80..., with: [UInt8](repeating: 0x5A, count: 512))
        #expect(bytes.count == 592 && bytes[5] == 0x30 && Array(bytes[48..<52]) == [0, 0, 2, 0])
        let write = try SRPCommand(parsing: bytes.rawSpan, rules: immediate)
        #expect(write.dataOut == .immediate(512) && write.immediateData == 80..<592)
        #expect(write.dataOut.dataLength == 512)

        #expect(try errorOfCommand(bytes) == .unsupportedDataOutFormat(3))
        let short = try errorOfCommand(Array(bytes.dropLast()), immediate)
        #expect(short == .immediateDataDoesNotFit(end: 592, limit: 591))
        #expect(short.remedy == .response(.requestFieldsInvalid))
        bytes.replaceSubrange(48..<52, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(
            try errorOfCommand(bytes, immediate) == .immediateDataDoesNotFit(end: 0xFFFF_FFFF + 80, limit: 592))
    }

    @Test("Descriptors end before immediate data begins")
    func immediateDataAndDescriptors() throws {
        var command = SRPCommand()
        command.dataOut = .immediate(8)
        command.dataIn = .direct(Samples.descriptor)
        command.immediateDataOffset = 80
        #expect(try SRPCommand(parsing: encoded(command).rawSpan, rules: immediate).dataIn == command.dataIn)
        let tight = SRPCommandRules(immediateDataOffset: 64)
        #expect(try errorOfCommand(encoded(command), tight) == .descriptorsDoNotFit(end: 68, limit: 64))
        // Additional CDB of 32 bytes leaves no room for the length before offset 80.
        var long = encoded(command)
        long[31] = 32
        #expect(try errorOfCommand(long, immediate) == .descriptorsDoNotFit(end: 84, limit: 80))
    }

    @Test("Formats that are reserved or were not agreed on", arguments: UInt8(0)...15)
    func formats(code: UInt8) throws {
        var bytes = [UInt8](repeating: 0, count: 128)
        bytes[0] = 0x02
        let none = SRPCommandRules(bufferFormats: [])
        for rules in [none, SRPCommandRules(), immediate] {
            let isAgreed = code == 0 || (code <= 2 && rules != none)
            bytes[5] = code
            if isAgreed {
                #expect(try SRPCommand(parsing: bytes.rawSpan, rules: rules).dataIn.formatCode == code)
            } else {
                #expect(try errorOfCommand(bytes, rules) == .unsupportedDataInFormat(code))
                #expect(try errorOfCommand(bytes, rules).remedy == .targetLogout(.unsupportedDataInFormat))
            }
            bytes[5] = code << 4
            if isAgreed || code == 3 && rules == immediate {
                #expect(try SRPCommand(parsing: bytes.rawSpan, rules: rules).dataOut.formatCode == code)
            } else {
                #expect(try errorOfCommand(bytes, rules) == .unsupportedDataOutFormat(code))
                #expect(try errorOfCommand(bytes, rules).remedy == .targetLogout(.unsupportedDataOutFormat))
            }
        }
    }

    @Test("Task attributes; those that are reserved are invalid fields", arguments: UInt8(0)...7)
    func taskAttributes(code: UInt8) throws {
        let known: [UInt8: TaskAttribute] = [0: .simple, 1: .headOfQueue, 2: .ordered, 4: .autoContingentAllegiance]
        var bytes = [UInt8](repeating: 0, count: 48)
        bytes[0] = 0x02
        bytes[29] = code | 0xF8
        guard let attribute = known[code] else {
            #expect(try errorOfCommand(bytes) == .reservedTaskAttribute(code))
            #expect(try errorOfCommand(bytes).remedy == .response(.requestFieldsInvalid))
            return
        }
        let command = try SRPCommand(parsing: bytes.rawSpan)
        #expect(command.taskAttribute == attribute && encoded(command)[29] == code)
    }

    @Test("The longest additional CDB is taken, and is not whole")
    func longestCDB() throws {
        var bytes = [UInt8](repeating: 0, count: 48 + 252)
        bytes[0] = 0x02
        bytes[31] = 0xFF
        let command = try SRPCommand(parsing: bytes.rawSpan)
        #expect(command.additionalCDBLength == 252 && !command.isCDBWhole && command.cdb.count == 32)
        #expect(try errorOfCommand(Array(bytes.dropLast())) == .descriptorsDoNotFit(end: 300, limit: 299))
    }
}
