internal import CCrypto

/// What Carousel uses of libcrypto, without pointers. This file is the only one of the module with unsafe code.
enum LibCrypto {
    /// Runs once, before everything else: reads the system's configuration, which may demand FIPS, and leaves out the
    /// clean-up at exit, which would pull the library from under threads that are still in it.
    private static let isReady = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1

    /// A digest algorithm as one of the library's providers implements it. Any thread may use it.
    @safe final class MessageDigest: @unchecked Sendable {
        private let method: OpaquePointer
        private let length: Int

        /// Looks `name` up among the implementations that have `properties` (a property query of OpenSSL), or those
        /// that the system's configuration allows; nil when there is none.
        init?(_ name: String, properties: String? = nil) {
            guard isReady, let method = unsafe EVP_MD_fetch(nil, name, properties) else {
                ERR_clear_error()
                return nil
            }
            unsafe self.method = method
            length = max(0, Int(unsafe EVP_MD_get_size(method)))
        }

        deinit { unsafe EVP_MD_free(method) }

        /// The digest of `message`; nil when the library fails, for want of memory for example.
        func digest(of message: [UInt8]) -> [UInt8]? {
            var length = UInt32(0)
            let digest = unsafe [UInt8](unsafeUninitializedCapacity: self.length) { output, count in
                let status = unsafe message.withUnsafeBytes { input in
                    unsafe EVP_Digest(input.baseAddress, input.count, output.baseAddress, &length, method, nil)
                }
                count = status == 1 ? Int(length) : 0
            }
            guard !digest.isEmpty else {
                ERR_clear_error()
                return nil
            }
            return digest
        }
    }

    /// `count` bytes of the library's generator, which the kernel's seeds; nil when it fails or `count` is negative or
    /// above 2³¹ − 1.
    static func random(_ count: Int) -> [UInt8]? {
        guard isReady, let size = Int32(exactly: count), size >= 0 else { return nil }
        var isFilled = false
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { output, filled in
            isFilled = unsafe size == 0 || RAND_bytes(output.baseAddress, size) == 1
            filled = isFilled ? count : 0
        }
        guard isFilled else {
            ERR_clear_error()
            return nil
        }
        return bytes
    }

    /// Whether `given`, which the other side chose, equals `secret`, in a time that depends on the length of `given`
    /// only.
    static func areEqual(_ given: [UInt8], _ secret: [UInt8]) -> Bool {
        let padded = given.indices.map { $0 < secret.count ? secret[$0] : 0 }
        let difference = unsafe given.withUnsafeBytes { first in
            unsafe padded.withUnsafeBytes { second in
                unsafe CRYPTO_memcmp(first.baseAddress, second.baseAddress, first.count)
            }
        }
        return difference == 0 && given.count == secret.count
    }
}
