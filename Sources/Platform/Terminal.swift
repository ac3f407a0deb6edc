internal import Glibc

/// The terminal of the process.
public enum Terminal {
    /// Whether standard input is a terminal.
    public static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 }

    /// How many characters a line of standard error has, where that is a terminal; nil when it is none.
    public static var errorColumns: Int? {
        guard isatty(STDERR_FILENO) == 1 else { return nil }
        var size = winsize()
        // Safe: the request writes one `winsize`, which outlives the call.
        let status = unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size)
        return status == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Asks for a secret on the terminal, without showing what is typed; nil when there is none, or at its end of file.
    public static func readSecret(prompt: String) -> String? {
        // Safe: the function gives nil or a string that ends with a zero, in a buffer of its own; it is copied and
        // wiped at once.
        guard let line = unsafe getpass(prompt) else { return nil }
        let secret = unsafe String(cString: line)
        unsafe memset(line, 0, strlen(line))
        return secret
    }
}
