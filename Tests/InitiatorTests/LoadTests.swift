import Bytes
import ISCSI
import Platform
import SCSI
import Testing

@testable import Initiator

@Suite("Load", .timeLimit(.minutes(5))) struct LoadTests {
    /// The reads and writes of a load whose plan has no end of its own.
    private static let operationCount = 16
    private let disk = LoadUnit.disk(logicalBlockLength: 512, region: 0..<UInt64(FakeTarget.blockCount))

    private func plan(
        _ operation: LoadOperation, blockLength: Int = 4096, depth: Int = 8, pattern: LoadPattern = .random,
        unit: LoadUnit? = nil
    ) -> LoadPlan {
        LoadPlan(
            logicalUnitNumber: LogicalUnitNumber(0), unit: unit ?? disk, operation: operation, pattern: pattern,
            blockLength: blockLength, depth: depth, seed: 1)
    }

    /// Runs a plan to its end, or for `operationCount` reads and writes, against a fake target.
    private func run(
        _ plan: LoadPlan, _ behavior: FakeTarget.Behavior = FakeTarget.Behavior(), digests: Bool = false
    ) async throws -> LoadReport {
        var (plan, behavior) = (plan, behavior)
        plan.operationLimit = plan.operationLimit ?? Self.operationCount
        behavior.mayBeAbandoned = true
        let target = try FakeTarget(behavior)
        var settings = InitiatorSettings(targetName: FakeTarget.name)
        if digests {
            settings.operational.headerDigests = [.crc32c]
            settings.operational.dataDigests = [.crc32c]
        }
        let engine = try FileEngine(threads: 1)
        let reactor = try Reactor.start(name: "load", poolLimit: 64 << 20, fileEngine: engine)
        let load = LoadConnection(try target.logIn(settings).handOver(), plan)
        reactor.post {
            do throws(InitiatorError) {
                try load.start(on: reactor)
                load.beginMeasuring()
            } catch {
                Issue.record("\(error)")
            }
        }
        var isDone = false
        while !isDone {
            try await Task.sleep(for: .milliseconds(1))
            isDone = await withCheckedContinuation { continuation in
                reactor.post { continuation.resume(returning: load.isDone) }
            }
        }
        let report: LoadReport = await withCheckedContinuation { continuation in
            reactor.post {
                let report = load.endMeasuring()
                load.stop()
                continuation.resume(returning: report)
            }
        }
        reactor.stop()
        engine.stop()
        #expect(target.join() == nil)
        return report
    }

    @Test(
        "reads and writes of all lengths end with GOOD", arguments: LoadOperation.allCases,
        [(512, false), (4096, true), (262_144, false), (1_048_576, true)])
    func transfers(operation: LoadOperation, size: (blockLength: Int, digests: Bool)) async throws {
        var behavior = FakeTarget.Behavior()
        behavior.settings.preferred.maxRecvDataSegmentLength = 8192
        behavior.settings.preferred.firstBurstLength = 65_536
        behavior.dataInLength = size.digests ? 5000 : 262_144
        behavior.collapsesPhase = !size.digests
        let report = try await run(plan(operation, blockLength: size.blockLength), behavior, digests: size.digests)
        #expect(report.failure == nil)
        #expect(report.errors == 0, "\(report.firstError ?? "")")
        #expect(report.operations == Self.operationCount)
        #expect(report.bytes == report.operations * size.blockLength)
        #expect(report.latencies.count == UInt64(report.operations))
    }

    @Test("BUSY and unit attentions are tried again and are no errors")
    func retries() async throws {
        var behavior = FakeTarget.Behavior()
        behavior.busyCount = 5
        behavior.unitAttentionCount = 2
        behavior.pings = true
        let report = try await run(plan(.mixed, depth: 1), behavior)
        #expect(report.failure == nil)
        #expect(report.errors == 0)
        #expect(report.busyCount == 5)
        #expect(report.operations == Self.operationCount)
    }

    @Test("errors are counted and the first is told")
    func errors() async throws {
        let beyond = LoadUnit.disk(logicalBlockLength: 512, region: (1 << 20)..<(1 << 21))
        let report = try await run(plan(.read, unit: beyond))
        #expect(report.operations == 0)
        #expect(report.errors == Self.operationCount)
        #expect(report.firstError == "sense 05/21/00")
    }

    @Test("what a target sends after it has broken the protocol is ignored, however much it is")
    func afterTheEnd() throws {
        let (near, far) = try StreamSocket.pair()
        let load = LoadConnection(
            EstablishedSession(
                socket: near, parameters: NegotiatedParameters(), nextCmdSN: SequenceNumber(1),
                maxCmdSN: SequenceNumber(64), expStatSN: SequenceNumber(1)), plan(.read))
        load.state.isRunning = true
        var reject = RejectPDU()
        reject.reason = .protocolError
        let bytes = BasicHeaderSegment(reject).bytes.copyToArray() + [UInt8](repeating: 0, count: 100_000)
        load.handle(bytes.rawSpan, now: 0)
        #expect(load.state.report.failure == .rejected(.protocolError) && !load.state.isRunning)
        withExtendedLifetime(far) {}
    }

    @Test("sequential addresses follow each other and start again; long addresses take 16-byte commands")
    func addresses() throws {
        var work = LoadWork(
            plan(.read, pattern: .sequential, unit: .disk(logicalBlockLength: 512, region: 8..<40)))
        let addresses = (0..<5).map { _ in work.next(underWay: 0)?.cdb.bytes.loadBE32(at: 2) }
        #expect(addresses == [8, 16, 24, 32, 8])
        let far = UInt64(1) << 40
        var long = LoadWork(
            plan(.write, pattern: .sequential, unit: .disk(logicalBlockLength: 4096, region: far..<(far + 8))))
        let last = long.next(underWay: 0)
        let command = try #require(last)
        #expect(command.cdb.operationCode == OperationCode.write16)
        #expect(command.cdb.bytes.loadBE64(at: 2) == far)
        #expect(command.cdb.bytes.loadBE32(at: 10) == 1)
    }

    @Test("random addresses stay inside the region and are aligned")
    func randomAddresses() {
        var work = LoadWork(plan(.mixed, unit: .disk(logicalBlockLength: 512, region: 64..<1024)))
        var writes = 0
        for _ in 0..<2000 {
            guard let command = work.next(underWay: 0) else { continue }
            let address = command.cdb.bytes.loadBE32(at: 2)
            #expect((64...1016).contains(address) && address % 8 == 0)
            if command.isWrite { writes += 1 }
        }
        #expect((500...700).contains(writes), "three of ten are writes")
    }

    @Test("a limited plan ends by itself, and a BUSY target is asked again only when it has ended a command")
    func limit() async throws {
        var limited = plan(.write, depth: 4)
        limited.operationLimit = 50
        var behavior = FakeTarget.Behavior()
        behavior.busyCount = 3
        let report = try await run(limited, behavior)
        #expect(report.failure == nil)
        #expect(report.operations == 50)
        #expect(report.busyCount == 3)
    }

    @Test("a tape gets filemarks, and is rewound at its end when nothing is under way")
    func tape() throws {
        var work = LoadWork(plan(.write, blockLength: 65_536, unit: .tape(recordsPerFilemark: 2)))
        let first = (0..<3).compactMap { _ in work.next(underWay: 0)?.cdb.operationCode }
        #expect(first == [OperationCode.write6, OperationCode.write6, OperationCode.writeFilemarks6])
        let next = work.next(underWay: 0)
        let record = try #require(next)
        #expect(record.cdb.bytes.loadBE24(at: 2) == 65_536)
        work.endOfTape()
        let isWaiting = work.next(underWay: 1) == nil
        #expect(isWaiting)
        let afterEnd = (0..<2).compactMap { _ in work.next(underWay: 0)?.cdb.operationCode }
        #expect(afterEnd == [OperationCode.rewind, OperationCode.write6])
    }
}

@Suite("Latency histogram") struct LatencyHistogramTests {
    @Test("percentiles are right to 1.6 %")
    func percentiles() {
        var histogram = LatencyHistogram()
        for microseconds in 1...10_000 { histogram.record(nanoseconds: Int64(microseconds) * 1000) }
        #expect(histogram.count == 10_000)
        #expect(abs(histogram.meanNanoseconds - 5_000_500) < 1)
        for (fraction, exact) in [(0.5, 5_000_000.0), (0.99, 9_900_000), (0.999, 9_990_000)] {
            #expect(abs(Double(histogram.percentile(fraction)) - exact) / exact < 0.016)
        }
        #expect(histogram.percentile(1) <= histogram.maximumNanoseconds)
        #expect(histogram.maximumNanoseconds == 10_000_000)
    }

    @Test("extremes have buckets too")
    func extremes() {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: -5)
        histogram.record(nanoseconds: 0)
        histogram.record(nanoseconds: 63)
        histogram.record(nanoseconds: .max)
        #expect(histogram.count == 4)
        #expect(histogram.percentile(0.5) == 0)
        #expect(histogram.percentile(0.75) == 63)
        histogram.reset()
        #expect(histogram.percentile(0.5) == 0)
    }
}

@Suite("iSCSI URLs") struct ISCSIURLTests {
    @Test("the parts of a URL")
    func parts() throws {
        let full = try #require(ISCSIURL("iscsi://127.0.0.1:3261/iqn.2026-11.dev.carousel:disk/5"))
        #expect(full.portal == SocketAddress("127.0.0.1:3261"))
        #expect(full.targetName == "iqn.2026-11.dev.carousel:disk")
        #expect(full.logicalUnit == 5)
        #expect(full.description == "iscsi://127.0.0.1:3261/iqn.2026-11.dev.carousel:disk/5")
        let portal = try #require(ISCSIURL("iscsi://[::1]"))
        #expect(portal.portal.port == 3260)
        #expect(portal.targetName == nil)
    }

    @Test(
        "what is no URL",
        arguments: [
            "", "iscsi://", "http://127.0.0.1/x/0", "iscsi://127.0.0.1/x/-1", "iscsi://127.0.0.1/x/99999",
            "iscsi://127.0.0.1/x/0/1", "iscsi://127.0.0.1//0", "iscsi://host/x/0",
        ])
    func malformed(text: String) {
        #expect(ISCSIURL(text) == nil)
    }
}
