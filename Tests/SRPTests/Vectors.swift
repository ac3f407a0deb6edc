import Bytes
import SRP
import Testing

/// The bytes of an information unit.
func encoded(_ unit: some SRPInformationUnit) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: unit.length)
    bytes.modifyBytes { unit.encode(into: &$0) }
    return bytes
}

/// Bytes made of words of four, as the standard's tables show them.
func words(_ words: UInt32...) -> [UInt8] {
    var bytes: [UInt8] = []
    for word in words { bytes.appendBE32(word) }
    return bytes
}

/// The error of `body`, which must be one.
func error<Value>(of body: () throws(SRPError) -> Value) throws -> SRPError {
    var found: SRPError?
    do throws(SRPError) {
        _ = try body()
    } catch {
        found = error
    }
    return try #require(found)
}

/// One of every information unit, with a value in each field.
enum Samples {
    static let initiatorPort = SRPPortIdentifier(
        identifierExtension: 0x0001_0203_0405_0607, guid: 0x0809_0A0B_0C0D_0E0F)
    static let targetPort = SRPPortIdentifier(identifierExtension: 0x1011_1213_1415_1617, guid: 0x1819_1A1B_1C1D_1E1F)
    static let tag: UInt64 = 0xA1A2_A3A4_A5A6_A7A8

    static var loginRequest: SRPLoginRequest {
        var login = SRPLoginRequest(initiatorPort: initiatorPort, targetPort: targetPort)
        login.tag = tag
        login.maximumLength = 8272
        login.multiChannelAction = .keepOthers
        login.solicitsCreditRequests = true
        login.requestsImmediateData = true
        login.immediateDataOffset = 80
        return login
    }
    static let descriptor = SRPMemoryDescriptor(
        virtualAddress: 0x7FFF_0000_1234_5000, memoryHandle: 0x1122_3344, dataLength: 4096)

    /// Pieces of so many bytes each.
    static func list(_ lengths: [UInt32]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: lengths.count * SRPMemoryDescriptor.length)
        bytes.modifyBytes {
            for (position, length) in lengths.enumerated() {
                SRPMemoryDescriptor(
                    virtualAddress: UInt64(position) << 32, memoryHandle: UInt32(position), dataLength: length
                ).encode(into: &$0, at: position * SRPMemoryDescriptor.length)
            }
        }
        return bytes
    }

    /// A buffer of pieces, of whose table the information unit has `listCount`.
    static func indirect(tableCount: Int, dataLength: UInt32, listCount: Int) -> SRPDataBuffer {
        .indirect(
            SRPIndirectBuffer(
                table: SRPMemoryDescriptor(
                    virtualAddress: 0x1000, memoryHandle: 7,
                    dataLength: UInt32(tableCount * SRPMemoryDescriptor.length)),
                dataLength: dataLength, listCount: listCount))
    }

    /// The bytes of a command with lists of descriptors.
    static func bytes(of command: SRPCommand, dataOut: [UInt8] = [], dataIn: [UInt8] = []) -> [UInt8] {
        var bytes = encoded(command)
        bytes.replaceSubrange(command.dataOutList, with: dataOut)
        bytes.replaceSubrange(command.dataInList, with: dataIn)
        return bytes
    }
}
