import Fabric
import SRP

/// Memory of a test that is registered with a domain.
@safe final class TestMemory {
    private let memory: UnsafeMutableRawBufferPointer
    let domain: ProtectionDomain
    let region: MemoryRegion

    init(_ domain: ProtectionDomain, _ length: Int, _ access: AccessRights) throws {
        unsafe memory = .allocate(byteCount: length, alignment: 4096)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
        self.domain = domain
        do {
            region = unsafe try domain.register(memory, access: access)
        } catch {
            unsafe memory.deallocate()
            throw error
        }
    }

    deinit {
        unsafe memory.deallocate()
    }

    func end() { domain.deregister(region) }

    func entry(_ offset: Int = 0, _ length: Int) -> ScatterEntry { region.entry(offset: offset, length: length) }

    func bytes(_ offset: Int, _ count: Int) -> [UInt8] { unsafe Array(memory[offset..<offset + count]) }

    func fill(_ bytes: [UInt8], at offset: Int = 0) {
        unsafe memory[offset..<offset + bytes.count].copyBytes(from: bytes)
    }

    /// The descriptor of a piece of it.
    func descriptor(_ offset: Int, _ length: Int) -> SRPMemoryDescriptor {
        SRPMemoryDescriptor(
            virtualAddress: region.address &+ UInt64(offset), memoryHandle: region.remoteKey,
            dataLength: UInt32(length))
    }
}
