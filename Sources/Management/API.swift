public import struct Foundation.Date

/// The state of the daemon.
public struct DaemonStatus: Codable, Sendable {
    /// The version of Carousel.
    public var version: String
    /// The daemon's process ID.
    public var processID: Int
    /// The absolute path of the state folder.
    public var stateFolder: String
    /// When the daemon started to serve.
    public var started: Date
    /// Where it listens, as `address:port`.
    public var portals: [String]
    /// How many disks there are.
    public var disks: Int
    /// How many libraries there are.
    public var libraries: Int
    /// How many cartridges there are.
    public var cartridges: Int
    /// How many sessions are logged in.
    public var sessions: Int
    /// What is not served, or not all of it, or has lost written data, and why; empty when all is well.
    public var problems: [String]
    /// What works as it was asked for, and may not be what is wanted: targets that are open to other machines, or that
    /// nobody can reach.
    public var warnings: [String]
    /// How many logins were refused since the daemon started.
    public var refusedLogins: Int
    /// How many requests were refused since then, for they did not show who asks.
    public var refusedRequests: Int
    /// Images, libraries and cartridges in the state folder that the catalog does not know; nothing serves or removes
    /// them.
    public var unclaimed: [String]
}
