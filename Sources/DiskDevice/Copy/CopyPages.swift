internal import Bytes
internal import SCSI
public import TargetCore

/// What a disk says of its copy manager by INQUIRY.
extension DiskDeviceServer {
    public var traits: InquiryTraits {
        var traits = InquiryTraits(
            type: .directAccessBlock, isRemovable: attributes.isRemovable, isProtectionSupported: protection != nil,
            versionDescriptors: [VersionDescriptor.sbc3])
        traits.hasCopyManager = true
        return traits
    }

    /// The code of the Third-party Copy VPD page.
    static let thirdPartyCopy: UInt8 = 0x8F

    /// Third-party Copy (SPC-5 clause 7.8.17, SBC-4 clause 6.6.9), from byte 4 on.
    func thirdPartyCopyPage() -> [UInt8] {
        blockDeviceTokenLimits + supportedCommands + parameterData + supportedDescriptors + supportedIdentifiers
            + tokenFeatures + supportedTokens + generalOperations
    }

    /// A third-party copy descriptor, whose length is a multiple of four.
    private static func descriptor(_ type: UInt16, _ content: [UInt8]) -> [UInt8] {
        let padded = content + [UInt8](repeating: 0, count: (4 - content.count % 4) % 4)
        var bytes: [UInt8] = []
        bytes.appendBE16(type)
        bytes.appendBE16(UInt16(padded.count))
        return bytes + padded
    }

    /// Block Device ROD Token Limits (SBC-4 clause 6.6.9.3).
    private var blockDeviceTokenLimits: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 6)
        bytes.appendBE16(UInt16(CopyLimit.ranges))
        bytes.appendBE32(CopyLimit.maximumInactivity)
        bytes.appendBE32(CopyLimit.defaultInactivity)
        bytes.appendBE64(UInt64(CopyLimit.tokenLength) >> blockShift)
        bytes.appendBE64(UInt64(CopyLimit.optimalTokenLength) >> blockShift)
        return Self.descriptor(0x0000, bytes)
    }

    /// Supported Commands (SPC-5 table 646), from the command table.
    private var supportedCommands: [UInt8] {
        var list: [UInt8] = []
        for code in [OperationCode.thirdPartyCopyOut, OperationCode.thirdPartyCopyIn] {
            let actions = commands.attributes(in: commandVariant).filter { $0.operationCode == code }
                .compactMap(\.serviceAction)
            list += [code, UInt8(actions.count)] + actions.sorted().map { UInt8($0) }
        }
        return Self.descriptor(0x0001, [UInt8(list.count)] + list)
    }

    /// Parameter Data (SPC-5 table 648). There is no inline data.
    private var parameterData: [UInt8] {
        var bytes: [UInt8] = [0, 0, 0, 0]
        bytes.appendBE16(UInt16(CopyLimit.descriptors))
        bytes.appendBE16(UInt16(CopyLimit.segments))
        bytes.appendBE32(UInt32(CopyLimit.listLength))
        return Self.descriptor(0x0004, bytes + [UInt8](repeating: 0, count: 16))
    }

    /// Supported Descriptors (SPC-5 table 649).
    private var supportedDescriptors: [UInt8] {
        let codes = CopySegment.Kind.allCases.map(\.rawValue) + [CSCDDescriptor.identification]
        return Self.descriptor(0x0008, [UInt8(codes.count)] + codes)
    }

    /// Supported CSCD IDs (SPC-5 table 650): FFFFh, the logical unit itself.
    private var supportedIdentifiers: [UInt8] { Self.descriptor(0x000C, [0, 2, 0xFF, 0xFF]) }

    /// ROD Token Features (SPC-5 tables 651 and 653). REMOTE TOKENS 4h: tokens of other disks of the daemon, which are
    /// other target devices, are taken.
    private var tokenFeatures: [UInt8] {
        var bytes: [UInt8] = [0x04] + [UInt8](repeating: 0, count: 11)
        // A token lives as long as it is used; its lifetime has no other end.
        bytes.appendBE32(0)
        bytes.appendBE32(UInt32.max)
        bytes.appendBE32(CopyLimit.maximumInactivity)
        bytes += [UInt8](repeating: 0, count: 18)
        bytes.appendBE16(48)
        bytes += [0x00, 0x00]
        bytes.appendBE16(0x2C)
        bytes += [0, 0, 0, 0]
        bytes.appendBE64(UInt64(CopyLimit.tokenLength))
        bytes.appendBE64(UInt64(CopyLimit.optimalTokenLength))
        // To make a token moves no data.
        bytes.appendBE64(UInt64.max)
        bytes.appendBE64(UInt64(CopyLimit.optimalTokenLength))
        return Self.descriptor(0x0106, bytes + [UInt8](repeating: 0, count: 8))
    }

    /// Supported ROD Types (SPC-5 tables 656 and 657).
    private var supportedTokens: [UInt8] {
        // TOKEN_IN and TOKEN_OUT; point in time copy - any becomes the first in tokens.
        let types: [(UInt32, UInt8)] = [
            (RODToken.type, 0x03), (RODToken.anyPointInTime, 0x01), (RODToken.zeroType, 0x02),
        ]
        var bytes: [UInt8] = [0, 0]
        bytes.appendBE16(UInt16(types.count * 64))
        for (type, flags) in types {
            bytes.appendBE32(type)
            bytes += [flags] + [UInt8](repeating: 0, count: 59)
        }
        return Self.descriptor(0x0108, bytes)
    }

    /// General Copy Operations (SPC-5 table 658).
    private var generalOperations: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(CopyLimit.concurrentOfUnit))
        bytes.appendBE32(UInt32(CopyLimit.concurrentOfUnit))
        bytes.appendBE32(UInt32(CopyLimit.segmentLength))
        return Self.descriptor(0x8001, bytes + [CopyLimit.granularity] + [UInt8](repeating: 0, count: 19))
    }
}
