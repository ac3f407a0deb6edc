import Catalog
import Foundation
import Platform
import Resources

extension ControlPlane {
    /// What was counted, and the state of this moment. It reads memory only, so it waits for no file and no change.
    func statistics(jobs: [JobSummary], space: SpaceFigures?) -> DaemonStatistics {
        let found = assembly.statistics()
        return DaemonStatistics(
            version: Controller.version, started: started,
            uptime: Double((MonotonicTime.current() - startTime).wholeNanoseconds) / 1e9,
            devices: found.devices, sessions: found.sessions, targets: found.targets, reactors: found.reactors,
            failures: found.failures, refusedLogins: assembly.refusedLogins, problems: problems.count,
            losses: found.devices.count { $0.hasLostData } + found.lostCartridges,
            jobs: jobs.reduce(into: [:]) { $0[$1.state.rawValue, default: 0] += 1 }, process: .current, space: space)
    }

    /// How much storage is used and free. It looks at images and cartridges, which may wait for the storage device.
    func space() throws(ManagementError) -> SpaceFigures {
        var figures = SpaceFigures(
            time: Date(), disks: assembly.allocatedBytes(), libraries: [:], cartridges: [:], free: nil, size: nil)
        for library in try query({ () throws(CatalogError) in try catalog.libraries() }) {
            let path = folder.libraryPath(library.name)
            let profile = library.drives.first?.profile ?? ""
            let cartridges = try query { () throws(CatalogError) in
                try catalog.cartridges(library: library.identity.id)
            }
            figures.cartridges[library.name] = cartridges.count
            figures.libraries[library.name] = cartridges.reduce(0) { sum, cartridge in
                sum + Int(assembly.medium(of: cartridge, in: path, driveProfile: profile)?.used ?? 0)
            }
        }
        let system = try? FileManager.default.attributesOfFileSystem(forPath: folder.path)
        figures.free = (system?[.systemFreeSize] as? NSNumber)?.intValue
        figures.size = (system?[.systemSize] as? NSNumber)?.intValue
        return figures
    }
}

extension ProcessFigures {
    /// Those of this process, from `proc(5)`; nil where it says nothing.
    static var current: ProcessFigures {
        func fields(_ name: String) -> [Substring] {
            let text = (try? String(contentsOfFile: "/proc/self/\(name)", encoding: .utf8)) ?? ""
            // The second field of `stat` is a name in brackets, which may have blanks.
            return (text.lastIndex(of: ")").map { text[text.index(after: $0)...] } ?? text[...]).split {
                $0.isWhitespace
            }
        }
        let (memory, times) = (fields("statm"), fields("stat"))
        let (pageSize, ticks) = (sysconf(Int32(_SC_PAGESIZE)), sysconf(Int32(_SC_CLK_TCK)))
        let resident = memory.count > 1 ? Int(memory[1]).map { $0 * pageSize } : nil
        // The fields 14 and 15; what is split begins with the third.
        let used = times.count > 12 ? Int(times[11]).flatMap { user in Int(times[12]).map { user + $0 } } : nil
        return ProcessFigures(residentBytes: resident, processorSeconds: used.map { Double($0) / Double(ticks) })
    }
}
