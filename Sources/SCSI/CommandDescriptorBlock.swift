public import Bytes

/// A command descriptor block: the command itself (SPC-5 clause 4.2), held inline.
///
/// Up to `maximumLength` bytes; bytes beyond `count` are zero. A longer one is not representable: ports answer it
/// with INVALID COMMAND OPERATION CODE.
public struct CommandDescriptorBlock: Sendable {
    /// The most bytes of a command descriptor block, in bytes: enough for every command of SBC-4, SSC-5 and SMC-3.
    public static let maximumLength = 32

    @usableFromInline var storage: InlineArray<32, UInt8>
    /// How many bytes the initiator sent: 16 in iSCSI unless an additional header segment carries more.
    public private(set) var count: Int

    /// An all-zero block of 6 bytes (TEST UNIT READY).
    public init() {
        storage = InlineArray(repeating: 0)
        count = 6
    }

    /// The block in `bytes`, of which at most `maximumLength` are taken.
    public init(_ bytes: RawSpan) {
        storage = InlineArray(repeating: 0)
        count = min(bytes.byteCount, Self.maximumLength)
        let source = bytes.extracting(0..<count)
        storage.modifyBytes { $0.store(source, at: 0) }
    }

    /// The block in `bytes`, for tests and tables.
    public init(_ bytes: [UInt8]) {
        self.init(bytes.rawSpan)
    }

    /// All 32 bytes, those beyond `count` zero; loads of any standard's field are inside.
    @inlinable
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get { storage.rawSpan }
    }

    /// The byte at `offset`, below 32.
    @inlinable
    public subscript(offset: Int) -> UInt8 { storage[offset] }

    /// Byte 0.
    @inlinable
    public var operationCode: UInt8 { storage[0] }

    /// The service action in byte 1 bits 4–0, where the operation code has one there (SPC-5 table 22).
    @inlinable
    public var serviceAction: UInt8 { storage[1] & 0x1F }

    /// Where the CONTROL byte is (SAM-5 clause 5.2); nil for the vendor-specific groups.
    public static func controlPosition(ofOperationCode operationCode: UInt8) -> Int? {
        // Of the variable length format it is the second byte.
        operationCode & 0xFE == 0x7E ? 1 : length(ofOperationCode: operationCode).map { $0 - 1 }
    }

    /// NACA, in the CONTROL byte: whether CHECK CONDITION establishes an auto contingent allegiance.
    public var isNormalACARequested: Bool {
        guard let position = Self.controlPosition(ofOperationCode: operationCode) else { return false }
        return storage[position] & Self.normalACA != 0
    }

    /// The bit NACA of the CONTROL byte.
    public static let normalACA: UInt8 = 0x04
    /// Whether it is a variable-length one (SPC-5 clause 4.2.3.1), whose fields lie elsewhere.
    @inlinable
    public var isVariableLength: Bool { storage[0] == OperationCode.variableLength }

    /// The service action in bytes 8 and 9 of a variable-length one.
    @inlinable
    public var variableLengthServiceAction: UInt16 { UInt16(storage[8]) << 8 | UInt16(storage[9]) }

    /// How many bytes the operation code's group says the block has (SPC-5 clause 4.2.5.1), or nil for the
    /// vendor-specific and variable-length groups.
    public static func length(ofOperationCode operationCode: UInt8) -> Int? {
        switch operationCode >> 5 {
        case 0: 6
        case 1, 2: 10
        case 4: 16
        case 5: 12
        default: nil
        }
    }
}
