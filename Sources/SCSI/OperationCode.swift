/// Operation codes by the standards' names (SPC-5 annex E, SBC-4, SSC-5, SMC-3).
public enum OperationCode {
    // MARK: All device types (SPC-5)

    public static let testUnitReady: UInt8 = 0x00
    public static let requestSense: UInt8 = 0x03
    public static let inquiry: UInt8 = 0x12
    public static let modeSelect6: UInt8 = 0x15
    /// RESERVE(6) (SPC-2).
    public static let reserve6: UInt8 = 0x16
    /// RELEASE(6) (SPC-2).
    public static let release6: UInt8 = 0x17
    public static let modeSense6: UInt8 = 0x1A
    public static let receiveDiagnosticResults: UInt8 = 0x1C
    public static let sendDiagnostic: UInt8 = 0x1D
    public static let preventAllowMediumRemoval: UInt8 = 0x1E
    /// WRITE BUFFER(10).
    public static let writeBuffer: UInt8 = 0x3B
    /// READ BUFFER(10).
    public static let readBuffer10: UInt8 = 0x3C
    public static let logSelect: UInt8 = 0x4C
    public static let logSense: UInt8 = 0x4D
    public static let modeSelect10: UInt8 = 0x55
    /// RESERVE(10) (SPC-2).
    public static let reserve10: UInt8 = 0x56
    /// RELEASE(10) (SPC-2).
    public static let release10: UInt8 = 0x57
    public static let modeSense10: UInt8 = 0x5A
    public static let persistentReserveIn: UInt8 = 0x5E
    public static let persistentReserveOut: UInt8 = 0x5F
    /// The variable-length commands, by service action (clause 4.2.3.1).
    public static let variableLength: UInt8 = 0x7F
    /// EXTENDED COPY, POPULATE TOKEN and the others that begin or end a copy operation, by service action.
    public static let thirdPartyCopyOut: UInt8 = 0x83
    /// RECEIVE COPY STATUS and the others that tell of a copy operation, by service action.
    public static let thirdPartyCopyIn: UInt8 = 0x84
    public static let readAttribute: UInt8 = 0x8C
    public static let writeAttribute: UInt8 = 0x8D
    /// REPORT LUNS.
    public static let reportLUNs: UInt8 = 0xA0
    public static let maintenanceIn: UInt8 = 0xA3
    public static let maintenanceOut: UInt8 = 0xA4

    // MARK: Direct access block devices (SBC-4)

    public static let formatUnit: UInt8 = 0x04
    public static let reassignBlocks: UInt8 = 0x07
    public static let read6: UInt8 = 0x08
    public static let write6: UInt8 = 0x0A
    public static let startStopUnit: UInt8 = 0x1B
    public static let readCapacity10: UInt8 = 0x25
    public static let read10: UInt8 = 0x28
    public static let write10: UInt8 = 0x2A
    public static let writeAndVerify10: UInt8 = 0x2E
    public static let verify10: UInt8 = 0x2F
    /// PRE-FETCH(10).
    public static let prefetch10: UInt8 = 0x34
    public static let synchronizeCache10: UInt8 = 0x35
    public static let readDefectData10: UInt8 = 0x37
    /// READ LONG(10) (SBC-3).
    public static let readLong10: UInt8 = 0x3E
    public static let writeLong10: UInt8 = 0x3F
    public static let writeSame10: UInt8 = 0x41
    public static let unmap: UInt8 = 0x42
    public static let sanitize: UInt8 = 0x48
    public static let read16: UInt8 = 0x88
    public static let compareAndWrite: UInt8 = 0x89
    public static let write16: UInt8 = 0x8A
    /// ORWRITE(16).
    public static let orWrite16: UInt8 = 0x8B
    public static let writeAndVerify16: UInt8 = 0x8E
    public static let verify16: UInt8 = 0x8F
    /// PRE-FETCH(16).
    public static let prefetch16: UInt8 = 0x90
    public static let synchronizeCache16: UInt8 = 0x91
    public static let writeSame16: UInt8 = 0x93
    public static let writeAtomic16: UInt8 = 0x9C
    public static let serviceActionIn16: UInt8 = 0x9E
    public static let serviceActionOut16: UInt8 = 0x9F
    public static let read12: UInt8 = 0xA8
    public static let write12: UInt8 = 0xAA
    public static let writeAndVerify12: UInt8 = 0xAE
    public static let verify12: UInt8 = 0xAF
    public static let readDefectData12: UInt8 = 0xB7

    // MARK: Sequential access devices (SSC-5)

    public static let rewind: UInt8 = 0x01
    public static let formatMedium: UInt8 = 0x04
    public static let readBlockLimits: UInt8 = 0x05
    public static let writeFilemarks6: UInt8 = 0x10
    public static let space6: UInt8 = 0x11
    public static let verify6: UInt8 = 0x13
    public static let erase6: UInt8 = 0x19
    public static let loadUnload: UInt8 = 0x1B
    public static let locate10: UInt8 = 0x2B
    public static let readPosition: UInt8 = 0x34
    public static let reportDensitySupport: UInt8 = 0x44
    public static let writeFilemarks16: UInt8 = 0x80
    public static let allowOverwrite: UInt8 = 0x82
    public static let space16: UInt8 = 0x91
    public static let locate16: UInt8 = 0x92
    public static let erase16: UInt8 = 0x93

    // MARK: Media changers (SMC-3)

    public static let initializeElementStatus: UInt8 = 0x07
    public static let openCloseImportExportElement: UInt8 = 0x1B
    public static let positionToElement: UInt8 = 0x2B
    public static let initializeElementStatusWithRange: UInt8 = 0x37
    public static let moveMedium: UInt8 = 0xA5
    public static let exchangeMedium: UInt8 = 0xA6
    public static let readElementStatus: UInt8 = 0xB8
}
