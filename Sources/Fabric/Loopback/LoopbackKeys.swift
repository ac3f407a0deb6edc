internal import Bytes

/// A protection domain of the loopback provider.
final class LoopbackDomain {
    let device: Int
    let watched: LoopbackDescriptor
    var events: [AsynchronousEvent] = []
    /// The objects that hold it.
    var regions = 0
    var isRemoved = false

    init(device: Int, watched: LoopbackDescriptor) {
        self.device = device
        self.watched = watched
    }
}

/// Registered memory, or a window. Safe: the owner keeps the memory mapped until it is deregistered.
@safe final class LoopbackKey {
    enum Kind {
        case region
        case window
    }

    let kind: Kind
    let domain: SlotName
    var key: UInt32 = 0
    /// Nil while a window is not bound.
    var base: UnsafeMutableRawPointer?
    var length = 0
    var access: AccessRights = []
    /// Of a window that is bound: the queue pair that has bound it, and the region.
    var queuePair: SlotName?
    var region: SlotName?
    /// Of a region: the windows that are bound to it.
    var boundWindows = 0

    init(kind: Kind, domain: SlotName) {
        self.kind = kind
        self.domain = domain
    }

    /// Whether it stands for memory.
    var isValid: Bool { length > 0 }

    /// The memory at an address, when all of it is covered; checked without overflow.
    func memory(_ address: UInt64, _ length: Int) -> UnsafeMutableRawPointer? {
        guard let base = unsafe base else { return nil }
        let start = UInt64(UInt(bitPattern: base))
        guard address >= start else { return nil }
        let offset = address - start
        guard offset <= UInt64(self.length), UInt64(length) <= UInt64(self.length) - offset else { return nil }
        return unsafe base + Int(offset)
    }
}

extension LoopbackCore {
    /// Keys of regions and windows that are there: the slot in the upper 24 bits, and a tag.
    private static let keySlots: UInt64 = 1 << 24

    func register(
        _ memory: UnsafeMutableRawBufferPointer, access: AccessRights, in name: SlotName
    ) throws(FabricError) -> MemoryRegion {
        guard let domain = domains[name], let base = memory.baseAddress, memory.count > 0 else {
            throw .failed(operation: "register memory", reason: "there is none", code: 22)
        }
        guard !access.contains(.remoteWrite) || access.contains(.localWrite) else {
            throw .failed(
                operation: "register memory", reason: "remote write access needs local write access", code: 22)
        }
        if happens(faults.registration) {
            throw .failed(operation: "register memory", reason: "Cannot allocate memory", code: 12)
        }
        guard domain.regions < devices[domain.device].limits.regions else { throw .limitReached("memory regions") }
        let key = LoopbackKey(kind: .region, domain: name)
        guard let slot = keys.insert(key) else { throw .limitReached("memory regions") }
        domain.regions += 1
        unsafe key.base = base
        key.length = memory.count
        key.access = access
        key.key = UInt32(truncatingIfNeeded: slot.index + 1) << 8 | slot.generation & 0xFF
        usage.regions += 1
        usage.registeredBytes += memory.count
        return MemoryRegion(
            handle: FabricHandle(word: slot.word), address: UInt64(UInt(bitPattern: base)), length: memory.count,
            access: access, localKey: key.key, remoteKey: key.key)
    }

    func deregister(_ region: MemoryRegion) {
        let slot = SlotName(word: region.handle.word)
        guard let key = keys[slot], key.kind == .region else { return }
        // Real devices refuse while windows are bound; here these become invalid.
        if key.boundWindows > 0 {
            keys.forEach { window in
                if window.kind == .window, window.region == slot { unbind(window) }
            }
        }
        keys.remove(slot)
        domains[key.domain]?.regions -= 1
        usage.regions -= 1
        usage.registeredBytes -= key.length
    }

    func allocateWindow(in name: SlotName) throws(FabricError) -> MemoryWindow {
        guard let domain = domains[name], devices[domain.device].hasInvalidation else {
            throw .failed(operation: "allocate a memory window", reason: "Operation not supported", code: 95)
        }
        let window = LoopbackKey(kind: .window, domain: name)
        guard let slot = keys.insert(window) else { throw .limitReached("memory windows") }
        window.key = UInt32(truncatingIfNeeded: slot.index + 1) << 8 | slot.generation & 0xFF
        usage.windows += 1
        return MemoryWindow(handle: FabricHandle(word: slot.word), remoteKey: window.key)
    }

    func freeWindow(_ window: MemoryWindow) {
        let slot = SlotName(word: window.handle.word)
        guard let key = keys[slot], key.kind == .window else { return }
        unbind(key)
        keys.remove(slot)
        usage.windows -= 1
    }

    func unbind(_ window: LoopbackKey) {
        if let region = window.region { keys[region]?.boundWindows -= 1 }
        unsafe window.base = nil
        window.length = 0
        window.region = nil
        window.queuePair = nil
    }

    /// What has that key now.
    func key(_ value: UInt32) -> LoopbackKey? {
        let index = Int(value >> 8) - 1
        guard let found = keys.element(at: index)?.element, found.key == value, found.isValid else { return nil }
        return found
    }

    /// Memory of the own side that a scatter entry names, nil when that is not permitted.
    func localMemory(
        _ entry: ScatterEntry, of pair: LoopbackQueuePair, access: AccessRights
    ) -> UnsafeMutableRawPointer? {
        guard let key = key(entry.localKey), key.kind == .region, key.domain == pair.domain,
            key.access.isSuperset(of: access)
        else { return nil }
        return unsafe key.memory(entry.address, Int(entry.length))
    }

    /// Memory of `pair`'s side that its peer names, nil when that is not permitted.
    func remoteMemory(
        _ value: UInt32, _ address: UInt64, _ length: Int, of pair: LoopbackQueuePair, access: AccessRights
    ) -> UnsafeMutableRawPointer? {
        guard let key = key(value), key.domain == pair.domain, key.access.isSuperset(of: access) else { return nil }
        if key.kind == .window, key.queuePair != pair.name { return nil }
        return unsafe key.memory(address, length)
    }

    /// Binds a window as a request of `pair` asks; false when it cannot be.
    func bind(_ request: SendWorkRequest, by pair: LoopbackQueuePair) -> Bool {
        let regionSlot = SlotName(word: request.region.word)
        guard let window = keys[SlotName(word: request.window.word)], window.kind == .window,
            let region = keys[regionSlot], region.kind == .region, window.domain == pair.domain,
            region.domain == pair.domain, region.access.contains(.windowBind),
            !request.access.contains(.remoteWrite) || region.access.contains(.localWrite),
            request.key >> 8 == window.key >> 8, let length = Int(exactly: request.length), length > 0,
            let base = unsafe region.memory(request.address, length)
        else { return false }
        // A window of type 2 is invalidated before it is bound again.
        guard !window.isValid else { return false }
        window.key = request.key
        unsafe window.base = base
        window.length = length
        window.access = request.access.intersection(.remote)
        window.queuePair = pair.name
        window.region = regionSlot
        region.boundWindows += 1
        return true
    }

    /// Makes a window of `pair` invalid; false when there is none with that key.
    func invalidate(_ value: UInt32, of pair: LoopbackQueuePair) -> Bool {
        guard let window = key(value), window.kind == .window, window.queuePair == pair.name else { return false }
        unbind(window)
        return true
    }

    /// Makes all windows of a queue pair that ends invalid.
    func unbindWindows(of pair: SlotName) {
        guard usage.windows > 0 else { return }
        keys.forEach { key in
            if key.kind == .window, key.queuePair == pair { unbind(key) }
        }
    }
}
