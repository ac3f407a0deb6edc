internal import Bytes
public import SCSI

/// SRP_TSK_MGMT: a task management function (SRP r16a clause 6.7). `SRPResponse` with a response code answers it.
@frozen public struct SRPTaskManagement: SRPInformationUnit, Hashable {
    @inlinable public static var type: SRPInformationUnitType { .taskManagement }
    @inlinable public static var minimumLength: Int { 48 }

    public var tag: UInt64 = 0
    /// UCSOLNT and SCSOLNT: which answers shall be solicited.
    public var solicitation: SRPSolicitation = []
    /// LOGICAL UNIT NUMBER.
    public var logicalUnitNumber = LogicalUnitNumber(rawValue: 0)
    /// TASK MANAGEMENT FLAGS: the function's code; `function` gives its meaning.
    public var functionCode: UInt8 = 0
    /// TAG OF TASK TO BE MANAGED, for ABORT TASK.
    public var managedTag: UInt64 = 0

    public init() {}

    /// A request for `function`, which must be one that SRP has.
    public init(_ function: TaskManagementFunction, tag: UInt64) {
        guard let code = Self.codes.first(where: { $0.function == function })?.code else {
            preconditionFailure("SRP has no such task management function")
        }
        functionCode = code
        self.tag = tag
    }

    public init(parsing bytes: RawSpan) throws(SRPError) {
        try Self.check(bytes)
        tag = bytes.loadBE64(at: 8)
        solicitation = SRPSolicitation(rawValue: bytes.byte(at: 1))
        logicalUnitNumber = LogicalUnitNumber(rawValue: bytes.loadBE64(at: 20))
        functionCode = bytes.byte(at: 30)
        managedTag = bytes.loadBE64(at: 32)
    }

    @_lifetime(bytes: copy bytes)
    public func encode(into bytes: inout MutableRawSpan) {
        bytes.storeHeader(Self.type, second: solicitation.rawValue, tag: tag, length: Self.minimumLength)
        bytes.storeBE64(logicalUnitNumber.rawValue, at: 20)
        bytes.store(byte: functionCode, at: 30)
        bytes.storeBE64(managedTag, at: 32)
    }

    /// The function, or nil when the standard defines no such code: `SRPResponseCode.functionNotSupported` answers it.
    public var function: TaskManagementFunction? { Self.codes.first { $0.code == functionCode }?.function }

    private static let codes: [(code: UInt8, function: TaskManagementFunction)] = [
        (0x01, .abortTask), (0x02, .abortTaskSet), (0x04, .clearTaskSet), (0x08, .logicalUnitReset), (0x40, .clearACA),
    ]
}
