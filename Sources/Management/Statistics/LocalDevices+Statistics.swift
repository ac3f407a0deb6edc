import DiskDevice
import ISCSIPort
import Media
import Platform
import TargetCore

// What the running devices and ports have counted. Only memory is read.
extension LocalDevices {
    public func statistics() -> AssemblyStatistics {
        var statistics = AssemblyStatistics()
        statistics.devices = deviceFigures()
        statistics.sessions = server.sessions().compactMap { session in
            guard let target = session.targetName, let counters = session.commandCounters else { return nil }
            return SessionFigures(
                name: "\(session.targetSessionHandle)", initiator: session.initiatorName, target: target,
                connections: session.connections.count, commands: CommandFigures(counters.statistics))
        }
        let counts = server.sessionCounts()
        statistics.targets = targets.all.map { target in
            TargetFigures(
                name: target.name, sessions: counts[target.name] ?? 0, commands: TotalFigures(target.totals))
        }
        statistics.reactors = reactors.map { reactor in
            ReactorFigures(
                name: reactor.name, turns: reactor.counters.turns, systemCalls: reactor.counters.systemCalls,
                receivedBytes: reactor.counters.receivedBytes, sentBytes: reactor.counters.sentBytes)
        }
        statistics.failures = failures.counts
        statistics.lostCartridges = libraries.withLock {
            $0.values.reduce(0) { $0 + $1.register.findings.losses.count }
        }
        return statistics
    }

    private func deviceFigures() -> [DeviceFigures] {
        let units = units.withLock { $0 }
        func figures(_ name: String, _ kind: String, _ unit: LogicalUnit?) -> DeviceFigures? {
            guard let unit else { return nil }
            let commands = CommandFigures(unit.statistics, names: unit.server.commands)
            return DeviceFigures(name: name, kind: kind, commands: commands, hasLostData: false)
        }
        var devices: [DeviceFigures] = disks.withLock { $0 }.compactMap { key, disk in
            guard let unit = units[key] else { return nil }
            let (commands, revision) = disk.figures.figures(of: unit)
            return DeviceFigures(
                name: disk.name, kind: "disk", commands: commands, hasLostData: disk.server.hasLostData,
                revision: revision)
        }
        for (key, library) in libraries.withLock({ $0 }) {
            devices += [figures(library.name, "changer", units[key])].compactMap { $0 }
            devices += library.drives.enumerated().compactMap { index, drive in
                figures("\(library.name)/drive:\(index + 1)", "drive", drive.unit)
            }
        }
        return devices.sorted { $0.name < $1.name }
    }

    /// The storage that the images of the running disks take, by disk. It asks the file system, which may wait.
    public func allocatedBytes() -> [String: Int] {
        var bytes: [String: Int] = [:]
        for disk in disks.withLock({ Array($0.values) }) {
            bytes[disk.name] = disk.server.image.allocatedBytes.map { Int($0) }
        }
        return bytes
    }
}
