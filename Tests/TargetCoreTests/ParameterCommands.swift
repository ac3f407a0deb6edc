import Bytes
import DeviceTestSupport
import SCSI
import TargetCore

/// Commands about what a unit keeps, as an initiator writes them.
extension InMemoryPort {
    /// MAINTENANCE IN with a service action.
    func maintenanceIn(_ action: UInt8, second: UInt8 = 0, tenth: UInt8 = 0, length: Int = 4096) -> CommandResult {
        execute([
            OperationCode.maintenanceIn, action, second, 0, 0, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xFF), tenth,
            0,
        ])
    }

    /// MAINTENANCE OUT with a service action; `length` lies about the list where it is given.
    func maintenanceOut(
        _ action: UInt8, _ list: [UInt8], second: UInt8 = 0, tenth: UInt8 = 0, length: Int? = nil
    ) -> CommandResult {
        let length = length ?? list.count
        return execute(
            [
                OperationCode.maintenanceOut, action, second, 0, 0, 0, UInt8(length >> 24 & 0xFF),
                UInt8(length >> 16 & 0xFF), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF), tenth, 0,
            ], dataOut: list)
    }

    /// LOG SENSE.
    func logSense(
        _ code: UInt8, subpage: UInt8 = 0, control: UInt8 = 1, pointer: UInt8 = 0, saves: Bool = false
    ) -> CommandResult {
        execute([
            OperationCode.logSense, saves ? 1 : 0, control << 6 | code, subpage, 0, 0, pointer, 0xFF, 0xFF, 0,
        ])
    }

    /// LOG SELECT.
    func logSelect(
        _ list: [UInt8] = [], code: UInt8 = 0, subpage: UInt8 = 0, control: UInt8 = 1, resets: Bool = false,
        saves: Bool = false, length: Int? = nil
    ) -> CommandResult {
        let length = length ?? list.count
        return execute(
            [
                OperationCode.logSelect, (resets ? 2 : 0) | (saves ? 1 : 0), control << 6 | code, subpage, 0, 0, 0,
                UInt8(length >> 8), UInt8(length & 0xFF), 0,
            ], dataOut: list)
    }

    /// MODE SELECT(10) with PF one; `flags` are SP and RTD.
    func modeSelect(_ pages: [UInt8], flags: UInt8 = 0) -> CommandResult {
        let list = pages.isEmpty ? [] : [UInt8](repeating: 0, count: 8) + pages
        return execute(
            [OperationCode.modeSelect10, 0x10 | flags, 0, 0, 0, 0, 0, 0, UInt8(list.count), 0], dataOut: list)
    }

    /// The content of mode page 0Ah, in one of its forms: 0 current, 1 changeable, 2 default, 3 saved.
    func controlPage(_ control: UInt8 = 0) -> [UInt8] {
        Array(execute([OperationCode.modeSense6, 0x08, control << 6 | 0x0A, 0, 255, 0]).dataIn.dropFirst(4))
    }
}

/// The parameters of a log page by their codes: control byte and value.
func logParameters(_ page: [UInt8]) -> [UInt16: (control: UInt8, value: [UInt8])] {
    var found: [UInt16: (control: UInt8, value: [UInt8])] = [:]
    var offset = 4
    while offset + 4 <= page.count {
        let length = Int(page[offset + 3])
        found[page.rawSpan.loadBE16(at: offset)] = (
            page[offset + 2], Array(page[offset + 4..<min(offset + 4 + length, page.count)])
        )
        offset += 4 + length
    }
    return found
}
