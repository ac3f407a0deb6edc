/// Operation codes by the standards' names (SPC-5 annex E, SBC-4, SSC-5, SMC-3).
public enum OperationCode {
    // MARK: All device types (SPC-5)

    /// TEST UNIT READY.
    public static let testUnitReady: UInt8 = 0x00
    /// REQUEST SENSE.
    public static let requestSense: UInt8 = 0x03
    /// INQUIRY.
    public static let inquiry: UInt8 = 0x12
    /// MODE SELECT(6).
    public static let modeSelect6: UInt8 = 0x15
    /// RESERVE(6) (SPC-2).
    public static let reserve6: UInt8 = 0x16
    /// RELEASE(6) (SPC-2).
    public static let release6: UInt8 = 0x17
    /// MODE SENSE(6).
    public static let modeSense6: UInt8 = 0x1A
    /// RECEIVE DIAGNOSTIC RESULTS.
    public static let receiveDiagnosticResults: UInt8 = 0x1C
    /// SEND DIAGNOSTIC.
    public static let sendDiagnostic: UInt8 = 0x1D
    /// PREVENT ALLOW MEDIUM REMOVAL.
    public static let preventAllowMediumRemoval: UInt8 = 0x1E
    /// LOG SELECT.
    public static let logSelect: UInt8 = 0x4C
    /// LOG SENSE.
    public static let logSense: UInt8 = 0x4D
    /// MODE SELECT(10).
    public static let modeSelect10: UInt8 = 0x55
    /// RESERVE(10) (SPC-2).
    public static let reserve10: UInt8 = 0x56
    /// RELEASE(10) (SPC-2).
    public static let release10: UInt8 = 0x57
    /// MODE SENSE(10).
    public static let modeSense10: UInt8 = 0x5A
    /// PERSISTENT RESERVE IN.
    public static let persistentReserveIn: UInt8 = 0x5E
    /// PERSISTENT RESERVE OUT.
    public static let persistentReserveOut: UInt8 = 0x5F
    /// READ ATTRIBUTE.
    public static let readAttribute: UInt8 = 0x8C
    /// WRITE ATTRIBUTE.
    public static let writeAttribute: UInt8 = 0x8D
    /// REPORT LUNS.
    public static let reportLUNs: UInt8 = 0xA0
    /// MAINTENANCE IN.
    public static let maintenanceIn: UInt8 = 0xA3
    /// MAINTENANCE OUT.
    public static let maintenanceOut: UInt8 = 0xA4

    // MARK: Direct access block devices (SBC-4)

    /// FORMAT UNIT.
    public static let formatUnit: UInt8 = 0x04
    /// READ(6).
    public static let read6: UInt8 = 0x08
    /// WRITE(6).
    public static let write6: UInt8 = 0x0A
    /// START STOP UNIT.
    public static let startStopUnit: UInt8 = 0x1B
    /// READ CAPACITY(10).
    public static let readCapacity10: UInt8 = 0x25
    /// READ(10).
    public static let read10: UInt8 = 0x28
    /// WRITE(10).
    public static let write10: UInt8 = 0x2A
    /// WRITE AND VERIFY(10).
    public static let writeAndVerify10: UInt8 = 0x2E
    /// VERIFY(10).
    public static let verify10: UInt8 = 0x2F
    /// PRE-FETCH(10).
    public static let prefetch10: UInt8 = 0x34
    /// SYNCHRONIZE CACHE(10).
    public static let synchronizeCache10: UInt8 = 0x35
    /// READ DEFECT DATA(10).
    public static let readDefectData10: UInt8 = 0x37
    /// WRITE SAME(10).
    public static let writeSame10: UInt8 = 0x41
    /// UNMAP.
    public static let unmap: UInt8 = 0x42
    /// READ(16).
    public static let read16: UInt8 = 0x88
    /// COMPARE AND WRITE.
    public static let compareAndWrite: UInt8 = 0x89
    /// WRITE(16).
    public static let write16: UInt8 = 0x8A
    /// ORWRITE(16).
    public static let orWrite16: UInt8 = 0x8B
    /// WRITE AND VERIFY(16).
    public static let writeAndVerify16: UInt8 = 0x8E
    /// VERIFY(16).
    public static let verify16: UInt8 = 0x8F
    /// PRE-FETCH(16).
    public static let prefetch16: UInt8 = 0x90
    /// SYNCHRONIZE CACHE(16).
    public static let synchronizeCache16: UInt8 = 0x91
    /// WRITE SAME(16).
    public static let writeSame16: UInt8 = 0x93
    /// SERVICE ACTION IN(16).
    public static let serviceActionIn16: UInt8 = 0x9E
    /// READ(12).
    public static let read12: UInt8 = 0xA8
    /// WRITE(12).
    public static let write12: UInt8 = 0xAA
    /// WRITE AND VERIFY(12).
    public static let writeAndVerify12: UInt8 = 0xAE
    /// VERIFY(12).
    public static let verify12: UInt8 = 0xAF
    /// READ DEFECT DATA(12).
    public static let readDefectData12: UInt8 = 0xB7

    // MARK: Sequential access devices (SSC-5)

    /// REWIND.
    public static let rewind: UInt8 = 0x01
    /// FORMAT MEDIUM.
    public static let formatMedium: UInt8 = 0x04
    /// READ BLOCK LIMITS.
    public static let readBlockLimits: UInt8 = 0x05
    /// WRITE FILEMARKS(6).
    public static let writeFilemarks6: UInt8 = 0x10
    /// SPACE(6).
    public static let space6: UInt8 = 0x11
    /// VERIFY(6).
    public static let verify6: UInt8 = 0x13
    /// ERASE(6).
    public static let erase6: UInt8 = 0x19
    /// LOAD UNLOAD.
    public static let loadUnload: UInt8 = 0x1B
    /// LOCATE(10).
    public static let locate10: UInt8 = 0x2B
    /// READ POSITION.
    public static let readPosition: UInt8 = 0x34
    /// REPORT DENSITY SUPPORT.
    public static let reportDensitySupport: UInt8 = 0x44
    /// WRITE FILEMARKS(16).
    public static let writeFilemarks16: UInt8 = 0x80
    /// ALLOW OVERWRITE.
    public static let allowOverwrite: UInt8 = 0x82
    /// SPACE(16).
    public static let space16: UInt8 = 0x91
    /// LOCATE(16).
    public static let locate16: UInt8 = 0x92
    /// ERASE(16).
    public static let erase16: UInt8 = 0x93

    // MARK: Media changers (SMC-3)

    /// INITIALIZE ELEMENT STATUS.
    public static let initializeElementStatus: UInt8 = 0x07
    /// OPEN/CLOSE IMPORT/EXPORT ELEMENT.
    public static let openCloseImportExportElement: UInt8 = 0x1B
    /// POSITION TO ELEMENT.
    public static let positionToElement: UInt8 = 0x2B
    /// INITIALIZE ELEMENT STATUS WITH RANGE.
    public static let initializeElementStatusWithRange: UInt8 = 0x37
    /// MOVE MEDIUM.
    public static let moveMedium: UInt8 = 0xA5
    /// EXCHANGE MEDIUM.
    public static let exchangeMedium: UInt8 = 0xA6
    /// READ ELEMENT STATUS.
    public static let readElementStatus: UInt8 = 0xB8
}
