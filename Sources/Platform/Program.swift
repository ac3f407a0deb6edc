internal import CPlatform

/// A program that is run for what it writes.
public enum Program {
    /// Runs the program at the path `words[0]`, without a shell, with all of `words` as its arguments, nothing on its
    /// standard input and this process's environment; fills `bytes` with what it writes to its standard output, and
    /// gives how much that is and its exit status. It waits for the end.
    ///
    /// A program that writes as much as there is room for, or does not end in time, is killed, with the processes of
    /// its group: then the status is 0, or the error ETIMEDOUT.
    @_lifetime(bytes: copy bytes)
    public static func output(
        of words: [String], into bytes: inout MutableRawSpan, within limit: Duration
    ) throws(SystemError) -> (count: Int, status: Int32) {
        guard let path = words.first else { throw SystemError(code: Errno.noSuchFile, operation: "run") }
        var status: Int32 = 0
        let milliseconds = limit.wholeNanoseconds / 1_000_000
        // Safe: the copies of the strings live until the call has returned, which writes at most the span's length.
        let count = unsafe withArguments(words) { arguments in
            unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe cplatform_program_output(arguments, buffer.baseAddress!, buffer.count, milliseconds, &status)
            }
        }
        guard count >= 0 else { throw SystemError(code: Int32(-count), operation: "run", path: path) }
        return (count, status)
    }

    /// Calls `body` with `words` as C has them, ended by a null pointer.
    private static func withArguments(
        _ words: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int
    ) -> Int {
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe []
        defer {
            for index in unsafe arguments.indices { unsafe arguments[index]?.deallocate() }
        }
        for word in words {
            let bytes = Array(word.utf8CString)
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            for (index, byte) in bytes.enumerated() { unsafe copy[index] = byte }
            unsafe arguments.append(copy)
        }
        unsafe arguments.append(nil)
        return unsafe arguments.withUnsafeBufferPointer { unsafe body($0.baseAddress!) }
    }
}
