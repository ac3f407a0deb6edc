/// An additional sense code with its qualifier (SPC-5 annex F, and T10's list of assignments).
public struct AdditionalSenseCode: Hashable, Sendable {
    /// ASC.
    public let code: UInt8
    /// ASCQ.
    public let qualifier: UInt8

    /// The code with both bytes.
    @inlinable
    public init(_ code: UInt8, _ qualifier: UInt8) {
        self.code = code
        self.qualifier = qualifier
    }
}

/// The assignments that Carousel uses, by the standard's names.
extension AdditionalSenseCode {
    /// NO ADDITIONAL SENSE INFORMATION.
    public static let noAdditionalSenseInformation = Self(0x00, 0x00)
    /// FILEMARK DETECTED.
    public static let filemarkDetected = Self(0x00, 0x01)
    /// END-OF-PARTITION/MEDIUM DETECTED.
    public static let endOfPartitionDetected = Self(0x00, 0x02)
    /// BEGINNING-OF-PARTITION/MEDIUM DETECTED.
    public static let beginningOfPartitionDetected = Self(0x00, 0x04)
    /// END-OF-DATA DETECTED.
    public static let endOfDataDetected = Self(0x00, 0x05)
    /// PROGRAMMABLE EARLY WARNING DETECTED.
    public static let programmableEarlyWarningDetected = Self(0x00, 0x07)
    /// OPERATION IN PROGRESS.
    public static let operationInProgress = Self(0x00, 0x16)
    /// LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE.
    public static let notReadyCauseNotReportable = Self(0x04, 0x00)
    /// LOGICAL UNIT IS IN PROCESS OF BECOMING READY.
    public static let becomingReady = Self(0x04, 0x01)
    /// LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED.
    public static let initializingCommandRequired = Self(0x04, 0x02)
    /// LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED.
    public static let manualInterventionRequired = Self(0x04, 0x03)
    /// WRITE ERROR.
    public static let writeError = Self(0x0C, 0x00)
    /// AUXILIARY MEMORY WRITE ERROR.
    public static let auxiliaryMemoryWriteError = Self(0x0C, 0x0B)
    /// UNEXPECTED UNSOLICITED DATA.
    public static let unexpectedUnsolicitedData = Self(0x0C, 0x0C)
    /// NOT ENOUGH UNSOLICITED DATA (incorrect amount of data, RFC 7143 section 11.4.7.2).
    public static let notEnoughUnsolicitedData = Self(0x0C, 0x0D)
    /// INVALID FIELD IN COMMAND INFORMATION UNIT.
    public static let invalidFieldInCommandInformationUnit = Self(0x0E, 0x03)
    /// UNRECOVERED READ ERROR.
    public static let unrecoveredReadError = Self(0x11, 0x00)
    /// END-OF-DATA NOT FOUND.
    public static let endOfDataNotFound = Self(0x14, 0x03)
    /// BLOCK SEQUENCE ERROR.
    public static let blockSequenceError = Self(0x14, 0x04)
    /// PARAMETER LIST LENGTH ERROR.
    public static let parameterListLengthError = Self(0x1A, 0x00)
    /// MISCOMPARE DURING VERIFY OPERATION.
    public static let miscompareDuringVerify = Self(0x1D, 0x00)
    /// INVALID COMMAND OPERATION CODE.
    public static let invalidCommandOperationCode = Self(0x20, 0x00)
    /// INVALID LBA / LOGICAL BLOCK ADDRESS OUT OF RANGE.
    public static let logicalBlockAddressOutOfRange = Self(0x21, 0x00)
    /// INVALID ELEMENT ADDRESS.
    public static let invalidElementAddress = Self(0x21, 0x01)
    /// INVALID FIELD IN CDB.
    public static let invalidFieldInCDB = Self(0x24, 0x00)
    /// LOGICAL UNIT NOT SUPPORTED.
    public static let logicalUnitNotSupported = Self(0x25, 0x00)
    /// INVALID FIELD IN PARAMETER LIST.
    public static let invalidFieldInParameterList = Self(0x26, 0x00)
    /// PARAMETER NOT SUPPORTED.
    public static let parameterNotSupported = Self(0x26, 0x01)
    /// PARAMETER VALUE INVALID.
    public static let parameterValueInvalid = Self(0x26, 0x02)
    /// WRITE PROTECTED.
    public static let writeProtected = Self(0x27, 0x00)
    /// HARDWARE WRITE PROTECTED (the cartridge's own switch).
    public static let hardwareWriteProtected = Self(0x27, 0x01)
    /// LOGICAL UNIT SOFTWARE WRITE PROTECTED.
    public static let softwareWriteProtected = Self(0x27, 0x02)
    /// SPACE ALLOCATION FAILED WRITE PROTECT.
    public static let spaceAllocationFailed = Self(0x27, 0x07)
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    public static let mediumMayHaveChanged = Self(0x28, 0x00)
    /// IMPORT OR EXPORT ELEMENT ACCESSED.
    public static let importOrExportElementAccessed = Self(0x28, 0x01)
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    public static let powerOnOrReset = Self(0x29, 0x00)
    /// POWER ON OCCURRED.
    public static let powerOnOccurred = Self(0x29, 0x01)
    /// BUS DEVICE RESET FUNCTION OCCURRED.
    public static let busDeviceResetOccurred = Self(0x29, 0x03)
    /// I_T NEXUS LOSS OCCURRED.
    public static let iTNexusLossOccurred = Self(0x29, 0x07)
    /// MODE PARAMETERS CHANGED.
    public static let modeParametersChanged = Self(0x2A, 0x01)
    /// LOG PARAMETERS CHANGED.
    public static let logParametersChanged = Self(0x2A, 0x02)
    /// RESERVATIONS PREEMPTED.
    public static let reservationsPreempted = Self(0x2A, 0x03)
    /// CAPACITY DATA HAS CHANGED.
    public static let capacityDataHasChanged = Self(0x2A, 0x09)
    /// COMMAND SEQUENCE ERROR.
    public static let commandSequenceError = Self(0x2C, 0x00)
    /// COMMANDS CLEARED BY ANOTHER INITIATOR.
    public static let commandsClearedByAnotherInitiator = Self(0x2F, 0x00)
    /// CANNOT READ MEDIUM - UNKNOWN FORMAT.
    public static let cannotReadUnknownFormat = Self(0x30, 0x01)
    /// CANNOT READ MEDIUM - INCOMPATIBLE FORMAT.
    public static let cannotReadIncompatibleFormat = Self(0x30, 0x02)
    /// CLEANING CARTRIDGE INSTALLED.
    public static let cleaningCartridgeInstalled = Self(0x30, 0x03)
    /// CANNOT WRITE MEDIUM - INCOMPATIBLE FORMAT.
    public static let cannotWriteIncompatibleFormat = Self(0x30, 0x05)
    /// WORM MEDIUM - OVERWRITE ATTEMPTED.
    public static let wormOverwriteAttempted = Self(0x30, 0x0C)
    /// MEDIUM FORMAT CORRUPTED.
    public static let mediumFormatCorrupted = Self(0x31, 0x00)
    /// ROUNDED PARAMETER.
    public static let roundedParameter = Self(0x37, 0x00)
    /// SAVING PARAMETERS NOT SUPPORTED.
    public static let savingParametersNotSupported = Self(0x39, 0x00)
    /// MEDIUM NOT PRESENT.
    public static let mediumNotPresent = Self(0x3A, 0x00)
    /// SEQUENTIAL POSITIONING ERROR.
    public static let sequentialPositioningError = Self(0x3B, 0x00)
    /// MEDIUM DESTINATION ELEMENT FULL.
    public static let mediumDestinationElementFull = Self(0x3B, 0x0D)
    /// MEDIUM SOURCE ELEMENT EMPTY.
    public static let mediumSourceElementEmpty = Self(0x3B, 0x0E)
    /// LOGICAL UNIT HAS NOT SELF-CONFIGURED YET.
    public static let notSelfConfigured = Self(0x3E, 0x00)
    /// INQUIRY DATA HAS CHANGED.
    public static let inquiryDataHasChanged = Self(0x3F, 0x03)
    /// REPORTED LUNS DATA HAS CHANGED.
    public static let reportedLUNsDataHasChanged = Self(0x3F, 0x0E)
    /// INVALID MESSAGE ERROR.
    public static let invalidMessageError = Self(0x49, 0x00)
    /// INTERNAL TARGET FAILURE.
    public static let internalTargetFailure = Self(0x44, 0x00)
    /// PROTOCOL SERVICE CRC ERROR.
    public static let protocolServiceCRCError = Self(0x47, 0x05)
    /// OVERLAPPED COMMANDS ATTEMPTED.
    public static let overlappedCommandsAttempted = Self(0x4E, 0x00)
    /// WRITE APPEND ERROR.
    public static let writeAppendError = Self(0x50, 0x00)
    /// ERASE FAILURE.
    public static let eraseFailure = Self(0x51, 0x00)
    /// MEDIA LOAD OR EJECT FAILED.
    public static let mediaLoadOrEjectFailed = Self(0x53, 0x00)
    /// UNLOAD TAPE FAILURE.
    public static let unloadTapeFailure = Self(0x53, 0x01)
    /// MEDIUM REMOVAL PREVENTED.
    public static let mediumRemovalPrevented = Self(0x53, 0x02)
    /// INSUFFICIENT RESOURCES.
    public static let insufficientResources = Self(0x55, 0x03)
    /// AUXILIARY MEMORY OUT OF SPACE.
    public static let auxiliaryMemoryOutOfSpace = Self(0x55, 0x06)
}
