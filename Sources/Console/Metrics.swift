import Foundation
import Management
import NIOCore
import Resources

/// What `GET /metrics` tells, in the text format of Prometheus: every figure of `DaemonStatistics`.
///
/// How many series there are is bounded by what there is: for each device at most `CommandCounters.operationLimit` and
/// one operation codes, sixteen sense keys, three statuses and the histograms of three kinds of access; for each
/// session and each target some twenty. Cartridges are told by library, for there may be tens of thousands.
enum Metrics {
    /// Tells all of it, in parts that go to `pass` in order, each as soon as it is full. Lines of devices are taken
    /// from `kept` where they are the same as last time.
    static func write(_ statistics: DaemonStatistics, kept: KeptLines, _ pass: @escaping (ByteBuffer) -> Void) {
        var text = MetricsText(pass)
        daemon(statistics, &text)
        if let space = statistics.space { Self.space(space, &text) }
        devices(kept.lines(of: statistics.devices), &text)
        let targets = statistics.targets.map { Subject(MetricsText.Labels("target", $0.name), $0.commands) }
        text.family("carousel_target_sessions", .gauge, "Sessions that are logged in to the target.")
        for (target, subject) in zip(statistics.targets, targets) { text.sample(subject.labels, target.sessions) }
        commands(targets, of: "target", &text)
        sessions(statistics.sessions, &text)
        reactors(statistics.reactors, &text)
        text.end()
    }

    // MARK: The daemon

    private static func daemon(_ statistics: DaemonStatistics, _ text: inout MetricsText) {
        text.family("carousel_info", .gauge, "The program; always 1.")
        text.sample(MetricsText.Labels("version", statistics.version), 1)
        text.family("process_start_time_seconds", .gauge, "When the daemon started to serve, since the epoch.")
        text.sample(statistics.started.timeIntervalSince1970)
        if let bytes = statistics.process.residentBytes {
            text.family("process_resident_memory_bytes", .gauge, "Resident memory, hot data of disks included.")
            text.sample(bytes)
        }
        if let seconds = statistics.process.processorSeconds {
            text.family("process_cpu_seconds_total", .counter, "Processor time, user and system.")
            text.sample(seconds)
        }
        text.family("carousel_problems", .gauge, "Disks, libraries and portals that are not served, or not whole.")
        text.sample(statistics.problems)
        text.family("carousel_losses", .gauge, "Disks and cartridges with lost data that nobody has acknowledged.")
        text.sample(statistics.losses)
        text.family("carousel_refused_logins_total", .counter, "Logins that were refused.")
        text.sample(statistics.refusedLogins)
        text.family("carousel_failed_commands_total", .counter, "Commands that medium or host have let fail.")
        series(statistics.failures, "cause", &text)
        text.family("carousel_jobs", .gauge, "Jobs by state; of those that have ended, the last ones.")
        series(statistics.jobs, "state", &text)
        text.family("carousel_devices", .gauge, "Devices that are served.")
        series(statistics.devices.reduce(into: [:]) { $0[$1.kind, default: 0] += 1 }, "kind", &text)
    }

    private static func space(_ space: SpaceFigures, _ text: inout MetricsText) {
        text.family("carousel_space_time_seconds", .gauge, "When used and free storage was looked at, since the epoch.")
        text.sample(space.time.timeIntervalSince1970)
        text.family("carousel_disk_allocated_bytes", .gauge, "Storage that the image of the disk takes.")
        series(space.disks, "device", &text)
        text.family("carousel_library_written_bytes", .gauge, "What is written on the cartridges of the library.")
        series(space.libraries, "library", &text)
        text.family("carousel_library_cartridges", .gauge, "Cartridges of the library.")
        series(space.cartridges, "library", &text)
        if let free = space.free, let size = space.size {
            text.family("carousel_filesystem_free_bytes", .gauge, "Free on the file system of the state folder.")
            text.sample(free)
            text.family("carousel_filesystem_size_bytes", .gauge, "The size of the file system of the state folder.")
            text.sample(size)
        }
    }

    private static func series(_ values: [String: Int], _ label: String, _ text: inout MetricsText) {
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
            text.sample(MetricsText.Labels(label, name), value)
        }
    }

    // MARK: Commands

    /// A session or a target, with the label that names it.
    private struct Subject {
        let labels: MetricsText.Labels
        let totals: TotalFigures

        init(_ labels: MetricsText.Labels, _ totals: TotalFigures) {
            self.labels = labels
            self.totals = totals
        }
    }

    /// What is told of sessions and targets alike.
    private static func commands(_ subjects: [Subject], of kind: String, _ text: inout MetricsText) {
        text.family("carousel_\(kind)_commands_in_flight", .gauge, "Commands that have come and not ended.")
        for subject in subjects { text.sample(subject.labels, subject.totals.inFlight) }
        text.family("carousel_\(kind)_commands_total", .counter, "Commands that have ended, aborted ones excepted.")
        for subject in subjects { text.sample(subject.labels, subject.totals.commands) }
        text.family("carousel_\(kind)_failed_commands_total", .counter, "Commands that did not end with GOOD.")
        for subject in subjects { text.sample(subject.labels, subject.totals.failures) }
        text.family("carousel_\(kind)_aborted_commands_total", .counter, "Commands that ended without an outcome.")
        for subject in subjects { text.sample(subject.labels, subject.totals.aborted) }
        text.family("carousel_\(kind)_read_bytes_total", .counter, "Data that initiators took.")
        for subject in subjects { text.sample(subject.labels, subject.totals.readBytes) }
        text.family("carousel_\(kind)_written_bytes_total", .counter, "Data of commands that ended with GOOD.")
        for subject in subjects { text.sample(subject.labels, subject.totals.writtenBytes) }
    }

    /// The lines of all devices, one family after another, as the format wants it.
    private static func devices(_ devices: [DeviceLines], _ text: inout MetricsText) {
        for (index, family) in DeviceLines.families.enumerated() {
            text.family(family.name, family.kind, family.help)
            for device in devices { text.append(device.bytes, device.range(ofFamily: index)) }
        }
    }

    // MARK: Sessions and reactors

    private static func sessions(_ sessions: [SessionFigures], _ text: inout MetricsText) {
        text.family("carousel_session_info", .gauge, "Who is logged in to what; always 1.")
        for session in sessions {
            var labels = MetricsText.Labels("session", session.name)
            labels.add("initiator", session.initiator)
            labels.add("target", session.target)
            text.sample(labels, 1)
        }
        let subjects = sessions.map { Subject(MetricsText.Labels("session", $0.name), $0.commands.totals) }
        text.family("carousel_session_connections", .gauge, "Connections of the session.")
        for (session, subject) in zip(sessions, subjects) { text.sample(subject.labels, session.connections) }
        commands(subjects, of: "session", &text)
        text.family(
            "carousel_session_command_duration_seconds", .histogram,
            "From the turn of the reactor in which a command came to its outcome.")
        for session in sessions.indices {
            var histogram = LatencyBuckets()
            for operation in sessions[session].commands.operations { histogram.add(operation) }
            histogram.write(subjects[session].labels, &text)
        }
    }

    private static func reactors(_ reactors: [ReactorFigures], _ text: inout MetricsText) {
        let figures: [(String, String, KeyPath<ReactorFigures, Int>)] = [
            ("turns", "Turns of the reactor's loop.", \.turns),
            ("system_calls", "System calls for waiting, receiving and sending.", \.systemCalls),
            ("received_bytes", "Bytes received on stream sockets.", \.receivedBytes),
            ("sent_bytes", "Bytes sent on stream sockets.", \.sentBytes),
        ]
        for (name, help, figure) in figures {
            text.family("carousel_reactor_\(name)_total", .counter, help)
            for reactor in reactors {
                text.sample(MetricsText.Labels("reactor", reactor.name), reactor[keyPath: figure])
            }
        }
    }
}
