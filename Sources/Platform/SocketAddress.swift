internal import CPlatform

/// The address of a stream socket: numeric IPv4 or IPv6 host and port, or the path of a Unix socket.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// The numeric host in the system's canonical form without brackets, or the path.
    public let host: String
    /// The TCP port, 0 for "any"; nil for a Unix socket.
    public let port: UInt16?

    /// The address of the Unix socket at `path`.
    public init(path: String) {
        host = path
        port = nil
    }

    /// `text` as an address: `127.0.0.1:3260`, `[::1]:3260`, or, with `defaultPort`, the same without the port; an
    /// absolute path is a Unix socket. Nil when it is none of these; names are not looked up.
    public init?(_ text: String, defaultPort: UInt16? = nil) {
        if text.hasPrefix("/") {
            self.init(path: text)
            return
        }
        guard let (host, portText) = Self.split(text) else { return nil }
        guard unsafe host.withCString({ unsafe cplatform_address_family($0) }) > 0 else { return nil }
        if let portText {
            guard portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(portText) else {
                return nil
            }
            self.init(host: host, port: port)
        } else if let defaultPort {
            self.init(host: host, port: defaultPort)
        } else {
            return nil
        }
    }

    init(host: String, port: UInt16?) {
        self.host = host
        self.port = port
    }

    /// The host without brackets and the port's text, if there is one.
    private static func split(_ text: String) -> (host: String, port: Substring?)? {
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard host.contains(":") else { return nil }
            if rest.isEmpty { return (String(host), nil) }
            return rest.hasPrefix(":") ? (String(host), rest.dropFirst()) : nil
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return (String(parts[0]), nil)
        case 2: return (String(parts[0]), parts[1])
        default: return (text, nil)  // a bare IPv6 address
        }
    }

    public var isIPv6: Bool { port != nil && host.contains(":") }

    /// Whether it stands for all local addresses of its family.
    public var isWildcard: Bool { host == "0.0.0.0" || host == "::" }

    /// Whether a socket could listen there now; nothing listens.
    public func checkIsFree() throws(SystemError) {
        _ = try check(
            unsafe host.withCString { unsafe cplatform_try_bind($0, portOrPath) }, "listen on", description)
    }

    /// Whether its host is an address of this machine, other than 127.0.0.2 and what else is on the loopback interface
    /// without being one of its addresses.
    public var isOnThisMachine: Bool { unsafe host.withCString { unsafe cplatform_is_local($0) } == 1 }

    /// The form that `init(_:)` reads and that TargetAddress carries (RFC 7143 section 13.8).
    public var description: String {
        guard let port else { return host }
        return isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The port as the C functions take it.
    var portOrPath: Int32 { port.map(Int32.init) ?? -1 }

    /// The own or the peer's address of a socket; nil when it has none (any more).
    static func of(_ fileDescriptor: Int32, peer: Bool) -> SocketAddress? {
        var port: Int32 = 0
        var text = [CChar](repeating: 0, count: 128)
        let capacity = text.count
        let status = unsafe text.withUnsafeMutableBufferPointer { buffer in
            // Safe: the buffer holds `capacity` characters and the call ends them with a zero.
            unsafe cplatform_socket_name(fileDescriptor, peer ? 1 : 0, buffer.baseAddress!, capacity, &port)
        }
        guard status == 0 else { return nil }
        let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return SocketAddress(host: host, port: port < 0 ? nil : UInt16(port))
    }
}
