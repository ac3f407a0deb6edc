internal import Bytes
internal import SCSI

/// The log pages that a logical unit makes of what it counts (SPC-5 clause 7.3, SBC-4 clause 6.4).
extension LogicalUnit {
    /// The page of that code; nil when the unit does not have it.
    func commonLogPage(_ code: UInt8, subpage: UInt8) -> CommonLogPage? {
        server.commonLogPages.first { $0.code == code && $0.subpage == subpage }
    }

    /// The parameters of a page.
    func logParameters(_ page: CommonLogPage) -> [UInt8] {
        let values = logValues
        func value(_ counter: LogCounter) -> UInt64 { values[counter.rawValue] }
        var parameters = LogParameters()
        switch page {
        case .writeErrors:
            Self.appendErrors(value(.writeErrors), bytes: value(.writtenBytes), to: &parameters)
        case .readErrors:
            Self.appendErrors(value(.readErrors), bytes: value(.readBytes), to: &parameters)
        case .verifyErrors: Self.appendErrors(value(.verifyErrors), bytes: nil, to: &parameters)
        case .nonMediumErrors: parameters.append(0x0000, counter: value(.nonMediumErrors))
        case .temperature:
            // TEMPERATURE and REFERENCE TEMPERATURE: none.
            parameters.append(0x0000, LogParameters.Control.list, [0, 0xFF])
            parameters.append(0x0001, LogParameters.Control.list, [0, 0xFF])
        case .startStopCycles:
            // ACCUMULATED START-STOP CYCLES: a stop and a start are one.
            parameters.append(0x0004, LogParameters.Control.list, Self.fourBytes(value(.startStops) / 2))
        case .applicationClient:
            for code in ApplicationLog.codes {
                let value = self.parameters[KeptParameter(.applicationLog, code)]
                let rest = [UInt8](repeating: 0, count: ApplicationLog.length - value.count)
                parameters.append(code, LogParameters.Control.list, value + rest)
            }
        case .selfTestResults: appendSelfTests(to: &parameters)
        case .solidStateMedia:
            // PERCENTAGE USED ENDURANCE INDICATOR: nothing here wears out.
            parameters.append(0x0001, LogParameters.Control.list, [0, 0, 0, 0])
        case .backgroundScan:
            // BACKGROUND SCAN STATUS 0: none is active, and none ever was.
            parameters.append(
                0x0000, LogParameters.Control.list,
                Self.fourBytes(value(.powerOnMinutes)) + [UInt8](repeating: 0, count: 8))
        case .generalStatistics: appendStatistics(value, to: &parameters)
        case .powerConditionTransitions:
            parameters.append(0x0001, shortCounter: value(.transitionsToActive))
            parameters.append(0x0002, shortCounter: value(.transitionsToIdle))
            parameters.append(0x0008, shortCounter: value(.transitionsToStandby))
        case .informationalExceptions:
            // No exception; MOST RECENT TEMPERATURE READING: none.
            parameters.append(0x0000, LogParameters.Control.list, [0, 0, 0xFF])
        default: break
        }
        return parameters.bytes
    }

    private static func fourBytes(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBE32(UInt32(clamping: value))
        return bytes
    }

    /// The parameters of the error counter pages (SPC-5 table 336). Nothing is ever corrected or tried again here: the
    /// host's storage does that where nobody sees it.
    private static func appendErrors(_ uncorrected: UInt64, bytes: UInt64?, to parameters: inout LogParameters) {
        // Corrected without and with delay, total of retries, of corrected errors, of times that a correction ran.
        for code in UInt16(0)...4 { parameters.append(code, counter: 0) }
        if let bytes { parameters.append(0x0005, counter: bytes) }
        parameters.append(0x0006, counter: uncorrected)
    }

    /// The last 20 self-tests, the most recent one first; the entries of tests that there were not are zero.
    private func appendSelfTests(to log: inout LogParameters) {
        let results = parameters[KeptParameter(.selfTests)]
        for index in 0..<Self.selfTestLimit {
            let start = index * Self.selfTestResultLength
            let value =
                results.count >= start + Self.selfTestResultLength
                ? Array(results[start..<start + Self.selfTestResultLength])
                : [UInt8](repeating: 0, count: Self.selfTestResultLength)
            log.append(UInt16(index + 1), LogParameters.Control.list, value)
        }
    }

    /// General Statistics and Performance (SPC-5 clause 7.3.10): parameters 0001h and 0002h, and the interval in which
    /// times are counted, a microsecond. What is weighted by the length of the queue is not counted, and zero. Nor is
    /// idle time, in which no nexus has a command: each reactor counts its commands for itself, and which of them are
    /// without one at the same time is known only to who has them all write one word at the beginning and the end of
    /// each command. Nothing on the way of a command is shared by reactors, and this would be.
    private func appendStatistics(_ value: (LogCounter) -> UInt64, to parameters: inout LogParameters) {
        let blockLength = UInt64(max(1, server.logicalBlockLength))
        var bytes: [UInt8] = []
        bytes.appendBE64(value(.readCommands))
        bytes.appendBE64(value(.writeCommands))
        bytes.appendBE64(value(.receivedBytes) / blockLength)
        bytes.appendBE64(value(.transmittedBytes) / blockLength)
        bytes.appendBE64(value(.readTime) / 1000)
        bytes.appendBE64(value(.writeTime) / 1000)
        bytes.appendBE64(0)
        bytes.appendBE64(0)
        parameters.append(0x0001, LogParameters.Control.unboundedCounter, bytes)
        // IDLE TIME INTERVALS.
        parameters.append(0x0002, LogParameters.Control.unboundedCounter, [UInt8](repeating: 0, count: 8))
        // TIME INTERVAL NEGATIVE EXPONENT 6, TIME INTERVAL INTEGER 1.
        parameters.append(0x0003, LogParameters.Control.list, [0, 0, 0, 6, 0, 0, 0, 1])
    }
}
