internal import Bytes
public import SCSI

/// Conditions in which a command is processed and most others are not.
public struct CommandConditions: OptionSet, Sendable {
    /// A bit for each condition.
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Processed while a unit attention or a deferred error is pending, which stays pending (SAM-5 clause 5.14.2).
    public static let allowedWithUnitAttention = Self(rawValue: 1)
    /// Processed although another I_T nexus holds a reservation by RESERVE (SPC-2 table 10).
    public static let allowedWhenReserved = Self(rawValue: 2)
    /// Processed while the unit is not ready (no medium, stopped).
    public static let allowedWhenNotReady = Self(rawValue: 4)
    /// Changes the medium, so that a write-protected one refuses it.
    public static let writesMedium = Self(rawValue: 8)
    /// Processed whatever persistent reservation another nexus holds (the tables of SPC-5 clause 5.14.1, SBC-4 clause
    /// 4.17, SSC-4 clause 4.2.11 and SMC-3 clause 4.6).
    public static let passesExclusiveAccess = Self(rawValue: 16)
    /// Processed while the persistent reservation of another nexus is one of the write exclusive types.
    public static let passesWriteExclusive = Self(rawValue: 32)
    /// Processed although another nexus with the same task set has an auto contingent allegiance: PERSISTENT RESERVE
    /// OUT that preempts and aborts (SAM-5 clause 5.9.4).
    public static let allowedInFaultedTaskSet = Self(rawValue: 64)
    /// Processed through a target port in the standby state (SPC-5 clause 5.16.2.4.4).
    public static let allowedInStandby = Self(rawValue: 1 << 8)
    /// Processed through a target port in the unavailable state (SPC-5 clause 5.16.2.4.5).
    public static let allowedWhenUnavailable = Self(rawValue: 1 << 9)
    /// Processed through a target port that is offline, or whose access state is in transition (SPC-5 clause 5.16.2.5).
    public static let allowedInTransition = Self(rawValue: 1 << 10)
    /// Processed in every access state of the target port.
    public static let allowedInEveryAccessState: Self = [
        .allowedInStandby, .allowedWhenUnavailable, .allowedInTransition,
    ]
}

/// How a command is ordered against others of its task set.
public enum OrderingClass: UInt8, Sendable, CaseIterable {
    /// Runs at once, whatever else runs or waits (implicit HEAD OF QUEUE: INQUIRY, REPORT LUNS, REQUEST SENSE).
    case immediate
    /// May run beside others of this class.
    case shared
    /// Runs alone.
    case exclusive

    /// Whether a new command of this class may start beside running ones.
    func canStart(runningShared: Int, isExclusiveRunning: Bool) -> Bool {
        switch self {
        case .immediate: true
        case .shared: !isExclusiveRunning
        case .exclusive: !isExclusiveRunning && runningShared == 0
        }
    }
}

/// Which way a command moves data.
public enum DataDirection: UInt8, Sendable {
    /// The command transfers none.
    case none
    /// From the device server to the initiator.
    case dataIn
    /// From the initiator to the device server.
    case dataOut
    /// As the initiator's expected lengths say: the command is not known here (a wildcard row).
    case unknown
}

/// What is known about a command besides its handlers: everything that TargetCore checks, and what REPORT SUPPORTED
/// OPERATION CODES says.
public struct CommandAttributes: Sendable {
    public let operationCode: UInt8
    /// The service action, where the operation code has service actions: in byte 1 bits 4–0, and in bytes 8 and 9 of
    /// variable-length commands.
    public let serviceAction: UInt16?
    /// The standard's name.
    public let name: String
    /// CDB USAGE DATA (SPC-5 clause 6.35.3): one where a bit of the command may be set; byte 0 is the operation code.
    public fileprivate(set) var usage: [UInt8]
    /// Which way data moves.
    public let direction: DataDirection
    /// When the command is processed.
    public let conditions: CommandConditions
    public let ordering: OrderingClass
    /// RECOMMENDED COMMAND TIMEOUT, in seconds.
    public let timeout: UInt32
    /// The bits that must be zero, as four big-endian words.
    fileprivate(set) var forbidden: InlineArray<4, UInt64>
    /// The conditions of a nexus in which the command is not simply performed.
    let stops: GateConditions

    /// The first byte and bit of `block` that must be zero and are not.
    func invalidField(of block: borrowing CommandDescriptorBlock) -> (byte: Int, bit: Int)? {
        for word in 0..<(usage.count + 7) / 8 {
            let wrong = block.bytes.loadBE64(at: word * 8) & forbidden[word]
            if wrong != 0 {
                let leading = wrong.leadingZeroBitCount
                return (word * 8 + leading / 8, 7 - leading % 8)
            }
        }
        return nil
    }
}

/// One row of a device type's command table: the attributes and the handlers.
///
/// `begin` checks fields and, for a command without Data-Out, does the work. A command with Data-Out answers
/// `.awaitDataOut` from `begin`, which only checks, and `execute` does the work when the data is there.
public struct CommandDescriptor<Device: DeviceServer>: Sendable {
    public typealias Handler = @Sendable (Device, SCSITask, ITLNexus) -> CommandProgress
    /// Whether a command is performed although another nexus holds a reservation.
    public typealias ReservationException = @Sendable (borrowing CommandDescriptorBlock) -> Bool

    /// What is known about the command besides its handlers.
    public private(set) var attributes: CommandAttributes
    /// Checks and, without Data-Out, works.
    public private(set) var begin: Handler
    /// Works when the Data-Out is there.
    public let execute: Handler?
    /// For commands whose conflict with a reservation, by RESERVE or a persistent one, depends on their fields (SPC-2
    /// table 10, and the tables of persistent reservations).
    let passesReservation: ReservationException?

    /// A row. `usage` is the CDB usage data without byte 0, from byte 1 on; in byte 1 of a command with a service
    /// action, bits 4 to 0 are added by themselves. NACA is added to CONTROL; its obsolete bits are never allowed, so
    /// the last byte is normally zero.
    public init(
        _ operationCode: UInt8, serviceAction: UInt8? = nil, _ name: String, usage: [UInt8],
        direction: DataDirection = .none, conditions: CommandConditions = [], ordering: OrderingClass = .shared,
        timeout: UInt32 = 60, passesReservation: ReservationException? = nil, begin: @escaping Handler,
        execute: Handler? = nil
    ) {
        precondition(usage.count < CommandDescriptorBlock.maximumLength, "usage data is longer than a command")
        var bytes = [operationCode] + usage
        if let serviceAction { bytes[1] = bytes[1] & 0xE0 | serviceAction & 0x1F }
        if let control = CommandDescriptorBlock.controlPosition(ofOperationCode: operationCode), control < bytes.count {
            bytes[control] |= CommandDescriptorBlock.normalACA
        }
        var forbidden = InlineArray<4, UInt64>(repeating: 0)
        for (offset, mask) in bytes.enumerated() where offset > 0 {
            let allowed = offset == 1 && serviceAction != nil ? mask | 0x1F : mask
            forbidden[offset / 8] |= UInt64(~allowed) << UInt64(56 - offset % 8 * 8)
        }
        self.init(
            operationCode, serviceAction.map { UInt16($0) }, name, bytes, forbidden, direction, conditions, ordering,
            timeout, passesReservation, begin, execute)
    }

    /// A row of a variable-length command (SPC-5 clause 4.2.3.1). `usage` is the CDB usage data from byte 10 on, of all
    /// the bytes that the command has; CONTROL, in byte 1, has NACA only, and `group` says whether byte 6 has GROUP
    /// NUMBER. A command whose ADDITIONAL CDB LENGTH is not that of its service action is refused.
    public static func variableLength(
        serviceAction: UInt16, _ name: String, group: UInt8 = 0, usage: [UInt8], direction: DataDirection = .none,
        conditions: CommandConditions = [], ordering: OrderingClass = .shared, timeout: UInt32 = 60,
        begin: @escaping Handler, execute: Handler? = nil
    ) -> Self {
        let additionalLength = UInt8(2 + usage.count)
        let length = 10 + usage.count
        precondition(length <= CommandDescriptorBlock.maximumLength, "usage data is longer than a command")
        let head: [UInt8] = [
            OperationCode.variableLength, CommandDescriptorBlock.normalACA, 0, 0, 0, 0, group, additionalLength,
            UInt8(serviceAction >> 8),
            UInt8(serviceAction & 0xFF),
        ]
        let bytes = head + usage
        var forbidden = InlineArray<4, UInt64>(repeating: 0)
        for (offset, mask) in bytes.enumerated() where offset > 0 && !(7...9).contains(offset) {
            forbidden[offset / 8] |= UInt64(~mask) << UInt64(56 - offset % 8 * 8)
        }
        return Self(
            OperationCode.variableLength, serviceAction, name, bytes, forbidden, direction, conditions, ordering,
            timeout, nil, begin, execute
        ).checkingFirst { _, task in
            let block = task.commandDescriptorBlock
            guard block[7] == additionalLength, block.count >= length else { return task.failInvalidField(byte: 7) }
            return nil
        }
    }

    /// The same row, with `check` before its first handler: what it gives ends the command, nil goes on.
    public func checkingFirst(_ check: @escaping @Sendable (Device, SCSITask) -> CommandProgress?) -> Self {
        var row = self
        row.begin = { [begin] device, task, nexus in check(device, task) ?? begin(device, task, nexus) }
        return row
    }

    /// The same row, in which also the bits of `mask` in a byte may be set. CDB usage data shows them, unless `isShown`
    /// is false: for bits that are refused otherwise than with INVALID FIELD IN CDB.
    public func allowing(_ mask: UInt8, inByte byte: Int, isShown: Bool = true) -> Self {
        var row = self
        row.attributes.forbidden[byte / 8] &= ~(UInt64(mask) << UInt64(56 - byte % 8 * 8))
        if isShown { row.attributes.usage[byte] |= mask }
        return row
    }

    /// The row for every operation code that the table does not have: a bridge's, which passes commands on that it does
    /// not know. No bit is refused. `begin` answers `.awaitDataOut(length: task.expectedDataOutLength)` for data from
    /// the initiator, since only the initiator knows which way data moves.
    public static func wildcard(
        conditions: CommandConditions = [], ordering: OrderingClass = .shared, timeout: UInt32 = 60,
        begin: @escaping Handler, execute: @escaping Handler
    ) -> Self {
        Self(
            0, nil, "ANY", [0], InlineArray<4, UInt64>(repeating: 0), .unknown, conditions, ordering, timeout, nil,
            begin, execute)
    }

    private init(
        _ operationCode: UInt8, _ serviceAction: UInt16?, _ name: String, _ usage: [UInt8],
        _ forbidden: InlineArray<4, UInt64>, _ direction: DataDirection, _ conditions: CommandConditions,
        _ ordering: OrderingClass, _ timeout: UInt32, _ passesReservation: ReservationException?,
        _ begin: @escaping Handler, _ execute: Handler?
    ) {
        var stops: GateConditions = [.intercepted, .contingentAllegiance, .contingentAllegianceOfAnother]
        if conditions.contains(.allowedInFaultedTaskSet) { stops.remove(.contingentAllegianceOfAnother) }
        if !conditions.contains(.allowedWithUnitAttention) { stops.formUnion([.unitAttention, .deferredError]) }
        if !conditions.contains(.allowedWhenReserved) { stops.insert(.reservationConflict) }
        if !conditions.contains(.passesExclusiveAccess) {
            stops.insert(.accessExclusion)
            if !conditions.contains(.passesWriteExclusive) { stops.insert(.writeExclusion) }
        }
        if !conditions.contains(.allowedInStandby) { stops.insert(.standby) }
        if !conditions.contains(.allowedWhenUnavailable) { stops.insert(.unavailable) }
        if !conditions.contains(.allowedInTransition) { stops.formUnion([.transitioning, .offline]) }
        // What needs a ready unit needs an active one, but TEST UNIT READY only asks.
        if !conditions.contains(.allowedWhenNotReady), operationCode != OperationCode.testUnitReady {
            stops.insert(.lowPower)
        }
        attributes = CommandAttributes(
            operationCode: operationCode, serviceAction: serviceAction, name: name, usage: usage, direction: direction,
            conditions: conditions, ordering: ordering, timeout: timeout, forbidden: forbidden, stops: stops)
        self.begin = begin
        self.execute = execute
        self.passesReservation = passesReservation
    }
}
