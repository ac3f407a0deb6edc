internal import ISCSI
internal import Platform
internal import Synchronization
internal import TargetCore

// Who gets in, and to which logical units: `AccessControl` decides, portal groups and drained portals are handled here.
extension ISCSIServer {
    /// Whether the initiator may log in to what it names, through the portal of its connection. On the portal's
    /// reactor.
    func authorize(_ identity: LoginIdentity, _ connection: Connection) -> LoginAdmission {
        let request = connection.accessRequest(identity)
        let tag = connection.portal.groupTag
        var target: Target?
        if let name = identity.targetName {
            guard let named = targets[name], offers(named, in: tag) else { return .refused(.targetNotFound) }
            target = named
        }
        guard identity.sessionType == .normal, let target else {
            if let target, !access.isVisible(target, to: request) { return .refused(.targetNotFound) }
            return .granted(
                LoginGrant(targetPortalGroupTag: tag, authentication: access.discoveryAuthentication(request)))
        }
        switch access.access(request, to: target) {
        case .refused(let status): return .refused(status)
        case .moved(let address, let permanently): return .moved(address: address, permanently: permanently)
        case .granted(let authentication, let logicalUnits):
            // Last, so that only those learn of other portals who may use the target.
            if connection.portal.isDraining { return sendElsewhere(target, from: connection) }
            connection.grantedLogicalUnits = logicalUnits
            return .granted(
                LoginGrant(
                    targetPortalGroupTag: tag, targetAlias: target.alias.isEmpty ? nil : target.alias,
                    authentication: authentication))
        }
    }

    /// Whether the initiator of a session may still use its target, with the same logical units.
    func mayStay(_ session: Session, _ connection: Connection) -> Bool {
        guard let target = session.target else { return true }
        let request = connection.accessRequest(session.identity)
        guard offers(target, in: connection.portal.groupTag),
            case .granted(_, let logicalUnits) = access.access(request, to: target)
        else { return false }
        return logicalUnits === session.logicalUnits
    }

    /// Whether a portal group offers the target.
    func offers(_ target: Target, in tag: UInt16) -> Bool {
        access.portalGroupTags(of: target)?.contains(tag) ?? true
    }

    /// The tags of the portal groups that there are and that offer the target: its ports.
    func portalGroupTags(of target: Target) -> [UInt16] {
        let tags = Set(registry.withLock { $0.portals.map(\.groupTag) })
        return (access.portalGroupTags(of: target).map(tags.intersection) ?? tags).sorted()
    }

    /// Ends the sessions whose initiators may not use their target any more, or would see other logical units. To be
    /// called when the answers of `AccessControl` have changed.
    ///
    /// A session cannot be given another map while it lasts: the numbers that it uses would mean other devices.
    /// Initiators that still have access log in again by themselves.
    public func reviewAccess() {
        close(.accessWithdrawn) { record in record.connections.contains { !mayStay(record.session, $0) } }
    }

    /// The way to the target while the portal of `connection` is drained: another portal of the group, or of a group
    /// that offers the target too; else the service is not available (RFC 7143 section 11.13.5: the target is not
    /// accepting connections now).
    private func sendElsewhere(_ target: Target, from connection: Connection) -> LoginAdmission {
        let own = connection.portal
        let others = registry.withLock { $0.portals.filter { $0 !== own && !$0.isDraining } }
            .filter { offers(target, in: $0.groupTag) }
        let ordered = others.filter { $0.groupTag == own.groupTag } + others.filter { $0.groupTag != own.groupTag }
        for portal in ordered {
            guard let address = portal.socket.address.reached(through: connection.localAddress) else { continue }
            return .moved(address: address.description, permanently: false)
        }
        return .refused(.serviceUnavailable)
    }
}

extension Connection {
    /// Who asks for access.
    func accessRequest(_ identity: LoginIdentity) -> AccessRequest {
        AccessRequest(
            initiatorName: identity.initiatorName, peerAddress: peerAddress, localAddress: localAddress,
            portalGroupTag: portal.groupTag)
    }
}

extension SocketAddress {
    /// The address under which a listening socket with this one is reached by an initiator that used `local`: its own,
    /// or for a wildcard address that which the initiator used (RFC 7143 section 13.8). Nil when it is of another
    /// family.
    func reached(through local: SocketAddress) -> SocketAddress? {
        guard isWildcard else { return self }
        guard isIPv6 == local.isIPv6, let port else { return nil }
        return SocketAddress(isIPv6 ? "[\(local.host)]:\(port)" : "\(local.host):\(port)")
    }
}
