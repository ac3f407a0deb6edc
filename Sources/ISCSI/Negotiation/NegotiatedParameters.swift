/// The kind of a session (RFC 7143 section 13.21).
public enum SessionType: String, Sendable {
    /// A session to one target.
    case normal = "Normal"
    /// A session that only asks which targets there are.
    case discovery = "Discovery"
}

/// What protects headers or data segments (RFC 7143 section 13.1).
public enum DigestAlgorithm: String, Sendable, CaseIterable {
    /// Nothing.
    case none = "None"
    case crc32c = "CRC32C"
}

/// How the end of tasks in multi-task aborts is reported (RFC 7143 section 13.23).
public enum TaskReporting: String, Sendable, CaseIterable {
    /// As RFC 3720 says.
    case rfc3720 = "RFC3720"
    /// With response fences (section 4.2.2.3.3).
    case responseFence = "ResponseFence"
    /// FastAbort (section 4.2.3.4).
    case fastAbort = "FastAbort"
}

/// The operational parameters in force on a connection and its session (RFC 7143 section 13).
///
/// The initial values are the RFC's defaults. In `OperationalSettings.preferred` the same fields say what one side
/// wants.
public struct NegotiatedParameters: Hashable, Sendable {
    // MARK: Of the connection

    /// HeaderDigest: what protects headers (section 13.1).
    public var headerDigest = DigestAlgorithm.none
    /// DataDigest: what protects data segments (section 13.1).
    public var dataDigest = DigestAlgorithm.none
    /// MaxRecvDataSegmentLength of this side, in bytes: the limit of what it receives.
    public var maxRecvDataSegmentLength = 8192
    /// MaxRecvDataSegmentLength of the other side, in bytes: the limit of what this side sends.
    public var maxSendDataSegmentLength = 8192

    // MARK: Of the session

    /// MaxConnections: the most connections of the session (section 13.2).
    public var maxConnections = 1
    /// InitialR2T: no unsolicited Data-Out PDUs.
    public var initialR2T = true
    /// ImmediateData: commands may carry data.
    public var immediateData = true
    /// MaxBurstLength, in bytes: the limit of a Data-In or solicited Data-Out sequence.
    public var maxBurstLength = 262_144
    /// FirstBurstLength, in bytes: the limit of unsolicited data of a command, immediate data included.
    public var firstBurstLength = 65_536
    /// DefaultTime2Wait, in seconds.
    public var defaultTime2Wait = 2
    /// DefaultTime2Retain, in seconds.
    public var defaultTime2Retain = 20
    /// MaxOutstandingR2T, of one command.
    public var maxOutstandingR2T = 1
    /// DataPDUInOrder: whether PDUs of a sequence follow each other by their offsets (section 13.18).
    public var dataPDUInOrder = true
    /// DataSequenceInOrder: whether sequences follow each other by their offsets (section 13.19).
    public var dataSequenceInOrder = true
    /// ErrorRecoveryLevel: 0 ends the session at an error, 1 sends PDUs again, 2 keeps tasks of a lost connection.
    public var errorRecoveryLevel = 0
    /// TaskReporting: when responses of task management are fenced (section 13.23).
    public var taskReporting = TaskReporting.rfc3720
    /// iSCSIProtocolLevel: 2 means RFC 7144.
    public var iSCSIProtocolLevel = 1

    // MARK: iSER (RFC 7145 section 6)

    /// RDMAExtensions: the connection goes over to iSER.
    public var rdmaExtensions = false
    /// TargetRecvDataSegmentLength, in bytes.
    public var targetRecvDataSegmentLength = 8192
    /// InitiatorRecvDataSegmentLength, in bytes.
    public var initiatorRecvDataSegmentLength = 8192
    /// MaxOutstandingUnexpectedPDUs of this side; 0 means no limit was declared.
    public var maxOutstandingUnexpectedPDUs = 0
    /// MaxOutstandingUnexpectedPDUs of the other side; 0 means no limit was declared.
    public var peerMaxOutstandingUnexpectedPDUs = 0

    /// The values that are in force when a key is not negotiated (section 13).
    public init() {}

    /// What the login of a further connection starts from: the session's parameters, and the defaults for those of the
    /// connection.
    public var ofSession: Self {
        let defaults = Self()
        var parameters = self
        parameters.headerDigest = defaults.headerDigest
        parameters.dataDigest = defaults.dataDigest
        parameters.maxRecvDataSegmentLength = defaults.maxRecvDataSegmentLength
        parameters.maxSendDataSegmentLength = defaults.maxSendDataSegmentLength
        parameters.targetRecvDataSegmentLength = defaults.targetRecvDataSegmentLength
        parameters.initiatorRecvDataSegmentLength = defaults.initiatorRecvDataSegmentLength
        parameters.maxOutstandingUnexpectedPDUs = defaults.maxOutstandingUnexpectedPDUs
        parameters.peerMaxOutstandingUnexpectedPDUs = defaults.peerMaxOutstandingUnexpectedPDUs
        return parameters
    }
}

/// What one side wants: its values for each key, and the lists it chooses from.
public struct OperationalSettings: Hashable, Sendable {
    /// Values for the numerical and boolean keys: limits of what this side accepts, and what it offers.
    /// `maxSendDataSegmentLength` has no meaning here.
    public var preferred: NegotiatedParameters
    /// The header digests that are acceptable, in the order in which an initiator offers them.
    public var headerDigests: [DigestAlgorithm] = [.none, .crc32c]
    /// The data digests that are acceptable, in the order in which an initiator offers them.
    public var dataDigests: [DigestAlgorithm] = [.none, .crc32c]
    /// The kinds of task reporting that are acceptable, in the order in which an initiator offers them.
    public var taskReporting: [TaskReporting] = [.rfc3720]

    /// Settings around `preferred`.
    public init(preferred: NegotiatedParameters = NegotiatedParameters()) {
        self.preferred = preferred
    }

    /// Settings of a target that wants few round trips: unsolicited data up to 256 KiB, bursts of 1 MiB, and data
    /// segments of 256 KiB; every kind of task reporting, and protocol level 2 (RFC 7144).
    public static let target: Self = {
        var preferred = NegotiatedParameters()
        preferred.initialR2T = false
        preferred.maxRecvDataSegmentLength = 262_144
        preferred.maxBurstLength = 1_048_576
        preferred.firstBurstLength = 262_144
        preferred.maxOutstandingR2T = 8
        preferred.maxConnections = 8
        preferred.errorRecoveryLevel = 2
        preferred.iSCSIProtocolLevel = 2
        var settings = Self(preferred: preferred)
        settings.taskReporting = [.fastAbort, .responseFence, .rfc3720]
        return settings
    }()
}

/// The list keys as text, for the table.
extension NegotiatedParameters {
    var headerDigestName: String {
        get { headerDigest.rawValue }
        set { headerDigest = DigestAlgorithm(rawValue: newValue) ?? headerDigest }
    }
    var dataDigestName: String {
        get { dataDigest.rawValue }
        set { dataDigest = DigestAlgorithm(rawValue: newValue) ?? dataDigest }
    }
    var taskReportingName: String {
        get { taskReporting.rawValue }
        set { taskReporting = TaskReporting(rawValue: newValue) ?? taskReporting }
    }
}

/// The acceptable values of the list keys as text, for the table.
extension OperationalSettings {
    var headerDigestNames: [String] { headerDigests.map(\.rawValue) }
    var dataDigestNames: [String] { dataDigests.map(\.rawValue) }
    var taskReportingNames: [String] { taskReporting.map(\.rawValue) }
}
