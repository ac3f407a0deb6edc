internal import Bytes
internal import Media
internal import Profiles
public import TargetCore

/// Log pages of tape drives.
private enum TapeLogPage {
    /// Sequential-Access Device (SSC-5 clause 8.3.2).
    static let sequentialAccess: UInt8 = 0x0C
    /// TapeAlert (SSC-5 clause 8.3.6).
    static let tapeAlert: UInt8 = 0x2E
    /// Tape Capacity (of LTO drives; tapeinfo and LTFS read it).
    static let tapeCapacity: UInt8 = 0x31
}

/// LOG SENSE (SPC-5 clause 6.8).
extension TapeDeviceServer {
    public var logPages: [UInt8] {
        [TapeLogPage.sequentialAccess, TapeLogPage.tapeAlert, TapeLogPage.tapeCapacity]
    }

    public var commonLogPages: [CommonLogPage] {
        [.writeErrors, .readErrors, .nonMediumErrors, .applicationClient, .selfTestResults]
    }

    public func logPage(_ code: UInt8, subpage: UInt8, nexus: ITLNexus) -> [UInt8]? {
        guard subpage == 0 else { return nil }
        switch code {
        case TapeLogPage.sequentialAccess: return sequentialAccessParameters()
        case TapeLogPage.tapeAlert: return tapeAlertParameters(nexusState(nexus))
        case TapeLogPage.tapeCapacity: return tapeCapacityParameters()
        default: return nil
        }
    }

    /// A parameter: code, control byte (binary format list parameter), length, value.
    private func append(_ code: UInt16, _ value: [UInt8], to bytes: inout [UInt8]) {
        bytes.appendBE16(code)
        bytes += [0x03, UInt8(value.count)]
        bytes += value
    }

    private func append64(_ code: UInt16, _ value: UInt64, to bytes: inout [UInt8]) {
        var content: [UInt8] = []
        content.appendBE64(value)
        append(code, content, to: &bytes)
    }

    private func sequentialAccessParameters() -> [UInt8] {
        var bytes: [UInt8] = []
        // Payload written and read; nothing is compressed, so the medium's side of each is the same.
        append64(0x0000, state.counters.bytesWritten, to: &bytes)
        append64(0x0001, state.counters.bytesWritten, to: &bytes)
        append64(0x0002, state.counters.bytesRead, to: &bytes)
        append64(0x0003, state.counters.bytesRead, to: &bytes)
        if let cartridge = readyCartridge {
            let megabyte: Int64 = 1_000_000
            let zone = state.earlyWarningZone
            append64(0x0004, UInt64(clamping: cartridge.usedBytes / megabyte), to: &bytes)
            append64(0x0005, UInt64(clamping: (cartridge.capacity - zone) / megabyte), to: &bytes)
            append64(0x0006, UInt64(clamping: zone / megabyte), to: &bytes)
            append64(0x0007, UInt64(clamping: cartridge.bytesBeforePosition / megabyte), to: &bytes)
        }
        // Never in need of cleaning.
        append64(0x0100, 0, to: &bytes)
        return bytes
    }

    /// All 64 flags: those are set of which the nexus has not been told since they were activated.
    private func tapeAlertParameters(_ nexus: TapeNexusState) -> [UInt8] {
        var bytes: [UInt8] = []
        nexus.sentAlerts = alerts.active
        for flag in 1...64 {
            let isSet = nexus.sentAlerts.hasActivated(flag, since: nexus.reportedAlerts)
            append(UInt16(flag), [isSet ? 1 : 0], to: &bytes)
        }
        return bytes
    }

    /// The flags of those codes are known to the nexus.
    public func logParametersReported(_ codes: ClosedRange<UInt16>, page: UInt8, nexus: ITLNexus) {
        guard page == TapeLogPage.tapeAlert else { return }
        let state = nexusState(nexus)
        alerts.report(codes, of: state.sentAlerts, to: &state.reportedAlerts)
    }

    /// Remaining and maximum capacity of the main and of the alternate partition, in MiB: 32 bytes in all.
    private func tapeCapacityParameters() -> [UInt8] {
        let mebibyte: Int64 = 1 << 20
        let capacity = readyCartridge.map { $0.capacity / mebibyte } ?? 0
        let remaining = readyCartridge.map { ($0.capacity - $0.usedBytes) / mebibyte } ?? 0
        var bytes: [UInt8] = []
        for (code, value) in [(UInt16(1), remaining), (2, 0), (3, capacity), (4, 0)] {
            var content: [UInt8] = []
            content.appendBE32(UInt32(clamping: value))
            append(code, content, to: &bytes)
        }
        return bytes
    }
}
