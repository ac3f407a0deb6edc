public import Resources

extension Disk.Spec {
    /// A disk of that format, for tests of what is so with raw ones only.
    public static func raw(size: Int64, blockSize: Int = 512) -> Disk.Spec {
        var spec = Disk.Spec(size: size, blockSize: blockSize)
        spec.format = .raw
        return spec
    }
}
