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
    public static let noAdditionalSenseInformation = Self(0x00, 0x00)
    public static let filemarkDetected = Self(0x00, 0x01)
    /// END-OF-PARTITION/MEDIUM DETECTED.
    public static let endOfPartitionDetected = Self(0x00, 0x02)
    /// BEGINNING-OF-PARTITION/MEDIUM DETECTED.
    public static let beginningOfPartitionDetected = Self(0x00, 0x04)
    public static let endOfDataDetected = Self(0x00, 0x05)
    public static let programmableEarlyWarningDetected = Self(0x00, 0x07)
    public static let operationInProgress = Self(0x00, 0x16)
    /// LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE.
    public static let notReadyCauseNotReportable = Self(0x04, 0x00)
    /// LOGICAL UNIT IS IN PROCESS OF BECOMING READY.
    public static let becomingReady = Self(0x04, 0x01)
    /// LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED.
    public static let initializingCommandRequired = Self(0x04, 0x02)
    /// LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED.
    public static let manualInterventionRequired = Self(0x04, 0x03)
    /// LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION.
    public static let asymmetricAccessStateTransition = Self(0x04, 0x0A)
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE.
    public static let targetPortInStandbyState = Self(0x04, 0x0B)
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE.
    public static let targetPortInUnavailableState = Self(0x04, 0x0C)
    /// LOGICAL UNIT NOT READY, OFFLINE.
    public static let notReadyOffline = Self(0x04, 0x12)
    /// LOGICAL UNIT NOT READY, FORMAT IN PROGRESS.
    public static let formatInProgress = Self(0x04, 0x04)
    /// LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS.
    public static let sanitizeInProgress = Self(0x04, 0x1B)
    public static let unreachableCopyTarget = Self(0x08, 0x04)
    public static let writeError = Self(0x0C, 0x00)
    public static let auxiliaryMemoryWriteError = Self(0x0C, 0x0B)
    public static let unexpectedUnsolicitedData = Self(0x0C, 0x0C)
    /// NOT ENOUGH UNSOLICITED DATA (incorrect amount of data, RFC 7143 section 11.4.7.2).
    public static let notEnoughUnsolicitedData = Self(0x0C, 0x0D)
    public static let thirdPartyDeviceFailure = Self(0x0D, 0x01)
    public static let copyTargetDeviceNotReachable = Self(0x0D, 0x02)
    public static let incorrectCopyTargetDeviceType = Self(0x0D, 0x03)
    public static let invalidFieldInCommandInformationUnit = Self(0x0E, 0x03)
    public static let unrecoveredReadError = Self(0x11, 0x00)
    /// READ ERROR - LBA MARKED BAD BY APPLICATION CLIENT.
    public static let markedBadByApplicationClient = Self(0x11, 0x14)
    public static let endOfDataNotFound = Self(0x14, 0x03)
    public static let blockSequenceError = Self(0x14, 0x04)
    public static let parameterListLengthError = Self(0x1A, 0x00)
    /// MISCOMPARE DURING VERIFY OPERATION.
    public static let miscompareDuringVerify = Self(0x1D, 0x00)
    public static let invalidCommandOperationCode = Self(0x20, 0x00)
    /// INVALID LBA / LOGICAL BLOCK ADDRESS OUT OF RANGE.
    public static let logicalBlockAddressOutOfRange = Self(0x21, 0x00)
    public static let invalidElementAddress = Self(0x21, 0x01)
    /// INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE.
    public static let unsupportedTokenType = Self(0x23, 0x01)
    /// INVALID TOKEN OPERATION, TOKEN UNKNOWN.
    public static let tokenUnknown = Self(0x23, 0x04)
    /// INVALID TOKEN OPERATION, TOKEN EXPIRED.
    public static let tokenExpired = Self(0x23, 0x07)
    /// INVALID TOKEN OPERATION, TOKEN CANCELLED.
    public static let tokenCancelled = Self(0x23, 0x08)
    /// INVALID TOKEN OPERATION, TOKEN DELETED.
    public static let tokenDeleted = Self(0x23, 0x09)
    /// INVALID TOKEN OPERATION, INVALID TOKEN LENGTH.
    public static let invalidTokenLength = Self(0x23, 0x0A)
    public static let invalidFieldInCDB = Self(0x24, 0x00)
    public static let logicalUnitNotSupported = Self(0x25, 0x00)
    public static let invalidFieldInParameterList = Self(0x26, 0x00)
    public static let parameterNotSupported = Self(0x26, 0x01)
    public static let parameterValueInvalid = Self(0x26, 0x02)
    public static let writeProtected = Self(0x27, 0x00)
    /// HARDWARE WRITE PROTECTED (the cartridge's own switch).
    public static let hardwareWriteProtected = Self(0x27, 0x01)
    public static let invalidReleaseOfPersistentReservation = Self(0x26, 0x04)
    public static let tooManyTargetDescriptors = Self(0x26, 0x06)
    public static let unsupportedTargetDescriptorTypeCode = Self(0x26, 0x07)
    public static let tooManySegmentDescriptors = Self(0x26, 0x08)
    public static let unsupportedSegmentDescriptorTypeCode = Self(0x26, 0x09)
    public static let unexpectedInexactSegment = Self(0x26, 0x0A)
    /// LOGICAL UNIT SOFTWARE WRITE PROTECTED.
    public static let softwareWriteProtected = Self(0x27, 0x02)
    /// SPACE ALLOCATION FAILED WRITE PROTECT.
    public static let spaceAllocationFailed = Self(0x27, 0x07)
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    public static let mediumMayHaveChanged = Self(0x28, 0x00)
    public static let importOrExportElementAccessed = Self(0x28, 0x01)
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    public static let powerOnOrReset = Self(0x29, 0x00)
    public static let powerOnOccurred = Self(0x29, 0x01)
    /// BUS DEVICE RESET FUNCTION OCCURRED.
    public static let busDeviceResetOccurred = Self(0x29, 0x03)
    public static let iTNexusLossOccurred = Self(0x29, 0x07)
    public static let modeParametersChanged = Self(0x2A, 0x01)
    public static let logParametersChanged = Self(0x2A, 0x02)
    public static let reservationsPreempted = Self(0x2A, 0x03)
    public static let reservationsReleased = Self(0x2A, 0x04)
    public static let registrationsPreempted = Self(0x2A, 0x05)
    public static let asymmetricAccessStateChanged = Self(0x2A, 0x06)
    public static let implicitAsymmetricAccessStateTransitionFailed = Self(0x2A, 0x07)
    public static let capacityDataHasChanged = Self(0x2A, 0x09)
    public static let priorityChanged = Self(0x2A, 0x08)
    public static let timestampChanged = Self(0x2A, 0x10)
    public static let commandSequenceError = Self(0x2C, 0x00)
    public static let previousBusyStatus = Self(0x2C, 0x07)
    public static let previousTaskSetFullStatus = Self(0x2C, 0x08)
    public static let previousReservationConflictStatus = Self(0x2C, 0x09)
    public static let commandsClearedByAnotherInitiator = Self(0x2F, 0x00)
    /// COMMANDS CLEARED BY DEVICE SERVER.
    public static let commandsClearedByDeviceServer = Self(0x2F, 0x02)
    /// CANNOT READ MEDIUM - UNKNOWN FORMAT.
    public static let cannotReadUnknownFormat = Self(0x30, 0x01)
    /// CANNOT READ MEDIUM - INCOMPATIBLE FORMAT.
    public static let cannotReadIncompatibleFormat = Self(0x30, 0x02)
    public static let cleaningCartridgeInstalled = Self(0x30, 0x03)
    /// CANNOT WRITE MEDIUM - INCOMPATIBLE FORMAT.
    public static let cannotWriteIncompatibleFormat = Self(0x30, 0x05)
    /// WORM MEDIUM - OVERWRITE ATTEMPTED.
    public static let wormOverwriteAttempted = Self(0x30, 0x0C)
    public static let mediumFormatCorrupted = Self(0x31, 0x00)
    public static let formatCommandFailed = Self(0x31, 0x01)
    public static let sanitizeCommandFailed = Self(0x31, 0x03)
    public static let roundedParameter = Self(0x37, 0x00)
    public static let thinProvisioningSoftThresholdReached = Self(0x38, 0x07)
    public static let savingParametersNotSupported = Self(0x39, 0x00)
    public static let mediumNotPresent = Self(0x3A, 0x00)
    public static let sequentialPositioningError = Self(0x3B, 0x00)
    public static let mediumDestinationElementFull = Self(0x3B, 0x0D)
    public static let mediumSourceElementEmpty = Self(0x3B, 0x0E)
    /// LOGICAL UNIT FAILED SELF-TEST.
    public static let failedSelfTest = Self(0x3E, 0x03)
    /// LOGICAL UNIT HAS NOT SELF-CONFIGURED YET.
    public static let notSelfConfigured = Self(0x3E, 0x00)
    public static let microcodeHasBeenChanged = Self(0x3F, 0x01)
    public static let inquiryDataHasChanged = Self(0x3F, 0x03)
    public static let deviceIdentifierChanged = Self(0x3F, 0x05)
    public static let echoBufferOverwritten = Self(0x3F, 0x0F)
    /// REPORTED LUNS DATA HAS CHANGED.
    public static let reportedLUNsDataHasChanged = Self(0x3F, 0x0E)
    public static let invalidMessageError = Self(0x49, 0x00)
    public static let internalTargetFailure = Self(0x44, 0x00)
    public static let persistentReservationInformationLost = Self(0x44, 0x01)
    public static let protocolServiceCRCError = Self(0x47, 0x05)
    public static let overlappedCommandsAttempted = Self(0x4E, 0x00)
    public static let writeAppendError = Self(0x50, 0x00)
    public static let eraseFailure = Self(0x51, 0x00)
    public static let mediaLoadOrEjectFailed = Self(0x53, 0x00)
    public static let unloadTapeFailure = Self(0x53, 0x01)
    public static let mediumRemovalPrevented = Self(0x53, 0x02)
    public static let insufficientResources = Self(0x55, 0x03)
    public static let insufficientRegistrationResources = Self(0x55, 0x04)
    public static let auxiliaryMemoryOutOfSpace = Self(0x55, 0x06)
    public static let setTargetPortGroupsCommandFailed = Self(0x67, 0x0A)
    public static let idleConditionActivatedByTimer = Self(0x5E, 0x01)
    public static let standbyConditionActivatedByTimer = Self(0x5E, 0x02)
    public static let idleConditionActivatedByCommand = Self(0x5E, 0x03)
    public static let standbyConditionActivatedByCommand = Self(0x5E, 0x04)
    public static let insufficientResourcesToCreateROD = Self(0x55, 0x0C)
}
