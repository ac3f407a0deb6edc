/// What the copy manager does not exceed. It reports these numbers by the Third-party Copy VPD page and by RECEIVE COPY
/// OPERATING PARAMETERS (SPC-5 clauses 7.8.17 and 6.22), and keeps to them.
enum CopyLimit {
    // MARK: EXTENDED COPY

    /// MAXIMUM CSCD DESCRIPTOR COUNT.
    static let descriptors = 16
    /// MAXIMUM SEGMENT DESCRIPTOR COUNT.
    static let segments = 64
    /// MAXIMUM DESCRIPTOR LIST LENGTH, in bytes: as many of both as there may be.
    static let listLength = descriptors * CSCDDescriptor.length + segments * CopySegment.Kind.bytes.length
    /// MAXIMUM SEGMENT LENGTH, in bytes.
    static let segmentLength = 64 << 20
    /// DATA SEGMENT GRANULARITY, as a power of two: the smallest logical block.
    static let granularity: UInt8 = 9

    // MARK: ROD tokens

    /// MAXIMUM RANGE DESCRIPTORS of POPULATE TOKEN and WRITE USING TOKEN.
    static let ranges = 64
    /// MAXIMUM TOKEN TRANSFER SIZE and MAXIMUM BYTES IN BLOCK ROD, in bytes.
    static let tokenLength = 256 << 20
    /// OPTIMAL TRANSFER COUNT, in bytes.
    static let optimalTokenLength = 64 << 20
    /// DEFAULT INACTIVITY TIMEOUT, in seconds.
    static let defaultInactivity: UInt32 = 60
    /// MAXIMUM INACTIVITY TIMEOUT, in seconds.
    static let maximumInactivity: UInt32 = 600
    /// The most ROD tokens of all disks, and those that have become invalid and are still told apart.
    static let tokens = 512
    /// The most valid ROD tokens that represent blocks of one disk.
    static let tokensOfUnit = 128

    // MARK: Operations

    /// The most bytes of a parameter list.
    static let parameterListLength = 8192
    /// MAXIMUM CONCURRENT COPIES: of one logical unit, at the same time. Others end with BUSY.
    static let concurrentOfUnit = 16
    /// The most copies of all logical units at the same time.
    static let concurrent = 128
    /// The bytes that a copy reads before it writes them: what other commands wait for at most.
    static let bufferLength = 1 << 20
    /// The most results of copy operations that are kept for one nexus. The oldest goes first.
    static let resultsOfNexus = 32
    /// The most results that are kept for all nexuses.
    static let results = 1024
}
