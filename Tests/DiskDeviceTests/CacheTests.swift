import DeviceTestSupport
import Foundation
import Media
import Platform
import SCSI
import TargetCore
import TestSupport
import Testing

@testable import DiskDevice

/// What the table "What is kept" of the module's page says, line by line.
@Suite("Cache policies")
struct CacheTests {
    private static let size = 64 * 512

    /// What became of a write that ended with GOOD.
    private enum Ending: CaseIterable {
        case plain, forceUnitAccess, synchronized
    }

    /// Writes a block in that way on a fresh disk; what host and device have of it before anything else happens.
    private func store(
        after ending: Ending, _ policy: DiskCachePolicy, data: [UInt8]
    ) throws -> (content: [UInt8], durable: [UInt8]) {
        let store = SimulatedStore([UInt8](repeating: 0, count: Self.size))
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine(), cache: policy)
        try fixture.image.setDirect(policy == .direct)
        let port = fixture.initiator()
        #expect(port.write(3, data, flags: ending == .forceUnitAccess ? 0x08 : 0).status == .good)
        if ending == .synchronized {
            #expect(port.execute(CDB.ten(OperationCode.synchronizeCache10, lba: 0, count: 0)).status == .good)
        }
        return withExtendedLifetime(fixture) { (store.content, store.durable) }
    }

    @Test(
        "After a crash of the process, every write that ended with GOOD is there, whatever the policy",
        arguments: [DiskCachePolicy.writeBack, .writeThrough, .direct])
    func processCrash(policy: DiskCachePolicy) throws {
        let data = [UInt8](repeating: 7, count: 512)
        for ending in Ending.allCases {
            // The host keeps what it was given.
            let host = try store(after: ending, policy, data: data).content
            let next = try DiskFixture(store: SimulatedStore(host), engine: SimulatedEngine(), cache: policy)
            #expect(next.initiator().read(3, 1) == data)
        }
    }

    @Test(
        "After a power cut, what FUA, SYNCHRONIZE CACHE or write-through made durable is there; the rest may be gone",
        arguments: [DiskCachePolicy.writeBack, .writeThrough, .direct])
    func powerCut(policy: DiskCachePolicy) throws {
        let data = [UInt8](repeating: 7, count: 512)
        for ending in Ending.allCases {
            // The worst that can happen: all that was not made durable is lost.
            let device = try store(after: ending, policy, data: data).durable
            let next = try DiskFixture(store: SimulatedStore(device), engine: SimulatedEngine(), cache: policy)
            let isKept = policy == .writeThrough || ending != .plain
            #expect(next.initiator().read(3, 1) == (isKept ? data : [UInt8](repeating: 0, count: 512)))
        }
    }

    private func cachingPage(_ port: DiskInitiator, _ control: UInt8) -> [UInt8] {
        Array(port.execute([OperationCode.modeSense6, 8, control << 6 | 0x08, 0, 255, 0]).dataIn.dropFirst(6))
    }

    private func selectWriteCache(_ port: DiskInitiator, _ page: [UInt8], _ isOn: Bool) -> CommandResult {
        let list: [UInt8] = [0, 0, 0, 0, 0x08, 18, isOn ? page[0] | 4 : page[0] & ~4] + page.dropFirst()
        return port.execute([OperationCode.modeSelect6, 0x10, 0, 0, UInt8(list.count), 0], dataOut: list)
    }

    @Test("The Caching page tells the truth, and WCE can be changed unless an operator wants every write durable")
    func page() throws {
        for (policy, current, changeable, readAhead) in [
            (DiskCachePolicy.writeBack, 4, 4, 0), (.writeThrough, 0, 0, 0), (.direct, 4, 4, 0x20),
        ] as [(DiskCachePolicy, UInt8, UInt8, UInt8)] {
            let fixture = try DiskFixture(blocks: 64, cache: policy)
            let port = fixture.initiator()
            let page = cachingPage(port, 0)
            #expect(page[0] == current && page[10] == readAhead && page.count == 18)
            #expect(cachingPage(port, 1) == [changeable] + [UInt8](repeating: 0, count: 17))
            #expect(cachingPage(port, 2) == page)
            #expect(fixture.unit.isWriteCacheEnabled == (policy != .writeThrough))
            #expect(selectWriteCache(port, page, policy != .writeThrough).status == .good)
            let sense = selectWriteCache(port, page, policy == .writeThrough).sense
            #expect(sense == (policy == .writeThrough ? invalidParameter(6, bit: 2) : nil))
            #expect(!fixture.unit.isWriteCacheEnabled)
            #expect(port.port.manage(.logicalUnitReset) == .complete)
            port.port.clearUnitAttentions()
            #expect(cachingPage(port, 0) == page)
        }
    }

    @Test(
        "The policy changes under commands: who uses the disk learns of it, and a cache that goes leaves nothing behind"
    )
    func change() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: Self.size))
        let fixture = try DiskFixture(store: store, engine: SimulatedEngine())
        let port = fixture.initiator()
        let other = fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)
        let data = [UInt8](repeating: 9, count: 512)
        try fixture.unit.setCachePolicy(.writeBack)
        #expect(port.port.clearUnitAttentions() == [])
        #expect(port.write(0, data).status == .good)
        #expect(store.durable != store.content)
        try fixture.unit.setCachePolicy(.writeThrough)
        #expect(store.durable == store.content)
        for initiator in [port, other] { #expect(initiator.port.clearUnitAttentions() == [.modeParametersChanged]) }
        #expect(port.write(1, data).status == .good)
        #expect(store.durable == store.content)
        // What was not durable keeps the disk as it was.
        try fixture.unit.setCachePolicy(.direct)
        #expect(port.port.clearUnitAttentions() == [.modeParametersChanged])
        #expect(port.write(2, data).status == .good)
        #expect(store.durable != store.content)
        store.failSynchronizations(Errno.inputOutput)
        #expect(throws: DiskCacheError.synchronization(.device(Errno.inputOutput))) {
            try fixture.unit.setCachePolicy(.writeThrough)
        }
        #expect(fixture.unit.isWriteCacheEnabled)
    }

    @Test("Without a write cache, writes that come while one is made durable share the next fdatasync")
    func groups() throws {
        let store = SimulatedStore([UInt8](repeating: 0, count: Self.size))
        let engine = try FileEngine(threads: 4)
        defer { engine.stop() }
        let fixture = try DiskFixture(store: store, engine: engine, cache: .writeThrough)
        let port = fixture.initiator()
        let data = [UInt8](repeating: 9, count: 512)
        store.holdSynchronizations()
        let first = port.submit(CDB.ten(OperationCode.write10, lba: 0, count: 1), dataOut: data).outcome
        store.waitUntilHeld()
        let others = (1...24).map {
            port.submit(CDB.ten(OperationCode.write10, lba: $0, count: 1), dataOut: data).outcome
        }
        // All have been written, and wait to be made durable.
        while store.callCount < 25 { usleep(1000) }
        fixture.settle()
        while fixture.image.lane.waitingCount > 0 { usleep(1000) }
        #expect(!first.hasArrived && others.allSatisfy { !$0.hasArrived })
        store.releaseSynchronizations()
        #expect(first.wait().status == .good)
        #expect(others.allSatisfy { $0.wait().status == .good })
        #expect(store.durable == store.content)
        // 25 writes; one synchronisation, then one for all that waited, or a few for those that were late to.
        #expect(store.callCount <= 25 + 5)
    }

    @Test("Past the page cache the same bytes are read and written, in whole pages and in parts of them")
    func direct() throws {
        let fixture = try DiskFixture(blocks: 8192)
        do throws(DiskCacheError) {
            try fixture.unit.setCachePolicy(.direct)
        } catch {
            // A file system in memory has no other way.
            #expect("\(error)".hasSuffix("has no way past its page cache (O_DIRECT)"))
            #expect(fixture.unit.isWriteCacheEnabled)
            return
        }
        let ports = [fixture.initiator(), fixture.initiator("iqn.2026-11.test:b", on: fixture.otherReactor)]
        var random = SeededRandom(seed: 4)
        var model = [UInt8](repeating: 0, count: 8192 * 512)
        for round in 0..<300 {
            if round % 100 == 50 { try fixture.unit.setCachePolicy(.writeBack) }
            if round % 100 == 75 { try fixture.unit.setCachePolicy(.direct) }
            for port in ports { port.port.clearUnitAttentions() }
            let isWhole = Bool.random(using: &random)
            let unit = isWhole ? 8 : 1
            let count = Int.random(in: 1...(isWhole ? 300 : 40), using: &random) * unit
            let lba = Int.random(in: 0...(8192 - count) / unit, using: &random) * unit
            let port = ports[round % 2]
            let range = lba * 512..<(lba + count) * 512
            if round % 3 == 0 {
                #expect(port.read(lba, count) == Array(model[range]))
            } else {
                let data = random.bytes(range.count)
                #expect(port.write(lba, data, flags: round % 7 == 0 ? 0x08 : 0).status == .good)
                model.replaceSubrange(range, with: data)
            }
        }
        #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture.path))) == model)
        for lba in stride(from: 0, to: 8192, by: 1024) {
            #expect(ports[0].read(lba, 1024) == Array(model[lba * 512..<(lba + 1024) * 512]))
        }
    }
}
