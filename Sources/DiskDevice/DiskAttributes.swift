/// What a disk says of itself besides its capacity: the fields that a user chooses once, for as long as it exists.
///
/// Nothing of it changes what is stored or how fast: initiators align partitions, choose schedulers and file systems by
/// it.
public struct DiskAttributes: Sendable, Hashable {
    /// LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT (SBC-4 clause 5.21): with 512-byte blocks, 3 tells initiators that
    /// the medium prefers aligned 4 KiB (512e), 0 that it has no preference (512n).
    public var physicalBlockExponent: UInt8
    /// LOWEST ALIGNED LOGICAL BLOCK ADDRESS, 14 bits: the first block that begins a physical block.
    public var lowestAlignedBlock: UInt16
    /// RMB: whether the medium can be ejected and loaded.
    public var isRemovable: Bool
    /// MEDIUM ROTATION RATE (SBC-4 clause 6.6.2): 1 for a medium that does not rotate, 0 when it is not reported, from
    /// 0401h on in revolutions a minute.
    public var rotationRate: UInt16
    /// NOMINAL FORM FACTOR (SBC-4 clause 6.6.2), 4 bits; 0 when it is not reported.
    public var formFactor: UInt8
    /// LBPRZ (SBC-4 clause 6.6.4), 3 bits: what is promised of unmapped blocks. They read as zeros whatever it is.
    public var unmappedReads: UInt8

    /// Attributes of those values; those that are too long for their fields are cut.
    public init(
        physicalBlockExponent: UInt8 = 0, lowestAlignedBlock: UInt16 = 0, isRemovable: Bool = false,
        rotationRate: UInt16 = 1, formFactor: UInt8 = 0, unmappedReads: UInt8 = 1
    ) {
        self.physicalBlockExponent = physicalBlockExponent & 0x0F
        self.lowestAlignedBlock = lowestAlignedBlock & 0x3FFF
        self.isRemovable = isRemovable
        self.rotationRate = rotationRate
        self.formFactor = formFactor & 0x0F
        self.unmappedReads = unmappedReads & 0x07
    }
}
