internal import Bytes
internal import SRP

/// The input is what a target port offers, and a login in one of its two forms, or an answer to one.
enum SRPLoginTarget {
    static func run(_ input: [UInt8]) throws(FuzzFinding) {
        var reader = FuzzReader(input)
        let flags = reader.byte()
        let maximumLength = reader.number16()
        let bytes = reader.rest()
        try SRPTarget.roundTrip(SRPLoginRequest.self, bytes)
        try SRPTarget.roundTrip(SRPLoginResponse.self, bytes)
        try SRPTarget.roundTrip(SRPLoginReject.self, bytes)
        let parsed = flags & 1 != 0 ? try privateData(bytes) : try? SRPLoginRequest(parsing: bytes.rawSpan)
        guard let login = parsed else { return }
        try require(login.maximumLength >= SRPLoginRequest.smallestMaximumLength, "a login fits its own limit")

        let offer = SRPTargetOffer(
            targetPort: flags & 2 != 0 ? login.targetPort : login.targetPort.swapped,
            maximumLength: UInt32(maximumLength), bufferFormats: flags & 4 != 0 ? .all : .direct,
            allowsMultipleChannels: flags & 8 != 0, allowsImmediateData: flags & 16 != 0)
        switch offer.rejectReason(of: login) {
        case nil:
            try require(
                login.maximumLength <= offer.maximumLength && login.bufferFormats.isSubset(of: offer.bufferFormats)
                    && (offer.allowsMultipleChannels || login.multiChannelAction == .endOthers),
                "a login that is accepted is within the offer")
        case .maximumLengthTooLarge?:
            try require(login.maximumLength > offer.maximumLength, "the length is too large")
        case .unsupportedBufferFormat?:
            try require(!login.bufferFormats.isSubset(of: offer.bufferFormats), "a format is not offered")
        case .multipleChannelsUnsupported?:
            try require(
                login.multiChannelAction == .keepOthers && !offer.allowsMultipleChannels, "it would be one of several")
        case let reason?: throw FuzzFinding(description: "the port is the right one, not \(reason)")
        }
        if let offset = offer.immediateDataOffset(of: login) {
            try require(
                offer.allowsImmediateData && login.requestsImmediateData
                    && (52..<Int(login.maximumLength)).contains(offset), "immediate data was asked for, and fits")
        }
        try names(login.initiatorPort)
    }

    /// The form for RDMA-CM has the same content as the other one.
    private static func privateData(_ bytes: [UInt8]) throws(FuzzFinding) -> SRPLoginRequest? {
        let login: SRPLoginRequest
        do throws(SRPError) {
            login = try SRPLoginRequest(parsingPrivateData: bytes.rawSpan)
        } catch {
            try require(error.remedy == .loginReject(.unspecified), "a wrong login is rejected")
            return nil
        }
        var again = [UInt8](repeating: 0xEE, count: SRPLoginRequest.privateDataLength)
        again.modifyBytes { login.encodePrivateData(into: &$0) }
        try require(
            (try? SRPLoginRequest(parsingPrivateData: again.rawSpan)) == login, "a login is kept in private data")
        try require(
            (try? SRPLoginRequest(parsing: SRPTarget.encoded(login).rawSpan)) == login,
            "both forms of a login say the same")
        return login
    }

    private static func names(_ port: SRPPortIdentifier) throws(FuzzFinding) {
        try require(SRPPortIdentifier(port.description) == port, "a port identifier is kept as text")
        try require(
            SRPPortIdentifier(transportID: port.transportID) == port, "a port identifier is kept as TransportID")
    }
}
