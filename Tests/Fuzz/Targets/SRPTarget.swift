internal import Bytes
internal import SCSI
internal import SRP

/// The input is what the login agreed on, and an information unit with its length; what follows is the table of
/// descriptors that a command leads to.
enum SRPTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let flags = reader.byte()
        let unit = reader.bytes(reader.number16())
        let table = reader.rest()
        try header(unit)
        try roundTrip(SRPInitiatorLogout.self, unit)
        try roundTrip(SRPTargetLogout.self, unit)
        try roundTrip(SRPTaskManagement.self, unit)
        try roundTrip(SRPResponse.self, unit)
        try roundTrip(SRPCreditRequest.self, unit)
        try roundTrip(SRPCreditResponse.self, unit)
        try roundTrip(SRPAsyncEventRequest.self, unit)
        try roundTrip(SRPAsyncEventResponse.self, unit)
        try command(unit, rules(flags), table)
    }

    /// The offset of immediate data is none, the one of Linux, and others that are tight.
    private static func rules(_ flags: UInt8) -> SRPCommandRules {
        SRPCommandRules(
            bufferFormats: SRPBufferFormats(rawValue: UInt16(flags & 0x06)),
            immediateDataOffset: [nil, 80, 52, 128][Int(flags >> 6)])
    }

    private static func header(_ bytes: [UInt8]) throws(FuzzFinding) {
        let header: SRPHeader
        do throws(SRPError) {
            header = try SRPHeader(parsing: bytes.rawSpan)
        } catch {
            if case .response = error.remedy {
                throw FuzzFinding(description: "what has no tag is not answered by its tag")
            }
            return
        }
        try require(header.type.isInitiatorType != header.type.isTargetType, "a type is one side's")
        try require(
            header.tag == bytes.rawSpan.loadBE64(at: 8), "the tag is where all information units have it")
    }

    static func encoded(_ unit: some SRPInformationUnit) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: unit.length)
        bytes.modifyBytes { unit.encode(into: &$0) }
        return bytes
    }

    /// What is parsed was all there, and encodes to bytes that parse to the same again.
    static func roundTrip<Unit: SRPInformationUnit & Equatable>(
        _ kind: Unit.Type, _ bytes: [UInt8]
    ) throws(FuzzFinding) {
        let unit: Unit
        do throws(SRPError) {
            unit = try Unit(parsing: bytes.rawSpan)
        } catch {
            return try refusal(error, of: Unit.type, bytes)
        }
        try require(unit.length <= bytes.count, "\(kind) is not longer than what was received")
        try require(unit.tag == bytes.rawSpan.loadBE64(at: 8), "\(kind) keeps its tag")
        let again = try? Unit(parsing: encoded(unit).rawSpan)
        try require(again == unit, "\(kind) is kept")
        try require(
            (try? Unit(parsing: Array(bytes.prefix(unit.length)).rawSpan)) == unit,
            "nothing behind \(kind) has a meaning")
    }

    /// The remedy of an error is one for the side that receives such information units.
    static func refusal(
        _ error: SRPError, of type: SRPInformationUnitType, _ bytes: [UInt8]
    ) throws(FuzzFinding) {
        if bytes.isEmpty { return try require(error == .empty, "nothing is nothing") }
        switch error.remedy {
        case .loginReject: try require(type == .loginRequest, "a login is rejected")
        case .response:
            try require(
                type == .command && bytes.count >= SRPCommand.minimumLength, "a command that has a tag is answered")
        case .targetLogout: try require(type.isInitiatorType, "a target port logs out")
        case .initiatorLogout: try require(type.isTargetType, "an initiator port logs out")
        }
    }

    private static func command(
        _ bytes: [UInt8], _ rules: SRPCommandRules, _ table: [UInt8]
    ) throws(FuzzFinding) {
        let command: SRPCommand
        do throws(SRPError) {
            command = try SRPCommand(parsing: bytes.rawSpan, rules: rules)
        } catch {
            return try refusal(error, of: .command, bytes)
        }
        let (out, into, data) = (command.dataOutList, command.dataInList, command.immediateData)
        try require(
            out.lowerBound >= command.descriptorOffset && out.upperBound <= into.lowerBound
                && into.upperBound <= bytes.count, "descriptors lie one behind the other, inside the command")
        if let data {
            try require(
                data.lowerBound >= into.upperBound && data.upperBound <= bytes.count,
                "immediate data lies behind the descriptors, inside the command")
            try require(data.lowerBound == rules.immediateDataOffset, "immediate data begins where it was agreed")
        }
        try require(
            data != nil || into.upperBound == command.length, "a command ends with its descriptors or its data")
        try listsAndTables(of: command, bytes, table)

        var copy = encoded(command)
        for range in [out, into, data].compacted { copy.replaceSubrange(range, with: bytes[range]) }
        guard let again = try? SRPCommand(parsing: copy.rawSpan, rules: rules) else {
            throw FuzzFinding(description: "a command is kept")
        }
        try require(
            again.tag == command.tag && again.dataOut == command.dataOut && again.dataIn == command.dataIn
                && again.logicalUnitNumber == command.logicalUnitNumber && again.taskAttribute == command.taskAttribute
                && again.solicitation == command.solicitation
                && again.additionalCDBLength == command.additionalCDBLength
                && again.cdb.bytes.isEqual(to: command.cdb.bytes), "a command is kept with all of its fields")
    }

    /// Whole lists have room for the data; a table that was fetched is refused exactly when it has not.
    private static func listsAndTables(
        of command: SRPCommand, _ bytes: [UInt8], _ table: [UInt8]
    ) throws(FuzzFinding) {
        for (buffer, range) in [(command.dataOut, command.dataOutList), (command.dataIn, command.dataInList)] {
            guard case .indirect(let indirect) = buffer else {
                try require(range.isEmpty, "only indirect buffers have lists")
                continue
            }
            let list = SRPDescriptorList(bytes.rawSpan.extracting(range))
            let (count, room) = (list.count, list.dataLength)
            try require(
                count == indirect.listCount && count <= indirect.tableCount, "a list is the beginning of its table")
            if indirect.isListComplete {
                try require(room >= Int(indirect.dataLength), "a whole list has room for the data")
            }
            let fetched = SRPDescriptorList(table.rawSpan)
            var sum = 0
            for position in 0..<fetched.count { sum += Int(fetched[position].dataLength) }
            var isRefused = false
            do throws(SRPError) { try indirect.check(fetched) } catch { isRefused = true }
            try require(isRefused == (sum < Int(indirect.dataLength)), "a table is refused when it has no room")
        }
    }
}

extension Array where Element == Range<Int>? {
    fileprivate var compacted: [Range<Int>] { compactMap { $0 } }
}
