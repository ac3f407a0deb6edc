internal import CCrypto

/// What disks need of libcrypto, besides the cipher of their sectors (`SectorCipher`): random numbers, derivation of
/// keys, and encryption of one key under another.
enum LibCrypto {
    /// Runs once, before everything else, as in `Authentication`: the clean-up at exit, which would pull the library
    /// from under threads that are still in it, is left out.
    static let isReady = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1

    /// The bytes of a nonce of AES-256-GCM.
    static let nonceLength = 12
    /// The bytes of its authentication tag.
    static let tagLength = 16

    /// Fills `bytes` with what the library's generator for private keys gives, which the kernel's seeds; false when it
    /// fails.
    static func fillRandomly(_ bytes: SecretBytes) -> Bool {
        unsafe checked(isReady && RAND_priv_bytes(bytes.memory, Int32(bytes.count)) == 1)
    }

    /// `count` bytes that need not stay secret; nil when the generator fails.
    static func random(_ count: Int) -> [UInt8]? {
        let bytes = SecretBytes(count: count)
        return fillRandomly(bytes) ? bytes.copyToArray() : nil
    }

    /// scrypt (RFC 7914) with N = 2^`exponent`; fills `key`. False when the library refuses the parameters or has no
    /// memory for them.
    static func scrypt(
        _ password: SecretBytes, salt: [UInt8], exponent: Int, blockSize: Int, parallelism: Int, memoryLimit: Int,
        into key: SecretBytes
    ) -> Bool {
        let status = unsafe salt.withUnsafeBufferPointer { salt in
            unsafe password.memory.withMemoryRebound(to: CChar.self, capacity: password.count) {
                unsafe EVP_PBE_scrypt(
                    $0, password.count, salt.baseAddress, salt.count, UInt64(1) << UInt64(exponent),
                    UInt64(blockSize), UInt64(parallelism), UInt64(memoryLimit), key.memory, key.count)
            }
        }
        return checked(isReady && status == 1)
    }

    /// HMAC-SHA-256 of `message`; nil when the library fails.
    static func authenticationCode(_ message: SecretBytes, key: SecretBytes) -> SecretBytes? {
        let code = SecretBytes(count: 32)
        var length: UInt32 = 0
        let isMade =
            unsafe HMAC(
                EVP_sha256(), key.memory, Int32(key.count), message.memory, message.count, code.memory, &length) != nil
        return checked(isReady && isMade && length == 32) ? code : nil
    }

    /// Encrypts `secret` with AES-256-GCM and authenticates `context` with it: the ciphertext and the tag, or nil when
    /// the library fails. `nonce` is used once with a key.
    static func seal(
        _ secret: SecretBytes, under key: SecretBytes, nonce: [UInt8], context: [UInt8]
    ) -> (ciphertext: [UInt8], tag: [UInt8])? {
        var ciphertext = [UInt8](repeating: 0, count: secret.count)
        var tag = [UInt8](repeating: 0, count: tagLength)
        let isSealed = unsafe withContext(key, nonce, context, encrypts: true) { cipher in
            var count: Int32 = 0
            return unsafe EVP_CipherUpdate(cipher, &ciphertext, &count, secret.memory, Int32(secret.count)) == 1
                && count == Int32(secret.count) && EVP_CipherFinal_ex(cipher, &tag, &count) == 1
                && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, Int32(tagLength), &tag) == 1
        }
        return isSealed ? (ciphertext, tag) : nil
    }

    /// Decrypts what `seal` has made; nil when the key, the context or a byte of it is another one.
    static func open(
        _ ciphertext: [UInt8], tag: [UInt8], under key: SecretBytes, nonce: [UInt8], context: [UInt8]
    ) -> SecretBytes? {
        guard tag.count == tagLength else { return nil }
        let secret = SecretBytes(count: ciphertext.count)
        var tag = tag
        var rest = [UInt8](repeating: 0, count: tagLength)
        let isOpened = unsafe withContext(key, nonce, context, encrypts: false) { cipher in
            var count: Int32 = 0
            return unsafe EVP_CipherUpdate(cipher, secret.memory, &count, ciphertext, Int32(ciphertext.count)) == 1
                && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, Int32(tagLength), &tag) == 1
                && EVP_CipherFinal_ex(cipher, &rest, &count) == 1
        }
        return isOpened ? secret : nil
    }

    /// Runs `body` with a context of AES-256-GCM that has got key, nonce and what is authenticated besides.
    private static func withContext(
        _ key: SecretBytes, _ nonce: [UInt8], _ context: [UInt8], encrypts: Bool, _ body: (OpaquePointer) -> Bool
    ) -> Bool {
        guard isReady, key.count == 32, nonce.count == nonceLength, let cipher = unsafe EVP_CIPHER_CTX_new() else {
            return checked(false)
        }
        defer { unsafe EVP_CIPHER_CTX_free(cipher) }
        var count: Int32 = 0
        return unsafe checked(
            EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), nil, key.memory, nonce, encrypts ? 1 : 0) == 1
                && EVP_CipherUpdate(cipher, nil, &count, context, Int32(context.count)) == 1 && body(cipher))
    }

    /// Takes what has failed off the thread's queue of errors.
    private static func checked(_ isGood: Bool) -> Bool {
        if !isGood { ERR_clear_error() }
        return isGood
    }
}
