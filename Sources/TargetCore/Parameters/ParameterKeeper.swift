/// A parameter that a logical unit keeps beyond the life of the process.
public struct KeptParameter: Hashable, Sendable {
    /// What it is. The raw values are kept: they never change.
    public enum Kind: String, Sendable, CaseIterable {
        /// The saved values of a mode page (SPC-5 clause 6.13).
        case modePage
        /// Identifying information (SPC-5 clause 6.32).
        case identifyingInformation
        /// A parameter of the Application Client log page (SPC-5 clause 7.3.4).
        case applicationLog
        /// The saved values of all log counters.
        case logCounters
        /// The results of the last self-tests.
        case selfTests
        /// PRODUCT REVISION LEVEL of microcode that was downloaded and saved: 0 of that which is active, 1 of that
        /// which waits to be activated, with a byte that is one when power on does it.
        case microcode
    }

    public let kind: Kind
    /// Which of them: PAGE CODE and SUBPAGE CODE of a mode page, IDENTIFYING INFORMATION TYPE, PARAMETER CODE; else 0.
    public let number: UInt16

    public init(_ kind: Kind, _ number: UInt16 = 0) {
        self.kind = kind
        self.number = number
    }

    /// The saved values of that mode page.
    static func modePage(_ page: ModePage) -> KeptParameter {
        KeptParameter(.modePage, UInt16(page.code) << 8 | UInt16(page.subpage))
    }
}

/// What keeps parameters of one logical unit beyond the life of the process.
public protocol ParameterKeeper: Sendable {
    /// What was kept, as far as it can be read.
    var kept: [KeptParameter: [UInt8]] { get }
    /// Whether that could be read. If not, nothing is kept, for it would take the place of what was not read.
    var isReadable: Bool { get }
    /// Keeps `values`, all or none of them, and leaves others as they are; an empty value is kept no longer. Calls
    /// `completion` with true when that is durable, and with false when nothing has changed. It does not wait;
    /// `completion` is called on any thread, in the order of the calls.
    func keep(_ values: [KeptParameter: [UInt8]], completion: @escaping @Sendable (Bool) -> Void)
}

extension ParameterKeeper {
    public var isReadable: Bool { true }
}
