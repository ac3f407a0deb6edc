internal import Synchronization

/// Why a medium may not be written: bits of one word, so that a command that writes reads no more than that.
struct WriteProtection: OptionSet {
    let rawValue: UInt8

    /// The user has said so.
    static let readOnly = WriteProtection(rawValue: 1)
    /// SWP of the Control mode page (SBC-4 clause 4.12).
    static let software = WriteProtection(rawValue: 2)
    /// The image is never written.
    static let image = WriteProtection(rawValue: 4)
}

extension Atomic<UInt8> {
    /// Sets or clears the bits of `reason`; whether that changes any.
    func set<Reason: OptionSet>(_ reason: Reason, _ isSet: Bool) -> Bool where Reason.RawValue == UInt8 {
        let before =
            isSet
            ? bitwiseOr(reason.rawValue, ordering: .acquiringAndReleasing).oldValue
            : bitwiseAnd(~reason.rawValue, ordering: .acquiringAndReleasing).oldValue
        return (before & reason.rawValue != 0) != isSet
    }
}
