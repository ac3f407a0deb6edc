import Bytes
import DeviceTestSupport
import SCSI
import TargetCore
import Testing

@testable import DiskDevice

/// The limits of all disks together, and those that need large disks. What one list, one nexus or one disk may have is
/// tested beside what it is about.
@Suite("Limits of copies")
struct CopyLimitTests {
    @Test("A token represents 256 MiB at most, over all its ranges")
    func tokenLength() throws {
        let blocks = CopyLimit.tokenLength / 512
        let port = try DiskFixture(blocks: blocks + 8).initiator()
        func populate(_ ranges: [(Int, Int)]) -> CommandResult {
            let list = TokenList.populate(ranges)
            return port.execute(CopyCDB.populateToken(1, list.count), dataOut: list)
        }
        #expect(populate([(8, blocks)]).status == .good)
        #expect(populate([(0, blocks + 1)]).sense == invalidParameter(24))
        #expect(populate([(0, 4), (8, blocks - 3)]).sense == invalidParameter(40))
        // WRITE USING TOKEN writes no more either.
        let list = TokenList.write(TokenList.zero, [(0, 4), (8, blocks - 3)])
        let sense = port.execute(CopyCDB.writeUsingToken(2, list.count), dataOut: list).sense
        #expect(sense == invalidParameter(536 + 16 + 8))
    }

    @Test("There are not more valid tokens of all disks than the limit, and room again when one is not valid any more")
    func tokens() throws {
        let disks = CopyLimit.tokens / CopyLimit.tokensOfUnit + 1
        let fixture = try CopyFixture(blockSizes: [Int](repeating: 512, count: disks), length: 1 << 16)
        let port = fixture.initiator()
        for unit in 0..<disks - 1 {
            for _ in 0..<CopyLimit.tokensOfUnit { _ = port.token([(unit, 1)], unit: unit) }
        }
        let full = SenseData(.illegalRequest, .insufficientResourcesToCreateROD)
        #expect(port.populate(TokenList.populate([(0, 1)]), unit: disks - 1).sense == full)
        #expect(port.write(0, [UInt8](repeating: 1, count: 512)).status == .good)
        #expect(port.populate(TokenList.populate([(0, 1)]), unit: disks - 1).status == .good)
    }

    @Test("There are not more copies of all disks at a time than the limit: more are BUSY")
    func concurrent() throws {
        let disks = CopyLimit.concurrent / CopyLimit.concurrentOfUnit
        let fixture = try CopyFixture(blockSizes: [Int](repeating: 512, count: disks + 1), length: 1 << 21)
        let ports = (0...disks).map { fixture.initiator("iqn.2026-11.test:\($0)") }
        fixture.engine.hold()
        // Writes that the lanes have, and copies that wait for them at the gates, without buffers.
        let large = [UInt8](repeating: 3, count: 1 << 21)
        let writes = (0..<disks).map { unit in
            ports[unit].submit(CDB.ten(OperationCode.write10, lba: 0, count: 4096), unit: unit, dataOut: large).outcome
        }
        fixture.settle()
        let list = TokenList.populate([(0, 1)])
        let waiting = (0..<disks).flatMap { unit in
            (0..<CopyLimit.concurrentOfUnit).map { number in
                ports[unit].submit(CopyCDB.populateToken(UInt32(number), list.count), unit: unit, dataOut: list)
                    .outcome
            }
        }
        fixture.settle()
        #expect(!waiting.contains { $0.hasArrived })
        #expect(ports[disks].populate(list, unit: disks).status == .busy)
        fixture.engine.release()
        for outcome in writes + waiting { #expect(outcome.wait().status == .good) }
        #expect(ports[disks].populate(list, unit: disks).status == .good)
    }

    @Test("Not more results are kept for all nexuses than the limit: the oldest goes first")
    func results() throws {
        let fixture = try CopyFixture()
        let list = CopyList(fixture.disks, [CopyList.Segment(count: 0)])
        func result(_ port: CopyInitiator, _ identifier: Int) -> CommandResult {
            port.execute(CopyCDB.receive(5, UInt32(identifier)))
        }
        var ports: [CopyInitiator] = []
        for number in 0...CopyLimit.results / CopyLimit.resultsOfNexus {
            let port = fixture.initiator("iqn.2026-11.test:\(number)")
            ports.append(port)
            for identifier in 0..<CopyLimit.resultsOfNexus {
                var list = list
                list.identifier = UInt32(identifier)
                #expect(port.copy(list).status == .good)
            }
        }
        // Those of the first nexus, which are as many as the last one has added.
        for identifier in [0, CopyLimit.resultsOfNexus - 1] {
            #expect(result(ports[0], identifier).sense == invalidField(2))
            for port in [ports[1], ports[ports.count - 1]] { #expect(result(port, identifier).status == .good) }
        }
    }
}
