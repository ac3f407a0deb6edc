import Platform
import Resources

extension PortalAddress {
    /// Whether it stands for all addresses of its family that this machine has.
    var isForAll: Bool { SocketAddress(description)?.isWildcard == true }

    /// Whether what connects to `address` comes out at this portal of this machine.
    func takesConnections(to address: PortalAddress) -> Bool {
        guard port == address.port else { return false }
        if self == address { return true }
        guard let own = IPAddress(self.address), let other = IPAddress(address.address) else { return false }
        // Link-local addresses with zones are what they are on their links only.
        let hasZone = (self.address + address.address).contains("%")
        guard isForAll else { return !hasZone && own.unmapped == other.unmapped }
        guard own.isIPv6 == other.unmapped.isIPv6 else { return false }
        let host = other.unmapped == other ? address.address : other.unmapped.description
        return other.isLoopback
            || SocketAddress(PortalAddress(address: host, port: 0).description)?.isOnThisMachine == true
    }
}
