import Bytes
import Fabric
import Platform
import Testing

@Suite("Verbs")
struct VerbsFabricTests {
    @Test("Without RDMA there is one sentence; with it, the devices have names and limits")
    func availability() {
        do {
            let fabric = try VerbsFabric()
            for device in try fabric.devices() {
                #expect(!device.name.isEmpty)
                #expect(device.limits.workRequests > 0 && device.limits.entries > 0 && device.limits.completions > 0)
            }
        } catch {
            let sentence = error.description
            #expect(sentence.hasPrefix("RDMA is not available: "), "\(sentence)")
            #expect(!sentence.contains("\n"))
            print(sentence)
        }
    }

    @Test("Entries have the layout of libibverbs' struct ibv_sge: they are handed over as they are")
    func layout() {
        #expect(MemoryLayout<ScatterEntry>.size == 16 && MemoryLayout<ScatterEntry>.stride == 16)
        #expect(MemoryLayout<ScatterEntry>.offset(of: \.address) == 0)
        #expect(MemoryLayout<ScatterEntry>.offset(of: \.length) == 8)
        #expect(MemoryLayout<ScatterEntry>.offset(of: \.localKey) == 12)
    }
}
