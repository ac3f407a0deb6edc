internal import CCrypto

/// Memory for a secret: overwritten when it is released, and never in descriptions.
///
/// It may be in a core dump, and in swap space, of the host. Any thread may read it once it is filled.
@safe public final class SecretBytes: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
    /// How many bytes it has.
    public let count: Int
    /// Safe: allocated in init, `count` bytes long, freed in deinit.
    let memory: UnsafeMutablePointer<UInt8>

    /// So many zeros.
    public init(count: Int) {
        precondition(count >= 0, "memory has a length")
        self.count = count
        unsafe memory = .allocate(capacity: max(1, count))
        unsafe memory.initialize(repeating: 0, count: max(1, count))
    }

    /// A copy of `bytes`.
    public convenience init(_ bytes: [UInt8]) {
        self.init(count: bytes.count)
        for (index, byte) in bytes.enumerated() { unsafe memory[index] = byte }
    }

    deinit {
        unsafe OPENSSL_cleanse(memory, count)
        unsafe memory.deallocate()
    }

    /// Calls `body` with the memory, to fill it, before anybody else has it.
    public func fill<Value>(_ body: (inout MutableRawSpan) -> Value) -> Value {
        var span = unsafe MutableRawSpan(_unsafeStart: UnsafeMutableRawPointer(memory), byteCount: count)
        return body(&span)
    }

    /// The first `count` bytes.
    public func prefix(_ count: Int) -> SecretBytes {
        let part = SecretBytes(count: min(count, self.count))
        for index in 0..<part.count { unsafe part.memory[index] = memory[index] }
        return part
    }

    /// Whether the first half of it is the second.
    var hasEqualHalves: Bool {
        unsafe CRYPTO_memcmp(memory, memory + count / 2, count / 2) == 0
    }

    /// Whether both have the same bytes; it takes as long wherever they differ.
    func isEqual(to other: SecretBytes) -> Bool {
        guard count == other.count else { return false }
        return unsafe CRYPTO_memcmp(memory, other.memory, count) == 0
    }

    /// For what is no secret, and for tests.
    func copyToArray() -> [UInt8] { (0..<count).map { unsafe memory[$0] } }

    public var description: String { "<\(count) secret bytes>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
