internal import Glibc

/// Standard input, output and error of the process.
public enum StandardStreams {
    /// Takes the numbers of those that are closed, so that no file gets them which would then be read or written by
    /// mistake. Reading and writing them fails.
    public static func reserve() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
            // The lowest number that is free, which is this one. Safe: the name is a constant.
            _ = unsafe open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// Whether nobody can read any more what is written to standard output: the other end of its pipe was closed.
    public static var outputHasNoReader: Bool { hasNoReader(STDOUT_FILENO) }

    /// The same of another pipe that is open, as the system numbers it.
    static func hasNoReader(_ fileDescriptor: Int32) -> Bool {
        var output = pollfd(fd: fileDescriptor, events: 0, revents: 0)
        // Safe: the call uses the one structure.
        return unsafe poll(&output, 1, 0) == 1 && output.revents & Int16(POLLERR) != 0
    }

    /// Writes all of `bytes` to standard output, and waits where that does not take more.
    public static func write(_ bytes: [UInt8]) throws(SystemError) {
        try write(bytes, to: STDOUT_FILENO, "write to standard output")
    }

    /// The same to another stream, socket or pipe that is open, as the system numbers it.
    public static func write(
        _ bytes: [UInt8], to fileDescriptor: Int32, _ operation: StaticString = "write"
    ) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { bytes in
                // Safe: the bytes outlive the call, which reads no more than there are.
                unsafe Glibc.write(fileDescriptor, bytes.baseAddress, bytes.count)
            }
            guard count < 0 else {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: break
            case EAGAIN:
                // Whoever shares it has made it one that does not wait. Safe: the call uses the one structure.
                var output = pollfd(fd: fileDescriptor, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&output, 1, -1)
            case let code: throw SystemError(code: code, operation: operation)
            }
        }
    }
}
