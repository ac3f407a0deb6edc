/// A log page that a logical unit makes of what it counts (SPC-5 clause 7.3, SBC-4 clause 6.4).
public struct CommonLogPage: Hashable, Comparable, Sendable {
    public let code: UInt8
    public let subpage: UInt8

    init(_ code: UInt8, subpage: UInt8 = 0) {
        self.code = code
        self.subpage = subpage
    }

    /// Write Error Counters.
    public static let writeErrors = Self(0x02)
    /// Read Error Counters.
    public static let readErrors = Self(0x03)
    /// Verify Error Counters.
    public static let verifyErrors = Self(0x05)
    /// Non-Medium Error.
    public static let nonMediumErrors = Self(0x06)
    /// Temperature, which a virtual device does not have.
    public static let temperature = Self(0x0D)
    /// Start-Stop Cycle Counter.
    public static let startStopCycles = Self(0x0E)
    /// Application Client.
    public static let applicationClient = Self(0x0F)
    /// Self-Test Results.
    public static let selfTestResults = Self(0x10)
    /// Solid State Media (SBC-4 clause 6.4.8).
    public static let solidStateMedia = Self(0x11)
    /// Background Scan (SBC-4 clause 6.4.2): there is none.
    public static let backgroundScan = Self(0x15)
    /// General Statistics and Performance.
    public static let generalStatistics = Self(0x19)
    /// Power Condition Transitions.
    public static let powerConditionTransitions = Self(0x1A)
    /// Informational Exceptions.
    public static let informationalExceptions = Self(0x2F)

    /// In the order of their codes.
    public static func < (left: Self, right: Self) -> Bool {
        (left.code, left.subpage) < (right.code, right.subpage)
    }
}
