internal import ISCSI
internal import Initiator

/// How a test logs in.
struct LoginPlan {
    /// The default values of the keys that are negotiated (RFC 7143 section 13).
    static let defaults: [String: String] = [
        "HeaderDigest": "None", "DataDigest": "None", "MaxConnections": "1", "InitialR2T": "Yes",
        "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "8192", "MaxBurstLength": "262144",
        "FirstBurstLength": "65536", "DefaultTime2Wait": "2", "DefaultTime2Retain": "20", "MaxOutstandingR2T": "1",
        "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes", "ErrorRecoveryLevel": "0",
        "TaskReporting": "RFC3720", "iSCSIProtocolLevel": "1",
    ]

    /// The keys whose value the target only hears of.
    static let declared: Set<String> = [
        "MaxRecvDataSegmentLength", "InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "TargetAlias",
        "TargetAddress", "TargetPortalGroupTag",
    ]

    var initiatorName = InitiatorSettings.defaultName
    /// Nil names the target that is tested; empty names none.
    var targetName: String?
    var sessionType = "Normal"
    var initiatorSessionID = InitiatorSessionID.random()
    var targetSessionHandle: UInt16 = 0
    var connectionID: UInt16 = 0
    var firstCmdSN = SequenceNumber(1)
    /// The keys of the operational stage, in order. With all of them in the offer, nothing is left for the target to
    /// offer.
    var offers: [TextParameter] = [
        TextParameter("HeaderDigest", "None"), TextParameter("DataDigest", "None"),
        TextParameter("MaxRecvDataSegmentLength", "65536"), TextParameter("InitialR2T", "No"),
        TextParameter("ImmediateData", "Yes"), TextParameter("MaxBurstLength", "262144"),
        TextParameter("FirstBurstLength", "65536"), TextParameter("MaxConnections", "1"),
        TextParameter("DefaultTime2Wait", "0"), TextParameter("DefaultTime2Retain", "0"),
        TextParameter("MaxOutstandingR2T", "1"), TextParameter("DataPDUInOrder", "Yes"),
        TextParameter("DataSequenceInOrder", "Yes"), TextParameter("ErrorRecoveryLevel", "0"),
    ]

    /// The usual login to a normal session.
    init() {}

    /// The usual login with these offers in place of the usual ones.
    init(_ offers: KeyValuePairs<String, String>) {
        for (key, value) in offers { offer(key, value) }
    }

    /// A login in which every write waits for an R2T.
    static var solicited: LoginPlan { LoginPlan(["InitialR2T": "Yes", "ImmediateData": "No"]) }

    /// A login to a discovery session.
    static var discovery: LoginPlan {
        var plan = LoginPlan()
        plan.sessionType = "Discovery"
        plan.targetName = ""
        plan.offers = [TextParameter("MaxRecvDataSegmentLength", "65536")]
        return plan
    }

    /// Offers `value` for `key`, in its place when it is there.
    mutating func offer(_ key: String, _ value: String) {
        if let index = offers.firstIndex(where: { $0.key == key }) {
            offers[index].value = value
        } else {
            offers.append(TextParameter(key, value))
        }
    }

    func offered(_ key: String) -> String? { offers.first { $0.key == key }?.value }

    /// Those of `offers` that a further connection of a session may make: what concerns the connection alone.
    static func connectionOffers(_ offers: [TextParameter]) -> [TextParameter] {
        offers.filter { ["HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength"].contains($0.key) }
    }

    /// The names and the kind of session: what the first Login Request says.
    func identity(_ target: ConformanceTarget) -> [TextParameter] {
        var text = [TextParameter("InitiatorName", initiatorName), TextParameter("SessionType", sessionType)]
        let name = targetName ?? target.targetName
        if !name.isEmpty { text.append(TextParameter("TargetName", name)) }
        return text
    }
}

/// What a login led to: the offers and the answers to them.
struct Negotiated {
    /// What this side offered.
    var offers: [TextParameter] = []
    /// What the target said, in order.
    var answers: [TextParameter] = []

    /// Answers that are no value.
    static let constants: Set<String> = ["Reject", "Irrelevant", "NotUnderstood"]

    /// The target's answer, whatever it is.
    func answer(_ key: String) -> String? { answers.first { $0.key == key }?.value }

    /// The value in force. A boolean's answer may be left out where the offer decides (section 6.2.2).
    func value(_ key: String) -> String? {
        if let answer = answer(key), !Self.constants.contains(answer) { return answer }
        if answer(key) == nil, let offer = offers.first(where: { $0.key == key })?.value {
            let isOr = ["InitialR2T", "DataPDUInOrder", "DataSequenceInOrder"].contains(key)
            if isOr && offer == "Yes" || key == "ImmediateData" && offer == "No" { return offer }
        }
        return LoginPlan.defaults[key]
    }

    /// The value in force as a number.
    func number(_ key: String) -> Int? { value(key).flatMap { TextCodec.number($0) }.flatMap { Int(exactly: $0) } }

    /// The value in force as a boolean.
    func flag(_ key: String) -> Bool { value(key) == "Yes" }

    /// The longest data segment that the target takes.
    var targetMaxRecvDataSegmentLength: Int { number("MaxRecvDataSegmentLength") ?? 8192 }

    /// The longest data segment that this side takes.
    var ownMaxRecvDataSegmentLength: Int {
        offers.first { $0.key == "MaxRecvDataSegmentLength" }.flatMap { Int($0.value) } ?? 8192
    }
}
