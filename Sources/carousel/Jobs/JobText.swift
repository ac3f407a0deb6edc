import Resources

/// What people read of jobs.
enum JobText {
    /// How many characters a bar has.
    private static let barLength = 20

    /// One line on how far the job is, of at most `columns` characters: what it does, a bar, what is done, how fast,
    /// and how long the rest takes.
    static func progress(_ job: JSONValue, columns: Int) -> String {
        let status = job["status"]
        let (done, total) = (number(status?["done"]), number(status?["total"]))
        var parts = [status?["work"]?.text ?? ""]
        if status?["state"] == "waiting" {
            parts.append("waits for its turn")
        } else if total > 0 {
            let part = max(0, min(1, done / total))
            let full = Int(part * Double(barLength))
            parts.append(
                "[" + String(repeating: "#", count: full) + String(repeating: " ", count: barLength - full) + "]")
            parts.append("\(Int(part * 100)) %")
            parts.append(status?["progress"]?.text ?? "")
            let rate = number(status?["rate"])
            if rate > 0 { parts.append(speed(rate, status?["unit"]?.text ?? "")) }
            if case .integer(let seconds)? = status?["remaining"] { parts.append("\(duration(seconds)) left") }
        }
        return String(PrintableText.escaped(parts.joined(separator: "  ")).prefix(columns))
    }

    /// `12 /s`, or for bytes `3 MiB/s`.
    private static func speed(_ rate: Double, _ unit: String) -> String {
        guard unit == "bytes" else { return rate < 10 ? "\(Double(Int(rate * 10)) / 10) /s" : "\(Int(rate)) /s" }
        // Whole units: the digits behind them change with each look.
        let size = [Int64(1) << 30, 1 << 20, 1 << 10].first { rate >= Double($0) } ?? 1
        return "\(ByteSize.format(Int64(rate) / size * size))/s"
    }

    /// `47 s`, `3 min 20 s`, `2 h 5 min`.
    static func duration(_ seconds: Int64) -> String {
        switch seconds {
        case ..<60: "\(seconds) s"
        case ..<3600: "\(seconds / 60) min \(seconds % 60) s"
        default: "\(seconds / 3600) h \(seconds % 3600 / 60) min"
        }
    }

    private static func number(_ value: JSONValue?) -> Double {
        switch value {
        case .integer(let number)?: Double(number)
        case .number(let number)?: number
        default: 0
        }
    }

    /// One line on a job that was begun.
    static func begun(_ job: JSONValue) -> String {
        let name = job["name"]?.text ?? ""
        return "job \(name) has begun: \(job["status"]?["work"]?.text ?? ""); 'carousel job wait \(name)' follows it"
    }

    /// One line on a job that has done what it was to do.
    static func ended(_ job: JSONValue) -> String {
        "job \(job["name"]?.text ?? ""), \(job["status"]?["work"]?.text ?? ""), is done"
    }
}
