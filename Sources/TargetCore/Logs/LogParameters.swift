internal import Bytes

/// Log parameters in the form in which LOG SENSE returns them (SPC-5 clause 7.3.2).
struct LogParameters {
    /// The bytes of a parameter before its value: PARAMETER CODE, control byte, PARAMETER LENGTH.
    static let headerLength = 4

    /// The control byte: TSD, as only LOG SELECT and LOG SENSE save, and FORMAT AND LINKING.
    enum Control {
        static let boundedCounter: UInt8 = 0x20
        static let unboundedCounter: UInt8 = 0x22
        /// A list in binary form.
        static let list: UInt8 = 0x03
    }

    private(set) var bytes: [UInt8] = []

    /// Appends a parameter; `value` has at most 255 bytes.
    mutating func append(_ code: UInt16, _ control: UInt8, _ value: [UInt8]) {
        bytes.appendBE16(code)
        bytes += [control, UInt8(value.count)]
        bytes += value
    }

    /// Appends a bounded data counter of 8 bytes.
    mutating func append(_ code: UInt16, counter: UInt64) {
        var value: [UInt8] = []
        value.appendBE64(counter)
        append(code, Control.boundedCounter, value)
    }

    /// Appends a bounded data counter of 4 bytes, which stays at its highest value.
    mutating func append(_ code: UInt16, shortCounter: UInt64) {
        var value: [UInt8] = []
        value.appendBE32(UInt32(clamping: shortCounter))
        append(code, Control.boundedCounter, value)
    }

    /// Page control of LOG SENSE (SPC-5 table 161).
    enum Values: UInt8 {
        case threshold = 0
        case cumulative = 1
        case defaultThreshold = 2
        case defaultCumulative = 3
    }

    /// The parameters of `content` with other values of the data counters: no counter has a threshold, so theirs are
    /// the highest that there are; they begin with zero. Lists stay as they are.
    static func converted(_ content: [UInt8], to values: Values) -> [UInt8] {
        guard values != .cumulative else { return content }
        var converted = content
        let fill: UInt8 = values == .defaultCumulative ? 0 : 0xFF
        var offset = 0
        while offset + headerLength <= content.count {
            let next = min(offset + headerLength + Int(content[offset + 3]), content.count)
            if content[offset + 2] & 0x01 == 0 {
                for index in offset + headerLength..<next { converted[index] = fill }
            }
            offset = next
        }
        return converted
    }
}
