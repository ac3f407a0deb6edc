internal import Foundation

/// The same with images of QEMU, by `qemu-img bench`: one request at a time, in the order of `ImagePlan.Pattern`'s
/// `stepping`, through the page cache.
struct QemuImages {
    /// How a qcow2 image is made.
    struct Kind {
        let name: String
        let options: String
        /// Overlays above the first one.
        let chain: Int

        static let all = [
            Kind(name: "qcow2 64 KiB", options: "cluster_size=64k", chain: 1),
            Kind(name: "qcow2 128 KiB ext", options: "cluster_size=128k,extended_l2=on", chain: 1),
            Kind(name: "qcow2 chain of 32", options: "cluster_size=64k", chain: 32),
        ]
    }

    static let tool = "qemu-img"

    let folder: String
    let span: Int

    /// Whether the tool is here.
    static var isPresent: Bool { (try? run(["--version"])) != nil }

    // MARK: Images

    /// A filled raw image.
    func plain() throws -> String {
        let path = "\(folder)/qemu.raw"
        try Self.run(["create", "-q", "-f", "raw", path, String(span)])
        try fill(path, "raw")
        return path
    }

    /// A filled image with overlays above it, as snapshots are made by QEMU; the topmost one, which is empty.
    func overlaid(_ kind: Kind, round: Int) throws -> String {
        let name = kind.name.filter { $0.isLetter || $0.isNumber }
        var path = "\(folder)/\(name).qcow2"
        if round == 0 {
            try Self.run(["create", "-q", "-f", "qcow2", "-o", kind.options, path, String(span)])
            try fill(path, "qcow2")
        }
        for index in 0..<kind.chain {
            let above = "\(folder)/\(name)-\(index).qcow2"
            if round == 0 || index == kind.chain - 1 {
                try Self.run(["create", "-q", "-f", "qcow2", "-o", kind.options, "-b", path, "-F", "qcow2", above])
            }
            path = above
        }
        return path
    }

    private func fill(_ path: String, _ format: String) throws {
        let count = max(1, span >> 20)
        let length = span / count
        try Self.run([
            "bench", "-q", "-w", "-f", format, "-c", String(count), "-d", "1", "-s", String(length), "--pattern=85",
            "--flush-interval=\(count)", path,
        ])
    }

    // MARK: Jobs

    /// Commands a second of `count` 4 KiB commands; writes are flushed at the end, or each.
    func commandsPerSecond(
        _ path: String, _ format: String, isWrite: Bool, count: Int, flushesEach: Bool = false
    ) throws -> Double {
        var words = ["bench", "-f", format, "-c", String(count), "-d", "1", "-s", "4096"]
        words += ["-S", String(ImagePlan.step(blocks: span / 4096) * 4096)]
        if isWrite { words += ["-w", "--pattern=86", "--flush-interval=\(flushesEach ? 1 : count)"] }
        let text = try Self.run(words + [path])
        // "Run completed in 0.123 seconds."
        guard let range = text.range(of: "completed in "),
            let seconds = Double(text[range.upperBound...].prefix { $0.isNumber || $0 == "." }), seconds > 0
        else { throw Complaint("qemu-img says \"\(text)\"") }
        return Double(count) / seconds
    }

    /// What the tool prints.
    @discardableResult
    private static func run(_ words: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [tool] + words
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Complaint("'\(tool) \(words[0])' has failed: \(text)") }
        return text
    }
}
