public import ISCSI
public import Platform
public import SCSI

/// What is tested, and what the suite may do to it.
public struct ConformanceTarget: Sendable {
    public var portal: SocketAddress
    public var targetName: String
    /// The logical unit that commands go to.
    public var logicalUnitNumber = LogicalUnitNumber(0)
    /// The initiator's CHAP name and secret; nil logs in without authentication.
    public var credential: CHAPCredential?
    /// The target's CHAP name and secret, for mutual CHAP.
    public var mutualCredential: CHAPCredential?
    /// Whether tests may overwrite data on the logical unit and reset the target.
    public var allowsDataLoss = false
    /// Whether tests may destroy all data on the logical unit, by SANITIZE and FORMAT UNIT, where they may overwrite
    /// some.
    public var allowsErasure = false
    /// How long an answer may take.
    public var answerLimit = Duration.seconds(3)
    /// How long a test may take.
    public var testLimit = Duration.seconds(20)
    /// How long to listen for what must not come. A ping that must be answered follows.
    public var silence = Duration.milliseconds(60)

    public init(portal: SocketAddress, targetName: String) {
        self.portal = portal
        self.targetName = targetName
    }
}
