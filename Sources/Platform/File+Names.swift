internal import Glibc

extension File {
    /// Gives the file at `path` the name `newPath`, in place of the file that has it: others see the one or the other,
    /// never none. Durable when the directory was synchronised.
    public static func rename(_ path: String, to newPath: String) throws(SystemError) {
        // Safe: both are strings of Swift, which end with a zero and live until the call returns.
        let status = unsafe Glibc.rename(path, newPath)
        if status != 0 { throw SystemError(code: errno, operation: "rename", path: path) }
    }
}
