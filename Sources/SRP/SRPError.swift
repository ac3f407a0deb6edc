/// Why an information unit cannot be understood. `remedy` says what its receiver does about it.
public enum SRPError: Error, Hashable, Sendable {
    // MARK: Any information unit

    /// There is not a single byte.
    case empty
    /// No standard defines this first byte.
    case unknownType(UInt8)
    /// The information unit is of a type that does not belong here.
    case unexpectedType(SRPInformationUnitType, expected: SRPInformationUnitType)
    /// The message ends before the fixed part of the information unit does, or before the data whose length it says;
    /// lengths are in bytes.
    case tooShort(SRPInformationUnitType, length: Int, needed: Int)

    // MARK: SRP_LOGIN_REQ

    /// REQUESTED MAXIMUM INITIATOR TO TARGET IU LENGTH is below `SRPLoginRequest.smallestMaximumLength`.
    case maximumLengthTooSmall(UInt32)
    /// MULTI-CHANNEL ACTION is reserved.
    case reservedMultiChannelAction(UInt8)

    // MARK: SRP_CMD

    /// DATA-OUT BUFFER DESCRIPTOR FORMAT is reserved, or was not agreed on at login.
    case unsupportedDataOutFormat(UInt8)
    /// DATA-IN BUFFER DESCRIPTOR FORMAT is reserved, or was not agreed on at login.
    case unsupportedDataInFormat(UInt8)
    /// TASK ATTRIBUTE is reserved.
    case reservedTaskAttribute(UInt8)
    /// Additional CDB and descriptors end behind the information unit, or behind the start of immediate data; both are
    /// offsets in bytes.
    case descriptorsDoNotFit(end: Int, limit: Int)
    /// The length of an indirect descriptor table, in bytes, is no multiple of a descriptor's.
    case tableLength(UInt32)
    /// The information unit has more descriptors than the table that they are the beginning of.
    case listLongerThanTable(list: Int, table: Int)
    /// The descriptors of an indirect buffer have room for fewer bytes than its total length.
    case listTooShort(bytes: Int, total: UInt32)
    /// Immediate data ends behind the information unit; both are offsets in bytes.
    case immediateDataDoesNotFit(end: Int, limit: Int)

    // MARK: SRP_RSP

    /// The residual of the data-out or data-in buffer is said to be both over and under.
    case contradictoryResidual
    /// RESPONSE DATA LIST LENGTH, in bytes, has no room for a response code.
    case responseDataLength(UInt32)

    /// What the receiver does. Where the error does not tell whether that is a target port or an initiator port, which
    /// is so for `empty` and `unknownType`, it is what a target port does; an initiator port logs out.
    public var remedy: SRPRemedy {
        switch self {
        case .empty, .unknownType: .targetLogout(.invalidType)
        case .unexpectedType(_, let expected) where expected == .loginRequest: .loginReject(.unspecified)
        case .unexpectedType(_, let expected): expected.isTargetType ? .initiatorLogout : .targetLogout(.invalidType)
        case .tooShort(let type, _, _):
            if type == .loginRequest {
                .loginReject(.unspecified)
            } else {
                type.isTargetType ? .initiatorLogout : .targetLogout(.invalidLength)
            }
        case .maximumLengthTooSmall, .reservedMultiChannelAction: .loginReject(.unspecified)
        case .unsupportedDataOutFormat: .targetLogout(.unsupportedDataOutFormat)
        case .unsupportedDataInFormat: .targetLogout(.unsupportedDataInFormat)
        case .reservedTaskAttribute, .descriptorsDoNotFit, .tableLength, .listLongerThanTable, .listTooShort,
            .immediateDataDoesNotFit:
            .response(.requestFieldsInvalid)
        case .contradictoryResidual, .responseDataLength: .initiatorLogout
        }
    }
}

/// What the receiver of an information unit that cannot be understood does.
public enum SRPRemedy: Hashable, Sendable {
    /// The target port answers the login with SRP_LOGIN_REJ (SRP r16a clause 6.4).
    case loginReject(SRPLoginRejectReason)
    /// The target port answers the request with SRP_RSP and this response code (clause 6.9); the channel goes on.
    case response(SRPResponseCode)
    /// The target port sends SRP_T_LOGOUT and disconnects (clause 6.6).
    case targetLogout(SRPTargetLogoutReason)
    /// The initiator port sends SRP_I_LOGOUT and disconnects (clause 6.5).
    case initiatorLogout
}
