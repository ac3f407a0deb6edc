import ArgumentParser
import Console
import Foundation
import Platform
import Resources

/// Where `carousel serve` offers the API beside the socket in its state folder.
struct NetworkOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Answer commands on this address and port too, encrypted, for who has a token; see 'carousel token'.",
            valueName: "addr:port", visibility: RemoteOptions.visibility))
    var control: String?

    @Option(
        help: ArgumentHelp(
            "The certificate for that, with those that vouch for it, in PEM; SIGHUP has it read again.",
            valueName: "file", visibility: RemoteOptions.visibility),
        completion: .file())
    var certificate: String?

    @Option(
        help: ArgumentHelp(
            "The private key of the certificate, in PEM.", valueName: "file", visibility: RemoteOptions.visibility),
        completion: .file())
    var key: String?

    /// What was asked for; nil when nothing was.
    var access: NetworkAccess? {
        get throws(CommandFailure) {
            guard control != nil || certificate != nil || key != nil else { return nil }
            guard NetworkAccess.isAvailable else { throw CommandFailure(.usage, NetworkAccess.notBuilt.message) }
            guard let control, let certificate, let key else {
                throw CommandFailure(.usage, "--control, --certificate and --key belong together; give all three")
            }
            guard let address = SocketAddress(control), address.port != nil else {
                throw CommandFailure(
                    .usage, "'\(control)' is no address to listen on; write one with a port, as in 127.0.0.1:8443")
            }
            return NetworkAccess(address: address, certificate: certificate, key: key)
        }
    }
}

/// Which daemon on a network to ask, instead of that of a state folder.
struct RemoteOptions: ParsableArguments {
    static let visibility: ArgumentVisibility = NetworkAccess.isAvailable ? .default : .hidden
    /// The most bytes of a file with a token: a wrong file is not read to its end.
    private static let maximumLength = 4096

    @Option(
        help: ArgumentHelp(
            "Ask the daemon there instead, with a token; else $CAROUSEL_DAEMON.", valueName: "https://host:port",
            visibility: visibility))
    var daemon: String?

    @Option(
        help: ArgumentHelp(
            "The file whose first line is the token; else $CAROUSEL_TOKEN_FILE.", valueName: "file",
            visibility: visibility),
        completion: .file())
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "The file of the certificates to trust, in PEM; those of the system when left out.", valueName: "file",
            visibility: visibility),
        completion: .file())
    var ca: String?

    /// The daemon to ask on a network; nil when none was named. `folder` is the state folder that was named: it counts
    /// more than the environment.
    func server(
        insteadOf folder: String?, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(CommandFailure) -> RemoteServer? {
        let variable = environment["CAROUSEL_DAEMON"].flatMap { $0.isEmpty ? nil : $0 }
        guard let url = daemon ?? (folder == nil ? variable : nil) else {
            guard tokenFile == nil, ca == nil else {
                throw CommandFailure(
                    .usage, "--token-file and --ca are for a daemon that --daemon names; give that too")
            }
            return nil
        }
        guard daemon == nil || folder == nil else {
            throw CommandFailure(.usage, "--daemon and --state name two daemons; give one of them")
        }
        guard NetworkAccess.isAvailable else { throw CommandFailure(.usage, NetworkAccess.notBuilt.message) }
        guard let file = tokenFile ?? environment["CAROUSEL_TOKEN_FILE"], !file.isEmpty else {
            throw CommandFailure(
                .usage, "\(url) is asked with a token; name the file that it is in with --token-file")
        }
        let token = try Self.token(in: file)
        return try parsing { () throws(ManagementError) in
            try RemoteServer(url: url, token: token, authorities: ca)
        }
    }

    private static func token(in path: String) throws(CommandFailure) -> String {
        let mode: UInt32
        let data: Data
        do {
            // Of the file itself: what links to it may be read by all, always.
            mode = try FileStatus.of(path).permissions
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            data = try file.read(upToCount: maximumLength) ?? Data()
        } catch {
            throw CommandFailure(.usage, "\(path) cannot be read; give a file whose first line is the token")
        }
        guard mode & 0o077 == 0 else {
            throw CommandFailure(.usage, "others may read the token in \(path); run 'chmod 600 \(path)'")
        }
        let line = String(decoding: data.prefix { $0 != 0x0A }, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        guard !line.isEmpty, line.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(.usage, "the first line of \(path) is no token; put there what 'token create' shows")
        }
        return line
    }
}
