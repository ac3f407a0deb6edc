public import ISCSI

/// What keeps a connection from iSER although both sides use RDMA.
public enum ISERObstacle: Hashable, Sendable {
    /// RDMAExtensions did not become Yes (RFC 7145 section 6.3).
    case extensionsNotAgreed
    /// HeaderDigest did not become None (section 6.1).
    case headerDigest
    /// DataDigest did not become None (section 6.1).
    case dataDigest
}

extension NegotiatedParameters {
    /// Why a connection with these parameters cannot go over to iSER; nil when it can.
    public var obstacleToISER: ISERObstacle? {
        if !rdmaExtensions { return .extensionsNotAgreed }
        if headerDigest != .none { return .headerDigest }
        return dataDigest == .none ? nil : .dataDigest
    }

    /// The parameters as they are in force on iSER at the side `role`: TargetRecvDataSegmentLength and
    /// InitiatorRecvDataSegmentLength take the place of both MaxRecvDataSegmentLength, whatever was declared (RFC 7145
    /// section 6.2).
    public func usingISER(as role: ParameterNegotiation.Role) -> Self {
        var parameters = self
        let isTarget = role == .target
        parameters.maxRecvDataSegmentLength =
            isTarget ? targetRecvDataSegmentLength : initiatorRecvDataSegmentLength
        parameters.maxSendDataSegmentLength =
            isTarget ? initiatorRecvDataSegmentLength : targetRecvDataSegmentLength
        return parameters
    }
}
