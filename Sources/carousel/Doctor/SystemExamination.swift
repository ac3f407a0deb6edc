import Foundation
import Platform
import Resources

/// The machine: what the kernel gives, and what hosts need.
enum SystemExamination {
    /// The fewest open files that are enough for a library and some sessions.
    static let enoughFiles = 4096

    static func findings(daemon: Int?) -> [DoctorFinding] {
        [
            files(limits: limits(of: daemon), isDaemon: daemon != nil), hugePages(meminfo: text("/proc/meminfo")),
            clock(now: Date()),
        ]
            + initiator()
    }

    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private static func limits(of process: Int?) -> String {
        let own = text("/proc/self/limits")
        guard let process else { return own }
        let limits = text("/proc/\(process)/limits")
        return limits.isEmpty ? own : limits
    }

    /// The limit of open files, by the hard one: the daemon raises the soft one itself.
    static func files(limits: String, isDaemon: Bool) -> DoctorFinding {
        let words =
            limits.split(separator: "\n").first { $0.hasPrefix("Max open files") }?
            .split(separator: " ").compactMap { Int($0) } ?? []
        guard let limit = words.last else { return .ok("open files", "no limit is known") }
        let whose = isDaemon ? "the daemon" : "a daemon of this user"
        return limit < enoughFiles
            ? .warning(
                "open files",
                "\(whose) may open \(limit) files; each disk, drive and connection needs some: raise it with "
                    + "'ulimit -Hn', LimitNOFILE= or limits.conf")
            : .ok("open files", "\(whose) may open \(limit) files")
    }

    /// How many huge pages are reserved and free.
    static func hugePages(meminfo: String) -> DoctorFinding {
        func number(_ name: String) -> Int {
            meminfo.split(separator: "\n").first { $0.hasPrefix(name + ":") }
                .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) } ?? 0
        }
        let (total, free) = (number("HugePages_Total"), number("HugePages_Free"))
        return .ok(
            "huge pages",
            total == 0
                ? "none are reserved; only '--buffer-pages reserved' needs them"
                : "\(free) of \(total) reserved are free")
    }

    /// The clock tells when things happened, and when tokens expire.
    static func clock(now: Date) -> DoctorFinding {
        let words = "it is \(now.formatted(.iso8601))"
        // Before this program was written.
        guard now > Date(timeIntervalSince1970: 1_767_225_600) else {
            return .warning("clock", "\(words), which cannot be; set the clock")
        }
        return .ok("clock", words)
    }

    /// What this machine has to log in by itself.
    private static func initiator() -> [DoctorFinding] {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let folders = path.split(separator: ":").map(String.init) + ["/sbin", "/usr/sbin"]
        let hasTools = folders.contains { FileManager.default.isExecutableFile(atPath: $0 + "/iscsiadm") }
        guard hasTools else {
            return [.ok("initiator", "this machine has no open-iscsi, which only a host needs that uses the devices")]
        }
        if FileManager.default.fileExists(atPath: "/sys/module/iscsi_tcp") {
            return [.ok("initiator", "open-iscsi and the kernel module iscsi_tcp are there")]
        }
        let release = text("/proc/sys/kernel/osrelease").trimmingCharacters(in: .whitespacesAndNewlines)
        return [module(text("/lib/modules/\(release)/modules.dep") + text("/lib/modules/\(release)/modules.builtin"))]
    }

    /// Whether the kernel can load what open-iscsi needs, by its list of modules.
    static func module(_ list: String) -> DoctorFinding {
        list.contains("/iscsi_tcp.ko")
            ? .ok("initiator", "open-iscsi is there; the kernel module iscsi_tcp is loaded at the first login")
            : .warning(
                "initiator",
                "open-iscsi is there, but this kernel has no module iscsi_tcp, so this machine cannot log in with it")
    }
}
