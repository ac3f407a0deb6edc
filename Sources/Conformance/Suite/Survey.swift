internal import Bytes
internal import ISCSI
internal import Platform
internal import SCSI

/// What a target offers, determined before the first test.
struct Survey: Sendable {
    /// The blocks that a disk must have for the tests that read and write.
    static let minimumBlockCount = 4096
    /// The most block bytes that the tests can work with.
    static let maximumBlockLength = 4096

    /// The most that the target grants.
    private(set) var errorRecoveryLevel = 0
    private(set) var maxConnections = 1
    private(set) var hasHeaderDigest = false
    private(set) var hasDataDigest = false
    private(set) var protocolLevel = 0
    private(set) var maxRecvDataSegmentLength = 8192
    private(set) var commandWindow = 0
    private(set) var deviceType: UInt8 = 0x1F
    private(set) var blockLength = 0
    private(set) var blockCount = 0
    private(set) var secondDisk: LogicalUnitNumber?
    /// WP: writes are refused.
    private(set) var isWriteProtected = false

    /// Asks the target.
    init(of target: ConformanceTarget) throws(ConformanceSuite.Failure) {
        do {
            try ask(Bench(target: target, survey: self))
        } catch let end as TestEnd {
            switch end {
            case .failed(let reason), .skipped(let reason), .inconclusive(let reason):
                throw .unusable("the target cannot be tested: \(reason)")
            }
        } catch {
            throw .unusable("the target cannot be tested: \(error)")
        }
    }

    private mutating func ask(_ bench: Bench) throws {
        defer { bench.end() }
        let plain = try bench.logIn()
        commandWindow = plain.session.expCmdSN.distance(to: plain.session.maxCmdSN) + 1
        maxRecvDataSegmentLength = plain.negotiated.targetMaxRecvDataSegmentLength
        try plain.clearUnitAttentions(bench.target.logicalUnitNumber)
        let inquiry = try plain.run(.inquiry(allocationLength: 36))
        deviceType = (inquiry.dataIn.first ?? 0x1F) & 0x1F
        (blockLength, blockCount) = try Self.capacity(plain, bench.target.logicalUnitNumber)
        let mode = try plain.run(.reading([OperationCode.modeSense6, 0x08, 0x3F, 0, 255, 0], 255))
        isWriteProtected = deviceType == 0 && mode.isGood && mode.dataIn.count >= 4 && mode.dataIn[2] & 0x80 != 0
        secondDisk = try otherUnits(plain, bench.target.logicalUnitNumber).first { unit in
            var command = Command.inquiry(allocationLength: 36)
            command.logicalUnitNumber = unit
            guard try plain.run(command).dataIn.first == 0 else { return false }
            try plain.clearUnitAttentions(unit)
            let (length, count) = try Self.capacity(plain, unit)
            return length == blockLength && count >= Self.minimumBlockCount
        }
        try plain.logOut()

        // What a target does not know it may refuse, even by ending the login.
        var plan = LoginPlan()
        plan.offer("ErrorRecoveryLevel", "2")
        plan.offer("MaxConnections", "8")
        plan.offer("HeaderDigest", "CRC32C,None")
        plan.offer("DataDigest", "CRC32C,None")
        plan.offer("iSCSIProtocolLevel", "2")
        let wire = try bench.connect()
        guard case .some(let negotiated) = try? wire.tryLogIn(plan) else { return }
        errorRecoveryLevel = negotiated.number("ErrorRecoveryLevel") ?? 0
        maxConnections = negotiated.number("MaxConnections") ?? 1
        hasHeaderDigest = negotiated.value("HeaderDigest") == "CRC32C"
        hasDataDigest = negotiated.value("DataDigest") == "CRC32C"
        protocolLevel = negotiated.number("iSCSIProtocolLevel") ?? 1
    }

    /// Block length and number of blocks; zeros when READ CAPACITY fails.
    private static func capacity(_ wire: Wire, _ unit: LogicalUnitNumber) throws -> (Int, Int) {
        var command = Command.readCapacity10()
        command.logicalUnitNumber = unit
        let result = try wire.run(command)
        guard result.isGood, result.dataIn.count >= 8 else { return (0, 0) }
        return (
            Int(result.dataIn.rawSpan.loadBE32(at: 4)), Int(result.dataIn.rawSpan.loadBE32(at: 0)) + 1
        )
    }

    private func otherUnits(_ wire: Wire, _ own: LogicalUnitNumber) throws -> [LogicalUnitNumber] {
        let result = try wire.run(.reportLUNs(allocationLength: 4096))
        guard result.isGood, result.dataIn.count >= 8 else { return [] }
        let end = min(result.dataIn.count, 8 + Int(result.dataIn.rawSpan.loadBE32(at: 0)))
        return stride(from: 8, to: end - 7, by: 8).map {
            LogicalUnitNumber(rawValue: result.dataIn.rawSpan.loadBE64(at: $0))
        }.filter { $0 != own }
    }

    /// Why reads and writes cannot be tested; nil when they can.
    private var reasonAgainstDisk: String? {
        guard deviceType == 0 else { return "the logical unit is no disk, but of device type \(deviceType)" }
        guard blockCount > 0 else { return "READ CAPACITY(10) does not say how many blocks the disk has" }
        guard (512...Self.maximumBlockLength).contains(blockLength) else {
            return "the disk has blocks of \(blockLength) bytes, and the tests know 512 to \(Self.maximumBlockLength)"
        }
        guard blockCount >= Self.minimumBlockCount else {
            return "the disk has \(blockCount) blocks, and the tests need \(Self.minimumBlockCount) of them "
                + "(\((Self.minimumBlockCount * blockLength) >> 20) MiB)"
        }
        return nil
    }

    /// Why a test with that requirement makes no sense; nil when it does.
    func reasonAgainst(_ requirement: Requirement, _ target: ConformanceTarget) -> String? {
        switch requirement {
        case .disk:
            reasonAgainstDisk
        case .dataLoss:
            target.allowsDataLoss ? nil : "--data-loss is not given"
        case .erasure:
            target.allowsErasure ? nil : "--erase is not given"
        case .credential:
            target.credential != nil ? nil : "no CHAP name and secret are given"
        case .mutualCredential:
            target.mutualCredential != nil && target.credential != nil
                ? nil : "no CHAP name and secret of the target are given"
        case .openAccess:
            target.credential == nil ? nil : "the target asks for authentication"
        case .errorRecoveryLevel(let level):
            errorRecoveryLevel >= level ? nil : "the target grants ErrorRecoveryLevel \(errorRecoveryLevel)"
        case .connections(let count):
            maxConnections >= count ? nil : "the target grants MaxConnections \(maxConnections)"
        case .headerDigest:
            hasHeaderDigest ? nil : "the target does not do HeaderDigest CRC32C"
        case .dataDigest:
            hasDataDigest ? nil : "the target does not do DataDigest CRC32C"
        case .protocolLevel(let level):
            protocolLevel >= level ? nil : "the target grants iSCSIProtocolLevel \(protocolLevel)"
        case .secondDisk:
            secondDisk != nil ? nil : "the target has no second disk of the same block length"
        }
    }

    /// What was found, in words.
    var lines: [String] {
        var lines = [
            "ErrorRecoveryLevel \(errorRecoveryLevel), MaxConnections \(maxConnections), iSCSIProtocolLevel "
                + "\(protocolLevel)",
            "HeaderDigest \(hasHeaderDigest ? "CRC32C" : "None"), DataDigest \(hasDataDigest ? "CRC32C" : "None")",
            "command window \(commandWindow), MaxRecvDataSegmentLength \(maxRecvDataSegmentLength)",
        ]
        if deviceType == 0 { lines.append("disk of \(blockCount) blocks of \(blockLength) bytes") }
        if let reasonAgainstDisk { lines.append("nothing is read or written: \(reasonAgainstDisk)") }
        return lines
    }
}
