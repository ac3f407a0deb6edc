internal import Bytes
internal import CZstd

/// The calls of libzstd: what compresses and what decompresses one frame at a time. Its memory is bounded by the level,
/// about a megabyte, and is kept from call to call. Used by one thread at a time.
@safe final class ZstdContext {
    /// The levels that an image may have; higher ones than 19 need memory for much longer content than an extent.
    static let levels = 1...19
    /// The first four bytes of a frame. The library also reads frames of versions before the first one, and frames to
    /// be skipped; none of these is right here.
    private static let magic: UInt32 = 0x28B5_2FFD

    /// Safe: made in init, gone in deinit.
    private let compressor: OpaquePointer
    private let decompressor: OpaquePointer

    /// Nil when there is no memory.
    init?() {
        guard let compressor = unsafe ZSTD_createCCtx() else { return nil }
        guard let decompressor = unsafe ZSTD_createDCtx() else {
            unsafe ZSTD_freeCCtx(compressor)
            return nil
        }
        unsafe self.compressor = compressor
        unsafe self.decompressor = decompressor
    }

    deinit {
        unsafe ZSTD_freeCCtx(compressor)
        unsafe ZSTD_freeDCtx(decompressor)
    }

    /// Compresses `source` to one frame in `target`; its length, nil when it has no room there.
    @_lifetime(target: copy target)
    func compress(_ source: RawSpan, into target: inout MutableRawSpan, level: Int32) -> Int? {
        let length = unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe ZSTD_compressCCtx(
                    compressor, target.baseAddress, target.count, source.baseAddress, source.count, level)
            }
        }
        return ZSTD_isError(length) == 0 ? length : nil
    }

    /// Fills `target` with what a frame has; false when `source` is not one frame of so many bytes. Nothing is written
    /// behind `target`, whatever the frame says, and no memory is asked for.
    @_lifetime(target: copy target)
    func decompress(_ source: RawSpan, into target: inout MutableRawSpan) -> Bool {
        guard source.byteCount >= 4, source.loadBE32(at: 0) == Self.magic else {
            return false
        }
        return unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                guard unsafe ZSTD_getFrameContentSize(source.baseAddress, source.count) == UInt64(target.count),
                    unsafe ZSTD_findFrameCompressedSize(source.baseAddress, source.count) == source.count
                else { return false }
                let length = unsafe ZSTD_decompressDCtx(
                    decompressor, target.baseAddress, target.count, source.baseAddress, source.count)
                return length == target.count
            }
        }
    }
}
