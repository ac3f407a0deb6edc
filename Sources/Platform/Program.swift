internal import CPlatform

/// A program that is run for what it writes.
public enum Program {
    /// How many of the last bytes on the standard error are kept.
    static let errorLimit = 1024

    /// How it has ended.
    public enum Ending: Equatable, Sendable {
        /// By itself, with that exit status; also when it was killed because it has written as much as there is room
        /// for.
        case exited(Int32)
        /// By that signal.
        case signal(Int32)
        /// Not in time, so it was killed.
        case late
    }

    /// What has come of it.
    public struct Outcome: Equatable, Sendable {
        /// How many bytes of its standard output there are; 0 when it was late.
        public let count: Int
        public let ending: Ending
        /// The end of what it has written to its standard error, as it is: at most 1 KiB, perhaps in the middle of a
        /// line.
        public let errors: String
    }

    /// Runs the program at the path `words[0]`, without a shell, with all of `words` as its arguments, nothing on its
    /// standard input and this process's environment; fills `bytes` with what it writes to its standard output. It
    /// waits for the end.
    ///
    /// A program that writes as much as there is room for, or does not end in time, is killed, with the processes of
    /// its group. An error means that it could not be run, or that nobody knows how it has ended.
    @_lifetime(bytes: copy bytes)
    public static func output(
        of words: [String], into bytes: inout MutableRawSpan, within limit: Duration
    ) throws(SystemError) -> Outcome {
        guard let path = words.first else { throw SystemError(code: Errno.noSuchFile, operation: "run") }
        var status: Int32 = 0
        let milliseconds = limit.wholeNanoseconds / 1_000_000
        var errors = [UInt8](repeating: 0, count: errorLimit)
        var errorCount = errorLimit
        // Safe: the copies of the strings live until the call has returned, which writes at most the spans' lengths.
        let count = unsafe withArguments(words) { arguments in
            unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe errors.withUnsafeMutableBytes { errors in
                    unsafe cplatform_program_output(
                        arguments, buffer.baseAddress!, buffer.count, errors.baseAddress!, &errorCount, milliseconds,
                        &status)
                }
            }
        }
        let text = String(decoding: errors.prefix(errorCount), as: UTF8.self)
        if count == -Int(Errno.timedOut) { return Outcome(count: 0, ending: .late, errors: text) }
        guard count >= 0 else { throw SystemError(code: Int32(-count), operation: "run", path: path) }
        return Outcome(count: count, ending: status < 0 ? .signal(-status) : .exited(status), errors: text)
    }

    /// What a signal is called: `SIGKILL`, or `signal 40` where it has no name.
    public static func name(ofSignal number: Int32) -> String {
        // Safe: the memory is static.
        guard let name = unsafe cplatform_signal_name(number) else { return "signal \(number)" }
        return unsafe "SIG" + String(cString: name)
    }

    /// How often the observer of `follow` is asked at least, in milliseconds.
    private static let lookInterval: Int32 = 250
    /// The most bytes of output that an observer gets at a time.
    private static let outputLength = 4096

    /// Runs the program at the path `words[0]` as `output` does, for as long as it takes, and gives how it has ended.
    /// `observer` gets what it writes to its standard output and error, nothing at times, and says whether it is to go
    /// on; else the program is killed with the processes of its group.
    public static func follow(_ words: [String], _ observer: ([UInt8]) -> Bool) throws(SystemError) -> Ending {
        guard let path = words.first else { throw SystemError(code: Errno.noSuchFile, operation: "run") }
        var process: Int32 = 0
        // Safe: the copies of the strings live until the call has returned.
        let input = unsafe withArguments(words) { arguments in
            Int(unsafe cplatform_program_start(arguments, &process))
        }
        guard input >= 0 else { throw SystemError(code: Int32(-input), operation: "run", path: path) }
        defer { _ = cplatform_close(Int32(input)) }
        var bytes = [UInt8](repeating: 0, count: outputLength)
        var status: Int32 = 0
        var isWriting = true
        var patience = Patience()
        while true {
            var count = isWriting ? 0 : -Int(Errno.wouldBlock)
            if isWriting {
                // Safe: the call writes at most as many bytes as there are.
                count = unsafe bytes.withUnsafeMutableBytes { buffer in
                    unsafe cplatform_program_read(Int32(input), buffer.baseAddress!, buffer.count, lookInterval)
                }
                isWriting = count != 0
            }
            let goesOn = (count >= 0 || count == -Int(Errno.wouldBlock)) && observer(Array(bytes[..<max(0, count)]))
            if count > 0, goesOn { continue }
            // Others that it has started may keep its output open.
            let ended = unsafe cplatform_program_end(process, goesOn ? 0 : 1, &status)
            if ended == -Errno.wouldBlock {
                if !isWriting { patience.pause() }
                continue
            }
            guard ended == 0 else { throw SystemError(code: -ended, operation: "run", path: path) }
            return status < 0 ? .signal(-status) : .exited(status)
        }
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
