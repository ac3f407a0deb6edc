internal import Glibc

extension Terminal {
    /// Whether standard output is a terminal.
    public static var isOutput: Bool { isatty(STDOUT_FILENO) == 1 }

    /// The size of the terminal at standard output; nil when it is none, or says nothing.
    public static var size: (columns: Int, rows: Int)? {
        var size = winsize()
        // Safe: the call fills in the structure that it gets the address of.
        guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else {
            return nil
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }
}

/// The keys of the terminal at standard input, one by one and unseen, Ctrl-C among them; `restore` gives the terminal
/// back as it was.
public final class TerminalKeys {
    /// The byte of Ctrl-C.
    public static let interrupt: UInt8 = 3

    private var former = termios()

    /// Nil when standard input is no terminal.
    public init?() {
        // Safe, as below: the calls fill in, or read, the structure that they get the address of.
        guard isatty(STDIN_FILENO) == 1, unsafe tcgetattr(STDIN_FILENO, &former) == 0 else { return nil }
        var keys = former
        keys.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        guard unsafe tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0 else { return nil }
    }

    /// The next key that was pressed; nil when none was, without waiting.
    public func next() -> UInt8? {
        var ready = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&ready, 1, 0) == 1, ready.revents & Int16(POLLIN) != 0 else { return nil }
        var key: UInt8 = 0
        return unsafe read(STDIN_FILENO, &key, 1) == 1 ? key : nil
    }

    /// Makes the terminal what it was.
    public func restore() {
        _ = unsafe tcsetattr(STDIN_FILENO, TCSANOW, &former)
    }
}
