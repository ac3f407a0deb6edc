internal import Bytes
public import SCSI

/// What a look-up of a command found.
public enum CommandLookup: Sendable, Equatable {
    /// The row with this index.
    case command(Int)
    /// The operation code is not supported.
    case unknownOperationCode
    /// The operation code is, the service action is not.
    case unknownServiceAction
}

/// The attributes of all commands of a device type, found by operation code and service action in constant time.
///
/// A device may have several variants of its table, of which one is in force at a time (`DeviceServer.commandVariant`):
/// rows have numbers of their own in each, so a command that was found in one stays what it is when another comes into
/// force.
public struct CommandSet: Sendable {
    /// What finds the rows of a variant.
    private struct Variant {
        /// By operation code: a row's index, or −1, or −2 − an index into `serviceActions`.
        var index = [Int16](repeating: -1, count: 256)
        /// By service action; none beyond the last that the operation code has.
        var serviceActions: [[Int16]] = []
        /// Where its listed rows are.
        var listed = 0..<0
    }

    /// The attributes of the listed rows by variant, operation code, then service action; the wildcard row, if there is
    /// one, is last.
    private let rows: [CommandAttributes]
    private let listedCount: Int
    private let passesReservation: [(@Sendable (borrowing CommandDescriptorBlock) -> Bool)?]
    private let variants: [Variant]
    /// By row.
    private let variantOfRow: [UInt8]

    init<Device>(_ listed: [[CommandDescriptor<Device>]], wildcard: CommandDescriptor<Device>?) {
        let all = listed.flatMap { $0 }
        rows = all.map(\.attributes) + (wildcard.map { [$0.attributes] } ?? [])
        listedCount = all.count
        passesReservation = all.map(\.passesReservation) + (wildcard == nil ? [] : [nil])
        variantOfRow = listed.enumerated().flatMap { [UInt8](repeating: UInt8($0), count: $1.count) }
        var first = 0
        variants = listed.map { rows in
            defer { first += rows.count }
            return Self.variant(rows.map(\.attributes), from: first)
        }
    }

    /// The variant of rows whose numbers begin with `first`.
    private static func variant(_ rows: [CommandAttributes], from first: Int) -> Variant {
        var variant = Variant()
        variant.listed = first..<first + rows.count
        for (row, attribute) in zip(variant.listed, rows) {
            let code = Int(attribute.operationCode)
            guard let serviceAction = attribute.serviceAction else {
                precondition(variant.index[code] == -1, "operation code \(code) stands twice in the table")
                variant.index[code] = Int16(row)
                continue
            }
            if variant.index[code] == -1 {
                variant.serviceActions.append([])
                variant.index[code] = Int16(-2 - (variant.serviceActions.count - 1))
            }
            precondition(
                variant.index[code] <= -2, "operation code \(code) stands both with and without service action")
            let table = Int(-2 - variant.index[code])
            let missing = Int(serviceAction) + 1 - variant.serviceActions[table].count
            if missing > 0 { variant.serviceActions[table] += [Int16](repeating: -1, count: missing) }
            precondition(
                variant.serviceActions[table][Int(serviceAction)] == -1, "a service action stands twice in the table")
            variant.serviceActions[table][Int(serviceAction)] = Int16(row)
        }
        return variant
    }

    /// The attributes of all listed rows of a variant, by operation code, then service action.
    public func attributes(in variant: Int = 0) -> ArraySlice<CommandAttributes> { rows[variants[variant].listed] }

    /// The attributes of a row.
    func attributes(of row: Int) -> CommandAttributes { rows[row] }

    /// Whether there is more than one variant.
    var hasVariants: Bool { variants.count > 1 }

    /// The variant in which a command was found; 0 of one that was not found, and of the wildcard row.
    public func variant(of row: Int) -> Int { variantOfRow.indices.contains(row) ? Int(variantOfRow[row]) : 0 }

    /// The standard's name of the command of an operation code; nil when no variant lists it, or several do by service
    /// action.
    public func name(ofOperationCode code: UInt8) -> String? {
        for variant in variants where variant.index[Int(code)] >= 0 { return rows[Int(variant.index[Int(code)])].name }
        return nil
    }

    /// Finds the row for a command; the wildcard row for one that is not listed, where there is one.
    public func find(_ block: borrowing CommandDescriptorBlock, in variant: Int = 0) -> CommandLookup {
        let row = variants[variant].index[Int(block.operationCode)]
        if row >= 0 { return .command(Int(row)) }
        let found = findListed(
            operationCode: block.operationCode,
            serviceAction: block.isVariableLength ? block.variableLengthServiceAction : UInt16(block.serviceAction),
            in: variant)
        if listedCount == rows.count { return found }
        if case .command = found { return found }
        return .command(listedCount)
    }

    /// Finds the row for a command that a variant lists.
    func findListed(operationCode: UInt8, serviceAction: UInt16, in variant: Int = 0) -> CommandLookup {
        let row = variants[variant].index[Int(operationCode)]
        if row >= 0 { return .command(Int(row)) }
        if row == -1 { return .unknownOperationCode }
        let table = Int(-2 - row)
        guard Int(serviceAction) < variants[variant].serviceActions[table].count,
            variants[variant].serviceActions[table][Int(serviceAction)] >= 0
        else { return .unknownServiceAction }
        return .command(Int(variants[variant].serviceActions[table][Int(serviceAction)]))
    }

    public func hasServiceActions(_ operationCode: UInt8, in variant: Int = 0) -> Bool {
        variants[variant].index[Int(operationCode)] <= -2
    }

    // What each command asks for, one field each: a copy of all attributes would count references.

    /// Under which conditions the command of a row is performed.
    public func conditions(_ row: Int) -> CommandConditions { rows[row].conditions }
    func ordering(_ row: Int) -> OrderingClass { rows[row].ordering }
    /// Which way the command of a row moves data.
    func direction(_ row: Int) -> DataDirection { rows[row].direction }
    /// The conditions of a nexus in which the command of a row is not simply performed.
    func stops(_ row: Int) -> GateConditions { rows[row].stops }

    /// The first byte and bit of `block` that must be zero and are not.
    func invalidField(_ row: Int, of block: borrowing CommandDescriptorBlock) -> (byte: Int, bit: Int)? {
        rows[row].invalidField(of: block)
    }

    /// Whether the command is performed although another nexus holds a reservation.
    func passesReservation(_ row: Int, _ block: borrowing CommandDescriptorBlock) -> Bool {
        guard let passes = passesReservation[row] else { return false }
        return passes(block)
    }
}

/// The command table of a device type.
public struct CommandTable<Device: DeviceServer>: Sendable {
    /// The attributes of all rows.
    public let commands: CommandSet
    /// The handlers of the rows, apart from the attributes: a copy of a whole row would count references.
    @usableFromInline let begins: [CommandDescriptor<Device>.Handler]
    @usableFromInline let executes: [CommandDescriptor<Device>.Handler?]

    /// The table of `rows`, in any order, and of a row for all other commands, if there is one.
    public init(_ rows: [CommandDescriptor<Device>], wildcard: CommandDescriptor<Device>? = nil) {
        self.init(variants: [rows], wildcard: wildcard)
    }

    /// The table whose variants have those rows, in any order.
    public init(variants: [[CommandDescriptor<Device>]], wildcard: CommandDescriptor<Device>? = nil) {
        let sorted = variants.map { rows in
            rows.sorted {
                ($0.attributes.operationCode, $0.attributes.serviceAction ?? 0)
                    < ($1.attributes.operationCode, $1.attributes.serviceAction ?? 0)
            }
        }
        let all = sorted.flatMap { $0 } + (wildcard.map { [$0] } ?? [])
        begins = all.map(\.begin)
        executes = all.map(\.execute)
        commands = CommandSet(sorted, wildcard: wildcard)
    }

    // Inlinable, so that they are compiled for the device type and not for all of them.

    /// Runs the first handler of a row.
    @inlinable public func begin(
        _ command: Int, _ device: Device, _ task: SCSITask, _ nexus: ITLNexus
    ) -> CommandProgress {
        begins[command](device, task, nexus)
    }

    /// Runs the second handler of a row. One that takes Data-Out and has none ends with INTERNAL TARGET FAILURE.
    @inlinable public func execute(
        _ command: Int, _ device: Device, _ task: SCSITask, _ nexus: ITLNexus
    ) -> CommandProgress {
        guard let execute = executes[command] else { return task.fail(.hardwareError, .internalTargetFailure) }
        return execute(device, task, nexus)
    }
}
