/// A promise that Carousel did not keep for some input.
public struct FuzzFinding: Error, CustomStringConvertible {
    /// What was promised.
    public let description: String
}

/// The parts of Carousel that take bytes from others, each as a function of an input that must end without a trap and
/// keep what it promises. libFuzzer calls them (`Tools/fuzz`), and so does a unit test with every file of `Corpora`.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// Headers of every opcode and additional header segments: what was parsed encodes to the same again.
    case header
    /// The framer, with digests: a stream gives the same PDUs however it is cut.
    case framing
    /// Text values, names, and CHAP exchanges.
    case chap
    /// Logins whose requests and texts are the input's.
    case loginText = "login-text"
    /// Text requests in full feature phase, SendTargets among them.
    case text
    /// A whole connection to a server, as a stream of bytes.
    case stream
    /// Sessions with a server, as a program: logins, PDUs of all kinds with right lengths and numbers or wrong ones, on
    /// several connections.
    case session
    /// Commands and their data for a disk, a tape drive and a library.
    case cdb
    /// Information units of SRP, with tables of descriptors that are fetched.
    case srp
    /// Logins of SRP in both forms, and their answers.
    case srpLogin = "srp-login"
    /// Headers of iSER with the PDUs behind them, and private data of connections.
    case iser

    /// Runs the target once. A promise that was not kept is thrown; anything else that is wrong ends the process.
    public func run(_ input: [UInt8]) throws(FuzzFinding) {
        switch self {
        case .header: try HeaderTarget.run(input)
        case .framing: try FramingTarget.run(input)
        case .chap: try CHAPTarget.run(input)
        case .loginText: try LoginTarget.run(input)
        case .text: try TextTarget.run(input)
        case .stream: try StreamTarget.run(input)
        case .session: try SessionTarget.run(input)
        case .cdb: try CommandTarget.run(input)
        case .srp: try SRPTarget.run(input)
        case .srpLogin: try SRPLoginTarget.run(input)
        case .iser: try ISERTarget.run(input)
        }
    }
}

/// Throws when `condition` does not hold.
func require(_ condition: Bool, _ promise: @autoclosure () -> String) throws(FuzzFinding) {
    guard condition else { throw FuzzFinding(description: promise()) }
}

/// Takes an input apart from its start; beyond its end there are zeros.
struct FuzzReader {
    private let input: [UInt8]
    private var offset = 0

    init(_ input: [UInt8]) { self.input = input }

    var isAtEnd: Bool { offset >= input.count }

    mutating func byte() -> UInt8 {
        guard offset < input.count else { return 0 }
        defer { offset += 1 }
        return input[offset]
    }

    mutating func number16() -> Int { Int(byte()) << 8 | Int(byte()) }

    mutating func number32() -> UInt32 { UInt32(number16()) << 16 | UInt32(number16()) }

    /// At most `count` bytes.
    mutating func bytes(_ count: Int) -> [UInt8] {
        let end = min(input.count, offset + count)
        defer { offset = end }
        return Array(input[offset..<end])
    }

    /// All that is left.
    mutating func rest() -> [UInt8] { bytes(input.count) }
}
