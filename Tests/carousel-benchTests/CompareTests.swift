import Bytes
import Initiator
import Platform
import TestSupport
import Testing

@testable import carousel_bench

@Suite("Compare") struct CompareTests {
    private func measurement(_ operations: Int, processor: Int64 = 0) -> Measurement {
        var report = LoadReport()
        report.operations = operations
        report.bytes = operations * 4096
        for _ in 0..<operations { report.latencies.record(nanoseconds: 50_000) }
        return Measurement(report, seconds: 2, processorNanoseconds: processor)
    }

    @Test("figures are per second and per command")
    func figures() {
        let figures = measurement(1000, processor: 4_000_000)
        #expect(figures.operationsPerSecond == 500)
        #expect(figures.megabytesPerSecond == 2.048)
        #expect(abs(figures.p50Microseconds - 50) < 1)
        #expect(figures.processorMicroseconds == 4)
        #expect(measurement(0, processor: 4000).processorMicroseconds == 4, "no command: no division by zero")
    }

    @Test("the median is the value in the middle, figure by figure")
    func medians() {
        #expect(Measurement.median([3, 1, 2]) == 2)
        #expect(Measurement.median([4, 1, 2, 3]) == 2.5)
        #expect(Measurement.median([7]) == 7)
        let runs = [measurement(100, processor: 900_000), measurement(300, processor: 300_000), measurement(200)]
        let median = Measurement(medianOf: runs)
        #expect(median.operationsPerSecond == 100)
        #expect(median.processorMicroseconds == 1)
    }

    @Test("names of jobs tell them apart")
    func names() {
        #expect(Set(Job.matrix.map(\.name)).count == 162)
        #expect(Set(Job.quick.map(\.name)).count == Job.quick.count)
        #expect(Job(operation: .read, blockLength: 4096, depth: 32, connections: 4).name == "read-4KiB-32x4")
        #expect(Job(operation: .mixed, blockLength: 65536, depth: 1, hasDigests: true).name == "mixed-64KiB-1-digests")
        #expect(Job(unit: .tape, operation: .write, blockLength: 65536).name == "tape-write-64KiB")
        #expect(Job.floor.allSatisfy { !$0.hasDigests && $0.unit == .disk })
        #expect(!Job.floor.isEmpty)
    }

    @Test("ratios compare Carousel's median with another's")
    func ratios() {
        var results = Results()
        let job = Job(operation: .read, blockLength: 4096, depth: 32)
        #expect(results.ratio(of: job, to: .tgt, \.operationsPerSecond) == nil)
        for operations in [700, 900, 800] { results.add(measurement(operations), of: job, on: .carousel) }
        #expect(results.ratio(of: job, to: .tgt, \.operationsPerSecond) == nil)
        results.add(measurement(100), of: job, on: .tgt)
        #expect(results.ratio(of: job, to: .tgt, \.operationsPerSecond) == 8)
        #expect(results.ratio(of: job, to: .tgt, \.processorMicroseconds) == nil, "nothing to divide by")
        #expect(results.jobs == [job])
    }

    @Test(
        "goals are reached from their bound on",
        arguments: [(700, 125_000, true), (699, 125_000, false), (700, 126_000, false)])
    func goals(operations: Int, processor: Int, isReached: Bool) {
        var results = Results()
        let job = Job(operation: .write, blockLength: 4096, depth: 32)
        let processorNanoseconds = Int64(processor * operations / 1000)
        results.add(measurement(operations, processor: processorNanoseconds), of: job, on: .carousel)
        results.add(measurement(100, processor: 100_000), of: job, on: .tgt)
        let goals = Goal.all(in: results)
        #expect(goals.map(\.figure) == ["throughput / tgt's", "CPU per I/O / tgt's"])
        #expect(goals.allSatisfy(\.isReached) == isReached)
    }

    @Test("digests and the bare loop have goals of their own")
    func otherGoals() {
        var results = Results()
        let job = Job(operation: .read, blockLength: 65536, depth: 32, hasDigests: true)
        results.add(measurement(90), of: job, on: .carousel)
        #expect(Goal.all(in: results).isEmpty, "nothing to compare with")
        results.add(measurement(100), of: job.withoutDigests, on: .carousel)
        results.add(measurement(160), of: job.withoutDigests, on: .floor)
        results.add(measurement(200), of: job.withoutDigests, on: .mapped)
        let goals = Goal.all(in: results)
        #expect(goals.map(\.found) == [0.9, 0.625], "the loop with a mapping is a limit, not a goal")
        #expect(goals.map(\.isReached) == [true, false])
        #expect(ResultTable.lines(of: goals).map { $0.hasSuffix("MISSED") } == [false, true])
    }

    @Test(
        "what writes should reach of the bare loop depends on their length",
        arguments: [(4096, 1, 0.85), (4096, 4, 0.75), (65536, 1, 0.95), (1 << 20, 1, 0.95)])
    func writeGoals(blockLength: Int, connections: Int, ratio: Double) {
        var results = Results()
        let job = Job(operation: .write, blockLength: blockLength, depth: 32, connections: connections)
        results.add(measurement(100), of: job, on: .carousel)
        results.add(measurement(100), of: job, on: .floor)
        #expect(Goal.all(in: results).map(\.bound) == [.atLeast(ratio)])
    }

    @Test("both bare loops write what they are sent and read it back", arguments: [false, true])
    func bareLoops(isMapped: Bool) async throws {
        let length = 1 << 20
        let location = TemporaryPath(prefix: "bare-loop")
        let file = try File.open(path: location.path, [.readWrite, .create])
        #expect(file.truncate(to: Int64(length)) == 0)
        let loop = try BareLoop(path: location.path, isMapped: isMapped)
        for operation in [LoadOperation.write, .read] {
            let preparation = LoadPreparation(
                address: loop.unit, operation: operation, pattern: .sequential, blockLength: 65536, depth: 4,
                connections: 1, isOnePass: true)
            let report = try await LoadRun(preparation.logIn()).finish(limit: 60)
            #expect(report.failure == nil && report.firstError == nil)
        }
        var bytes = [UInt8](repeating: 0, count: length)
        let result = bytes.modifyBytes { file.read(into: &$0, fileOffset: 0) }
        #expect(result == .done(length))
        let areWritten = stride(from: 0, to: length, by: 4096).allSatisfy { page in
            bytes[page..<page + 4096].contains { $0 != 0 }
        }
        #expect(areWritten)
        #expect(loop.processorNanoseconds > 0)
    }

    @Test("a row for each side that was measured")
    func table() {
        var results = Results()
        let job = Job(operation: .read, blockLength: 4096)
        results.add(measurement(200), of: job, on: .carousel)
        results.add(measurement(100), of: job, on: .tgt)
        let rows = ResultTable.rows(of: job, in: results)
        #expect(rows.count == 2)
        #expect(rows[0].hasPrefix("read-4KiB-1 "))
        #expect(rows[1].hasSuffix("carousel 2.00x"))
    }

    @Test("a side is a process, a disk and perhaps a tape")
    func processes() {
        let disk = "iscsi://127.0.0.1:3260/iqn.2026-11.dev.carousel:disk/0"
        let tape = "iscsi://127.0.0.1:3260/iqn.2026-11.dev.carousel:library/1"
        #expect(ProcessArgument(argument: "17,\(disk)")?.process == 17)
        #expect(ProcessArgument(argument: "17,\(disk),\(tape)")?.tape?.logicalUnit == 1)
        for wrong in ["", "17", "x,\(disk)", "0,\(disk)", "17,\(disk),nothing", "17,\(disk),\(tape),"] {
            #expect(ProcessArgument(argument: wrong) == nil, "\(wrong)")
        }
    }
}

@Suite("Blocks that say what they are") struct DurableBlockTests {
    private let block = DurableBlock(identity: 7, address: 11, round: 2, writer: 3, sequence: 99)

    @Test("a block is found again, whatever its length", arguments: [64, 512, 4096])
    func roundTrip(length: Int) throws {
        let bytes = block.encoded(length: length)
        #expect(bytes.count == length)
        let found = try DurableBlock.parse(bytes.rawSpan)
        #expect(found == block)
    }

    @Test("a torn block and one that is none are told apart")
    func defects() {
        var bytes = block.encoded(length: 512)
        bytes[300] ^= 1
        #expect(throws: DurableBlock.Defect.self) { try DurableBlock.parse(bytes.rawSpan) }
        var isTorn = false
        do { _ = try DurableBlock.parse(bytes.rawSpan) } catch {
            if case .torn(let found) = error { isTorn = found == block }
        }
        #expect(isTorn)
        #expect(throws: DurableBlock.Defect.self) { try DurableBlock.parse([UInt8](repeating: 0, count: 512).rawSpan) }
    }
}
