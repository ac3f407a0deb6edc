internal import Bytes
internal import ISCSI
internal import ISER
internal import SCSI
internal import SRP

/// Inputs to begin with for what RDMA brings: what `ib_srp` and `ib_iser` would send.
extension FuzzTarget {
    // MARK: SRP

    /// An information unit of `SRPTarget`'s form, with both formats and immediate data at the offset of Linux.
    private static func srpUnit(_ unit: [UInt8], table: [UInt8] = [], flags: UInt8 = 0x46) -> [UInt8] {
        [flags, UInt8(unit.count >> 8), UInt8(unit.count & 0xFF)] + unit + table
    }

    private static func descriptors(_ lengths: [UInt32]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: lengths.count * SRPMemoryDescriptor.length)
        bytes.modifyBytes {
            for (position, length) in lengths.enumerated() {
                SRPMemoryDescriptor(virtualAddress: 0x7F00_0000_0000, memoryHandle: 0x101, dataLength: length)
                    .encode(into: &$0, at: position * SRPMemoryDescriptor.length)
            }
        }
        return bytes
    }

    private static func indirect(_ tableCount: Int, _ dataLength: UInt32, _ listCount: Int) -> SRPDataBuffer {
        .indirect(
            SRPIndirectBuffer(
                table: SRPMemoryDescriptor(
                    virtualAddress: 0x1000, memoryHandle: 7,
                    dataLength: UInt32(tableCount * SRPMemoryDescriptor.length)),
                dataLength: dataLength, listCount: listCount))
    }

    private static func srpCommand(
        _ cdb: [UInt8], out: SRPDataBuffer = .none, into: SRPDataBuffer = .none, lists: [UInt8] = []
    ) -> [UInt8] {
        var command = SRPCommand(cdb: CommandDescriptorBlock(cdb))
        command.tag = 0x17
        command.solicitation = .failure
        command.dataOut = out
        command.dataIn = into
        command.immediateDataOffset = 80
        var bytes = SRPTarget.encoded(command)
        let end = max(command.dataOutList.upperBound, command.dataInList.upperBound)
        bytes.replaceSubrange(end - lists.count..<end, with: lists)
        return bytes
    }

    static var srpUnits: [[UInt8]] {
        let read: [UInt8] = [OperationCode.read10, 0, 0, 0, 0, 0, 0, 0, 8, 0]
        let write: [UInt8] = [OperationCode.write10, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        let direct = SRPDataBuffer.direct(
            SRPMemoryDescriptor(virtualAddress: 0x7F00_0000_0000, memoryHandle: 0x101, dataLength: 4096))
        var response = SRPResponse()
        response.status = .checkCondition
        response.dataInResidual = .under(100)
        response.senseLength = 18
        var event = SRPAsyncEventRequest()
        event.senseLength = 18
        return [
            srpUnit(srpCommand([0, 0, 0, 0, 0, 0])), srpUnit(srpCommand(read, into: direct)),
            srpUnit(srpCommand(write, out: direct)), srpUnit(srpCommand(write, out: .immediate(64))),
            srpUnit(srpCommand(read, into: indirect(2, 4096, 2), lists: descriptors([1024, 3072]))),
            srpUnit(
                srpCommand(write, out: indirect(3, 4096, 1), lists: descriptors([1024])),
                table: descriptors([1024, 2048, 1024])),
            srpUnit(
                srpCommand([UInt8](repeating: 0x7F, count: 32), out: .immediate(8), into: .none), flags: 0xC6),
            srpUnit(
                srpCommand(write, out: direct, into: indirect(1, 512, 1), lists: descriptors([512])), flags: 0x06),
            srpUnit(srpCommand(write, out: .immediate(16)), flags: 0x80),
            srpUnit(SRPTarget.encoded(SRPTaskManagement(.abortTask, tag: 0x8000_0000))),
            srpUnit(SRPTarget.encoded(SRPTaskManagement(.logicalUnitReset, tag: 1))),
            srpUnit(SRPTarget.encoded(response)), srpUnit(SRPTarget.encoded(event)),
            srpUnit(SRPTarget.encoded(SRPResponse(.functionFailed, tag: 1, requestLimitDelta: 1))),
            srpUnit(SRPTarget.encoded(SRPCreditRequest())), srpUnit(SRPTarget.encoded(SRPCreditResponse())),
            srpUnit(SRPTarget.encoded(SRPAsyncEventResponse())), srpUnit(SRPTarget.encoded(SRPInitiatorLogout())),
            srpUnit(SRPTarget.encoded(SRPTargetLogout(.inactive))),
        ]
    }

    static var srpLogins: [[UInt8]] {
        var login = SRPLoginRequest(
            initiatorPort: SRPPortIdentifier(identifierExtension: 0, guid: 0x5254_00FF_FE4A_0B7B),
            targetPort: SRPPortIdentifier(identifierExtension: 0x0002_C903_0000_0001, guid: 0x0002_C903_0000_0002))
        login.maximumLength = 8272
        login.requestsImmediateData = true
        login.immediateDataOffset = 80
        var several = login
        several.multiChannelAction = .keepOthers
        several.solicitsAsyncEvents = true
        var privateData = [UInt8](repeating: 0, count: SRPLoginRequest.privateDataLength)
        privateData.modifyBytes { several.encodePrivateData(into: &$0) }
        let limit: [UInt8] = [0x20, 0x50]
        return [
            [0x1E] + limit + SRPTarget.encoded(login), [0x1F] + limit + privateData, [0x1D] + limit + privateData,
            [0x0F, 0x20, 0x4F] + privateData, [0x03] + limit + privateData, [0x16] + limit + SRPTarget.encoded(several),
            [0] + limit + SRPTarget.encoded(SRPLoginResponse()),
            [0] + limit + SRPTarget.encoded(SRPLoginReject(.noNexus, tag: 1)),
        ]
    }

    // MARK: iSER

    private static func iserHeader(_ body: (inout MutableRawSpan) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: ISERHeader.length)
        bytes.modifyBytes(body)
        return bytes
    }

    static var iserMessages: [[UInt8]] {
        let buffer = ISERTaggedBuffer(sTag: 0x1234, baseOffset: 0x7F00_0000_0000)
        func message(_ header: ISERControlHeader, _ command: SCSICommandPDU) -> [UInt8] {
            iserHeader { header.encode(into: &$0) } + BasicHeaderSegment(command).bytes.copyToArray()
                + [UInt8](repeating: 0x5A, count: command.additionalHeaderLength + command.dataSegmentLength)
        }
        var immediate = SCSICommandPDU()
        immediate.dataSegmentLength = 100
        var extended = SCSICommandPDU()
        extended.additionalHeaderLength = 20
        return [
            message(ISERControlHeader(), SCSICommandPDU()), message(ISERControlHeader(read: buffer), SCSICommandPDU()),
            message(ISERControlHeader(write: buffer), immediate),
            message(ISERControlHeader(write: buffer, read: buffer), extended),
            iserHeader { ISERHello().encode(into: &$0) }, iserHeader { ISERHelloReply().encode(into: &$0) },
            [0xC0, 0, 0, 0],
        ]
    }
}
