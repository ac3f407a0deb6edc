internal import ArgumentParser
internal import CBench

/// A target process and its units, as `PID,DISK[,TAPE]` on the command line.
struct ProcessArgument: ExpressibleByArgument {
    let process: Int32
    let disk: LogicalUnitURL
    let tape: LogicalUnitURL?

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count), let process = Int32(parts[0]), process > 0,
            let disk = LogicalUnitURL(argument: parts[1])
        else { return nil }
        self.process = process
        self.disk = disk
        tape = parts.count == 3 ? LogicalUnitURL(argument: parts[2]) : nil
        if parts.count == 3, tape == nil { return nil }
    }
}

/// One side of the comparison.
struct Contestant {
    let side: Results.Side
    private let disk: LogicalUnitURL
    private let tape: LogicalUnitURL?
    /// The processor time of the target so far, in nanoseconds.
    let processorNanoseconds: @Sendable () -> Int64

    /// A process of its own.
    init(_ side: Results.Side, _ argument: ProcessArgument) throws {
        self.side = side
        disk = argument.disk
        tape = argument.tape
        let process = argument.process
        guard cbench_process_nanoseconds(process) >= 0 else { throw Complaint("there is no process \(process)") }
        processorNanoseconds = { cbench_process_nanoseconds(process) }
    }

    init(_ side: Results.Side, _ loop: BareLoop) {
        self.side = side
        disk = loop.unit
        tape = nil
        processorNanoseconds = { loop.processorNanoseconds }
    }

    /// Where a job goes; nil when the side cannot do it.
    func unit(for job: Job) -> LogicalUnitURL? {
        if side.isBareLoop, job.hasDigests { return nil }
        return job.unit == .disk ? disk : tape
    }
}
