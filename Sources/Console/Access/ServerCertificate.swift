#if TLS
    import Foundation
    import Logging
    import Management
    import NIOSSL
    import Platform
    import Resources

    /// The daemon's certificate and key: connections that are made from now on get those of the last reading.
    final class ServerCertificate: Sendable {
        private let access: NetworkAccess
        private let present: Lock<NIOSSLContext>

        /// What new connections are encrypted by.
        var context: NIOSSLContext { present.withLock { $0 } }

        init(_ access: NetworkAccess) throws(ManagementError) {
            self.access = access
            present = Lock(try Self.read(access))
        }

        /// Reads the files again; when they are no good, what was read before stays in force.
        func reload() throws(ManagementError) {
            let new = try Self.read(access)
            present.withLock { $0 = new }
        }

        private static func read(_ access: NetworkAccess) throws(ManagementError) -> NIOSSLContext {
            let chain: [NIOSSLCertificate]
            do {
                chain = try NIOSSLCertificate.fromPEMFile(access.certificate)
            } catch {
                throw ManagementError(
                    .damaged,
                    "\(access.certificate) cannot be read as a certificate; give one in PEM that this user may read")
            }
            // Of the file itself: what links to it may be read by all, always.
            let mode = (try? FileStatus.of(access.key))?.permissions ?? 0
            guard mode & 0o007 == 0 else {
                throw ManagementError(
                    .damaged, "others may read the private key in \(access.key); run 'chmod o= \(access.key)'")
            }
            let key: NIOSSLPrivateKey
            do {
                key = try NIOSSLPrivateKey(file: access.key, format: .pem)
            } catch {
                throw ManagementError(
                    .damaged,
                    "\(access.key) cannot be read as a private key; give one in PEM, without a pass phrase, that this "
                        + "user may read")
            }
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            do {
                return try NIOSSLContext(configuration: configuration)
            } catch {
                throw ManagementError(
                    .damaged, "the key in \(access.key) is not that of the certificate in \(access.certificate)")
            }
        }
    }
#endif
