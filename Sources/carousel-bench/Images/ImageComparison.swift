internal import Foundation

/// Figures of disks side by side, from alternating rounds, and what they should be.
struct ImageComparison: Equatable {
    /// How a figure is compared with the one beside it.
    enum Goal: Equatable {
        case none
        case atLeast(Double)
        case atMost(Double)
    }

    /// A measured disk.
    struct Row: Equatable {
        let job: String
        let disk: String
        /// Figures of the rounds, in their order.
        var figures: [Double]
        let unit: String
        /// What it is compared with: another disk's row of the same job; nil of a figure that stands for itself.
        var base: String?
        var goal = Goal.none
        /// The same of the processor time alone, where a job is bound by that: what else runs on the machine is not in
        /// it.
        var processorFigures: [Double] = []
        /// How many of the commands the lane did, of one.
        var laneShare: Double?
        var note = ""

        var median: Double { Measurement.median(figures) }
    }

    private(set) var rows: [Row] = []

    /// Notes a round's figure.
    mutating func add(
        _ figure: Double, _ unit: String, of job: String, on disk: String, over base: String? = nil,
        goal: Goal = .none, processor: Double? = nil, laneShare: Double? = nil
    ) {
        if let index = rows.firstIndex(where: { $0.job == job && $0.disk == disk }) {
            rows[index].figures.append(figure)
            if let processor { rows[index].processorFigures.append(processor) }
            rows[index].laneShare = laneShare
        } else {
            rows.append(
                Row(
                    job: job, disk: disk, figures: [figure], unit: unit, base: base, goal: goal,
                    processorFigures: processor.map { [$0] } ?? [], laneShare: laneShare))
        }
    }

    /// Notes that a disk was not measured, and why.
    mutating func skip(_ job: String, _ disk: String, _ reason: String) {
        guard !rows.contains(where: { $0.job == job && $0.disk == disk }) else { return }
        rows.append(Row(job: job, disk: disk, figures: [], unit: "", note: reason))
    }

    /// The median of the ratios of the rounds; of a row without base its own median. Nil when there is nothing to
    /// compare.
    func found(_ row: Row) -> Double? {
        guard row.base != nil else { return row.figures.isEmpty ? nil : row.median }
        let ratios = ratios(of: row, \.figures)
        return ratios.isEmpty ? nil : Measurement.median(ratios)
    }

    /// The ratios of the rounds, each of two figures of the same round.
    func ratios(of row: Row, _ figures: KeyPath<Row, [Double]>) -> [Double] {
        guard let other = rows.first(where: { $0.job == row.job && $0.disk == row.base }) else { return [] }
        return zip(row[keyPath: figures], other[keyPath: figures]).compactMap { $1 > 0 ? $0 / $1 : nil }
    }

    /// Whether a row's goal is reached; nil when it has none, or was not measured.
    func isReached(_ row: Row) -> Bool? {
        guard let found = found(row) else { return nil }
        switch row.goal {
        case .none: return nil
        case .atLeast(let limit): return found >= limit
        case .atMost(let limit): return found <= limit
        }
    }

    // MARK: Text

    static let heading =
        ResultTable.padded("job", 21) + ResultTable.padded("disk", 25) + "    figure unit      lane"
        + "  ratio (rounds)       of CPU"

    /// The lines of a job.
    func lines(of job: String) -> [String] {
        rows.filter { $0.job == job }.enumerated().map { index, row in
            var line = ResultTable.padded(index == 0 ? job : "", 21) + ResultTable.padded(row.disk, 25)
            guard !row.figures.isEmpty else { return line + row.note }
            let figure = ResultTable.fixed(row.median, row.median < 100 ? 3 : 0)
            line += String(repeating: " ", count: max(10 - figure.count, 0)) + figure + " "
            line += ResultTable.padded(row.unit, 10)
            line += ResultTable.padded(row.laneShare.map { "\(ResultTable.fixed($0 * 100, 0))%" } ?? "", 5)
            let ratios = ratios(of: row, \.figures)
            if let least = ratios.min(), let most = ratios.max() {
                let range = "(\(ResultTable.fixed(least, 2))..\(ResultTable.fixed(most, 2)))"
                line += ResultTable.padded("\(ResultTable.fixed(Measurement.median(ratios), 3)) \(range)", 21)
            }
            let processor = self.ratios(of: row, \.processorFigures)
            if !processor.isEmpty { line += ResultTable.fixed(Measurement.median(processor), 3) }
            return line + goal(of: row)
        }
    }

    private func goal(of row: Row) -> String {
        let wanted: String
        switch row.goal {
        case .none: return ""
        case .atLeast(let limit): wanted = ">= \(ResultTable.fixed(limit, 2))"
        case .atMost(let limit): wanted = "<= \(ResultTable.fixed(limit, 2))"
        }
        return "  \(wanted) " + (isReached(row) == true ? "reached" : "MISSED")
    }
}
