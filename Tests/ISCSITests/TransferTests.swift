import ISCSI
import SCSI
import TestSupport
import Testing

/// Data-In, R2T and Data-Out arithmetic (RFC 7143 sections 11.4.5, 11.7, 11.8 and 13).
@Suite("Transfers")
struct TransferTests {
    @Test("A read within one PDU")
    func small() {
        var plan = DataInPlan(length: 4096, segmentLimit: 8192, burstLimit: 65_536)
        let segment = plan.next()
        #expect(
            segment?.length == 4096 && segment?.isFinal == true && segment?.isLast == true && segment?.dataSN == 0)
        #expect(plan.next() == nil && plan.isExhausted && plan.dataSN == 1)
        var empty = DataInPlan(length: 0, segmentLimit: 1, burstLimit: 1)
        #expect(empty.next() == nil && empty.dataSN == 0)
    }

    @Test("Bursts end with the F bit")
    func bursts() {
        var plan = DataInPlan(length: 10, segmentLimit: 3, burstLimit: 4)
        var shape: [String] = []
        while let segment = plan.next() {
            shape.append("\(segment.offset)+\(segment.length)\(segment.isFinal ? "F" : "")\(segment.isLast ? "L" : "")")
        }
        #expect(shape == ["0+3", "3+1F", "4+3", "7+1F", "8+2FL"])
        #expect(plan.dataSN == 5)
    }

    @Test("Random plans cover everything once and keep the limits", arguments: 0..<8 as Range<UInt64>)
    func covering(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            let length = Int.random(in: 0...100_000, using: &random)
            let segmentLimit = Int.random(in: 512...20_000, using: &random)
            let burstLimit = Int.random(in: 512...50_000, using: &random)
            var plan = DataInPlan(length: length, segmentLimit: segmentLimit, burstLimit: burstLimit)
            var (end, burst, number) = (0, 0, UInt32(0))
            while let segment = plan.next() {
                #expect(segment.offset == end && segment.length > 0 && segment.length <= segmentLimit)
                #expect(segment.dataSN == number)
                burst += segment.length
                #expect(burst <= burstLimit)
                if segment.isFinal { burst = 0 }
                #expect(segment.isLast == (segment.offset + segment.length == length))
                end += segment.length
                number += 1
            }
            #expect(end == length && burst == 0)
            var requests = ReadyToTransferPlan(from: 0, to: length, burstLimit: burstLimit, outstandingLimit: 2)
            end = 0
            while !requests.isComplete {
                while let request = requests.next() {
                    #expect(request.offset == end && request.length > 0 && request.length <= burstLimit)
                    end += request.length
                }
                #expect(requests.outstanding <= 2)
                requests.completed()
            }
            #expect(end == length)
        }
    }

    @Test("A plan goes on from what is acknowledged, and skips what need not be sent again")
    func continuedPlan() {
        var plan = DataInPlan(length: 10, segmentLimit: 2, burstLimit: 4, offset: 4, dataSN: 7)
        let first = plan.next()
        #expect(first?.offset == 4 && first?.length == 2 && first?.dataSN == 7)
        #expect(first?.isFinal == false && first?.isLast == false)
        var rest = plan
        rest.skip(to: 9)
        let last = rest.next()
        #expect(last?.offset == 8 && last?.length == 2 && last?.dataSN == 9)
        #expect(last?.isFinal == true && last?.isLast == true)
        plan.skip(to: .max)
        #expect(plan.isExhausted && plan.dataSN == 10)
        let done = DataInPlan(length: 4, segmentLimit: 2, burstLimit: 4, offset: 4, dataSN: 2)
        #expect(done.isExhausted)
    }

    @Test("Damaged data is asked for again from where it began, under a number of its own")
    func recovery() throws {
        var plan = ReadyToTransferPlan(from: 0, to: 2000, burstLimit: 1000, outstandingLimit: 1, r2tSN: 3)
        let next = plan.next()
        let request = try #require(next)
        #expect(request == ReadyToTransfer(offset: 0, length: 1000, r2tSN: 3))
        var sequence = DataOutSequence(answering: request)
        #expect(try sequence.receive(dataSN: 0, bufferOffset: 0, length: 300, isFinal: false) == .more)
        sequence.breakOff(at: 200)
        #expect(sequence.isBroken && sequence.offset == 200 && sequence.end == 1000)
        let recovery = plan.recover(offset: sequence.offset, length: sequence.end - sequence.offset)
        #expect(recovery == ReadyToTransfer(offset: 200, length: 800, r2tSN: 4))
        #expect(plan.next() == nil && plan.outstanding == 1, "it stands for the one before")
        plan.completed()
        #expect(plan.next() == ReadyToTransfer(offset: 1000, length: 1000, r2tSN: 5))
    }

    @Test("Status travels with the data only when nothing has to be explained")
    func collapse() {
        #expect(DataInPlan.mayCollapse(status: .good, hasSense: false, length: 1))
        #expect(!DataInPlan.mayCollapse(status: .good, hasSense: false, length: 0))
        #expect(!DataInPlan.mayCollapse(status: .good, hasSense: true, length: 1))
        #expect(!DataInPlan.mayCollapse(status: .checkCondition, hasSense: false, length: 1))
    }

    @Test("R2Ts follow unsolicited data, in number within the limit")
    func readyToTransfer() {
        var plan = ReadyToTransferPlan(from: 65_536, to: 600_000, burstLimit: 262_144, outstandingLimit: 2)
        #expect(plan.next() == ReadyToTransfer(offset: 65_536, length: 262_144, r2tSN: 0))
        #expect(plan.next() == ReadyToTransfer(offset: 327_680, length: 262_144, r2tSN: 1))
        #expect(plan.next() == nil && plan.outstanding == 2 && !plan.isComplete)
        plan.completed()
        #expect(plan.next() == ReadyToTransfer(offset: 589_824, length: 10_176, r2tSN: 2))
        plan.completed()
        plan.completed()
        #expect(plan.isComplete && plan.r2tSN == 3)
        let nothing = ReadyToTransferPlan(from: 512, to: 512, burstLimit: 512, outstandingLimit: 1)
        #expect(nothing.isComplete)
    }

    @Test("A solicited sequence, right and wrong")
    func solicited() throws {
        let request = ReadyToTransfer(offset: 1000, length: 300, r2tSN: 0)
        var sequence = DataOutSequence(answering: request)
        #expect(try sequence.receive(dataSN: 0, bufferOffset: 1000, length: 100, isFinal: false) == .more)
        #expect(throws: DataOutError.dataSN(expected: 1)) {
            try sequence.receive(dataSN: 0, bufferOffset: 1100, length: 100, isFinal: false)
        }
        #expect(throws: DataOutError.bufferOffset(expected: 1100)) {
            try sequence.receive(dataSN: 1, bufferOffset: 1000, length: 100, isFinal: false)
        }
        #expect(throws: DataOutError.tooMuchData) {
            try sequence.receive(dataSN: 1, bufferOffset: 1100, length: 201, isFinal: true)
        }
        #expect(throws: DataOutError.tooLittleData) {
            try sequence.receive(dataSN: 1, bufferOffset: 1100, length: 199, isFinal: true)
        }
        #expect(throws: DataOutError.notFinal) {
            try sequence.receive(dataSN: 1, bufferOffset: 1100, length: 200, isFinal: false)
        }
        #expect(throws: DataOutError.empty) {
            try sequence.receive(dataSN: 1, bufferOffset: 1100, length: 0, isFinal: false)
        }
        #expect(try sequence.receive(dataSN: 1, bufferOffset: 1100, length: 200, isFinal: true) == .complete)
    }

    @Test("An unsolicited sequence may end early, not late")
    func unsolicited() throws {
        var parameters = NegotiatedParameters()
        parameters.firstBurstLength = 1000
        var sequence = DataOutSequence(unsolicitedAfter: 400, expectedLength: 5000, parameters: parameters)
        #expect(sequence.end == 1000 && !sequence.isSolicited)
        #expect(throws: DataOutError.tooMuchData) {
            try sequence.receive(dataSN: 0, bufferOffset: 400, length: 601, isFinal: true)
        }
        #expect(try sequence.receive(dataSN: 0, bufferOffset: 400, length: 100, isFinal: true) == .complete)
        #expect(sequence.offset == 500)
        let short = DataOutSequence(unsolicitedAfter: 0, expectedLength: 10, parameters: parameters)
        #expect(short.end == 10)
    }

    @Test("Unsolicited data of a command against the parameters")
    func commands() {
        func judge(
            immediate: Int, expected: UInt32, isFinal: Bool = true, isWrite: Bool = true, initialR2T: Bool = false,
            immediateData: Bool = true
        ) -> UnsolicitedData {
            var parameters = NegotiatedParameters()
            (parameters.initialR2T, parameters.immediateData, parameters.firstBurstLength) = (
                initialR2T, immediateData, 1024
            )
            var command = SCSICommandPDU()
            (command.isWrite, command.isFinal) = (isWrite, isFinal)
            (command.dataSegmentLength, command.expectedDataTransferLength) = (immediate, expected)
            return UnsolicitedData(command, parameters: parameters)
        }
        #expect(judge(immediate: 512, expected: 512) == .allowed(dataOutFollows: false))
        #expect(judge(immediate: 0, expected: 4096, isFinal: false) == .allowed(dataOutFollows: true))
        #expect(judge(immediate: 0, expected: 0, isWrite: false) == .allowed(dataOutFollows: false))
        #expect(judge(immediate: 512, expected: 512, immediateData: false) == .unexpected)
        #expect(judge(immediate: 512, expected: 512, isWrite: false) == .unexpected)
        #expect(judge(immediate: 0, expected: 512, isFinal: false, initialR2T: true) == .unexpected)
        #expect(judge(immediate: 0, expected: 512, isFinal: false, isWrite: false) == .unexpected)
        #expect(judge(immediate: 513, expected: 512) == .tooMuch)
        #expect(judge(immediate: 1025, expected: 4096) == .tooMuch)
    }

    @Test("Residuals both ways")
    func residuals() {
        #expect(Residual(expected: 10, actual: 10) == .none)
        #expect(Residual(expected: 10, actual: 4) == Residual(isOverflow: false, isUnderflow: true, count: 6))
        #expect(Residual(expected: 4, actual: 10) == Residual(isOverflow: true, isUnderflow: false, count: 6))
        #expect(Residual(expected: 0, actual: 1 << 40).count == .max)
    }
}
