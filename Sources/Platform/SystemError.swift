internal import Glibc

/// A system call that failed: which, on what, and the error number.
///
/// It reads as a sentence: "listen on 0.0.0.0:3260: Address already in use".
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The error number (`errno`), positive.
    public let code: Int32
    /// What was tried, in the words of a user: "open", "listen on".
    public let operation: StaticString
    /// The file or address it was tried on, if there is one.
    public let path: String?

    /// The failure of `operation` on `path` with error number `code`.
    public init(code: Int32, operation: StaticString, path: String? = nil) {
        self.code = code
        self.operation = operation
        self.path = path
    }

    /// The system's text for the error number.
    public var reason: String {
        // Safe: strerror gives a string that stays valid until the thread's next call, and it is copied at once.
        unsafe String(cString: strerror(code))
    }

    /// The sentence: operation, object, reason.
    public var description: String {
        "\(operation)\(path.map { " " + $0 } ?? ""): \(reason)"
    }

    /// Whether both are the same failure of the same operation on the same object.
    public static func == (left: SystemError, right: SystemError) -> Bool {
        left.code == right.code && left.path == right.path && left.operation.description == right.operation.description
    }
}

/// The value of a C call that gives a negated errno on failure.
func check(_ value: Int32, _ operation: StaticString, _ path: @autoclosure () -> String? = nil) throws(SystemError)
    -> Int32
{
    if value < 0 { throw SystemError(code: -value, operation: operation, path: path()) }
    return value
}
