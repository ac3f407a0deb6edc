import Management
import Platform

/// The lines of a device in `/metrics`, family by family.
struct DeviceLines: Sendable {
    /// A family whose samples are of devices.
    struct Family: Sendable {
        let name: String
        let kind: MetricsText.Kind
        let help: String
        /// Writes the samples of one device.
        fileprivate let write: @Sendable (Subject, inout MetricsText) -> Void
    }

    /// A device, with the label that names it and its sums.
    fileprivate struct Subject {
        let device: DeviceFigures
        let labels: MetricsText.Labels
        let totals: TotalFigures
    }

    static let families = [
        Family("has_lost_data", .gauge, "Whether data are lost and nobody has acknowledged that.") {
            $1.sample($0.labels, $0.device.hasLostData ? 1 : 0)
        },
        Family("commands_in_flight", .gauge, "Commands that have come and not ended.") {
            $1.sample($0.labels, $0.totals.inFlight)
        },
        Family("failed_commands_total", .counter, "Commands that did not end with GOOD.") {
            $1.sample($0.labels, $0.totals.failures)
        },
        Family("aborted_commands_total", .counter, "Commands that ended without an outcome.") {
            $1.sample($0.labels, $0.totals.aborted)
        },
        Family("read_bytes_total", .counter, "Data that initiators took.") {
            $1.sample($0.labels, $0.totals.readBytes)
        },
        Family("written_bytes_total", .counter, "Data of commands that ended with GOOD.") {
            $1.sample($0.labels, $0.totals.writtenBytes)
        },
        Family("commands_total", .counter, "Commands that have ended, aborted ones excepted.") {
            for operation in $0.device.commands.operations {
                $1.sample($0.labels, "operation", operation.name, operation.commands)
            }
        },
        Family("check_conditions_total", .counter, "Commands that ended with CHECK CONDITION.") {
            for (key, count) in $0.device.commands.senseKeys.sorted(by: { $0.key < $1.key }) {
                $1.sample($0.labels, "sense_key", key, count)
            }
        },
        Family("refused_commands_total", .counter, "Commands that ended with another status.") {
            for (status, count) in $0.device.commands.statuses.sorted(by: { $0.key < $1.key }) {
                $1.sample($0.labels, "status", status, count)
            }
        },
        Family(
            "command_duration_seconds", .histogram,
            "From the turn of the reactor in which a command came to its outcome, by kind of access."
        ) {
            var buckets = InlineArray<3, LatencyBuckets>(repeating: LatencyBuckets())
            for operation in $0.device.commands.operations {
                buckets[Access(operation.operationCode).rawValue].add(operation)
            }
            for access in Access.allCases where buckets[access.rawValue].hasOperations {
                buckets[access.rawValue].write($0.labels.with(Access.labels[access.rawValue]), &$1)
            }
        },
    ]

    private static let names = families.map { Array($0.name.utf8) }

    /// The kinds of access whose latencies are told apart.
    private enum Access: Int, CaseIterable {
        case read
        case write
        case other

        static let labels = allCases.map { MetricsText.Labels("access", "\($0)") }

        /// The one of the command with that operation code: READ (6, 10, 12, 16), WRITE and WRITE AND VERIFY, or none
        /// of these.
        init(_ operationCode: Int?) {
            self =
                switch operationCode {
                case 0x08, 0x28, 0xA8, 0x88: .read
                case 0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E: .write
                default: .other
                }
        }
    }

    /// The lines of all families, one family after another.
    let bytes: [UInt8]
    /// Where the lines of each family end.
    private let ends: [Int32]

    init(_ device: DeviceFigures) {
        let subject = Subject(
            device: device, labels: MetricsText.Labels("device", device.name), totals: device.commands.totals)
        (bytes, ends) = MetricsText.lines(ofFamilies: Self.names) { family, text in
            Self.families[family].write(subject, &text)
        }
    }

    /// Where the lines of a family are in `bytes`.
    func range(ofFamily index: Int) -> Range<Int> { (index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index]) }
}

extension DeviceLines.Family {
    fileprivate init(
        _ name: String, _ kind: MetricsText.Kind, _ help: String,
        _ write: @escaping @Sendable (DeviceLines.Subject, inout MetricsText) -> Void
    ) {
        self.name = "carousel_device_" + name
        self.kind = kind
        self.help = help
        self.write = write
    }
}

/// The lines of devices as they were written last: who asks every few seconds for the metrics of a thousand devices, of
/// which few are in use, has only the lines of these written again.
final class KeptLines: Sendable {
    /// The most bytes that are kept; lines beyond are written each time.
    static let byteLimit = 32 << 20

    private struct Entry {
        let revision: UInt64
        let hasLostData: Bool
        let lines: DeviceLines
    }
    private let entries = Lock<[String: Entry]>([:])
    private let byteLimit: Int

    init(byteLimit: Int = KeptLines.byteLimit) { self.byteLimit = byteLimit }

    /// The lines of `devices`, in their order.
    func lines(of devices: [DeviceFigures]) -> [DeviceLines] {
        let known = entries.withLock { $0 }
        var next: [String: Entry] = [:]
        next.reserveCapacity(devices.count)
        var (length, isSame) = (0, known.count == devices.count)
        let lines = devices.map { device in
            if let entry = known[device.name], entry.revision == device.revision,
                entry.hasLostData == device.hasLostData
            {
                length += entry.lines.bytes.count
                next[device.name] = entry
                return entry.lines
            }
            isSame = false
            let lines = DeviceLines(device)
            length += lines.bytes.count
            if let revision = device.revision, length <= byteLimit {
                next[device.name] = Entry(revision: revision, hasLostData: device.hasLostData, lines: lines)
            }
            return lines
        }
        if !isSame { entries.withLock { $0 = next } }
        return lines
    }
}
