import Bytes
import DeviceTestSupport
import SCSI
import TestSupport
import Testing

@testable import TapeDevice

/// A tape as an array of objects: what the drive is compared with.
struct TapeModel {
    enum Object: Equatable {
        case block([UInt8])
        case filemark
    }

    var objects: [Object] = []
    var position = 0
    var isFenced = false

    mutating func append(_ new: [Object]) {
        objects.removeSubrange(position...)
        objects += new
        position = objects.count
        isFenced = false
    }

    /// The outcome and the data of a READ.
    mutating func read(_ count: Int, fixed length: Int?, sili: Bool, blockLength: Int) -> (String, [UInt8]) {
        if count == 0 { return ("good", []) }
        if isFenced { return ("3/1404 \(count)", []) }
        var data: [UInt8] = []
        var done = 0
        while done < (length == nil ? 1 : count) {
            let rest = length == nil ? count : count - done
            guard position < objects.count else {
                isFenced = true
                return ("8/0005 \(rest)", data)
            }
            let object = objects[position]
            position += 1
            guard case .block(let bytes) = object else { return ("0/0001 FM \(rest)", data) }
            if let length {
                guard bytes.count == length else { return ("0/0000 ILI \(rest)", data) }
                data += bytes
            } else {
                data = Array(bytes.prefix(count))
                let difference = count - bytes.count
                let isSuppressed = sili && (difference > 0 || blockLength == 0)
                if difference != 0, !isSuppressed { return ("0/0000 ILI \(difference)", data) }
            }
            done += 1
        }
        return ("good", data)
    }

    /// The outcome of SPACE over blocks (0) or filemarks (1).
    mutating func space(_ code: UInt8, _ count: Int) -> String {
        if count == 0 { return "good" }
        isFenced = false
        var left = abs(count)
        while left > 0 {
            let next = count > 0 ? position : position - 1
            guard next >= 0 else { return "0/0004 EOM \(left)" }
            guard next < objects.count else { return "8/0005 \(left)" }
            position += count > 0 ? 1 : -1
            let isFilemark = objects[next] == .filemark
            if code == 0, isFilemark { return "0/0001 FM \(left)" }
            if (code == 1) == isFilemark { left -= 1 }
        }
        return "good"
    }

    mutating func locate(_ object: Int) -> String {
        isFenced = false
        position = min(object, objects.count)
        return object <= objects.count ? "good" : "8/0005"
    }
}

@Suite("The drive against a model")
struct TapeModelTests {
    @Test("Random commands", arguments: [1, 2, 3, 4] as [UInt64])
    func random(_ seed: UInt64) throws {
        let fixture = try TapeFixture()
        var random = SeededRandom(seed: seed)
        var model = TapeModel()
        var blockLength = 0
        for step in 0..<400 {
            let comment = "seed \(seed), step \(step)"
            switch Int.random(in: 0..<16, using: &random) {
            case 0...3:
                let length = [1, 64, 100, 100, 5000, 70000].randomElement(using: &random)!
                let data = random.bytes(length)
                #expect(text(fixture.write(data)) == "good", "\(comment)")
                model.append([.block(data)])
            case 4:
                guard blockLength > 0 else { continue }
                let count = Int.random(in: 1...6, using: &random)
                let data = random.bytes(count * blockLength)
                #expect(text(fixture.writeFixed(data, blocks: count)) == "good", "\(comment)")
                model.append(
                    (0..<count).map { .block(Array(data[$0 * blockLength..<($0 + 1) * blockLength])) })
            case 5, 6:
                let count = Int.random(in: 1...3, using: &random)
                let isImmediate = Bool.random(using: &random)
                #expect(text(fixture.filemarks(count, immediate: isImmediate)) == "good", "\(comment)")
                model.append([TapeModel.Object](repeating: .filemark, count: count))
            case 7...9:
                let sili = Bool.random(using: &random)
                let count = [0, 50, 64, 100, 6000, 100_000].randomElement(using: &random)!
                let result = fixture.read(count, sili: sili)
                let expected = model.read(count, fixed: nil, sili: sili, blockLength: blockLength)
                #expect(text(result) == expected.0, "\(comment)")
                #expect(result.dataIn == expected.1, "\(comment)")
            case 10:
                guard blockLength > 0 else { continue }
                let count = Int.random(in: 1...6, using: &random)
                let result = fixture.read(count, isFixed: true)
                let expected = model.read(count, fixed: blockLength, sili: false, blockLength: blockLength)
                #expect(text(result) == expected.0, "\(comment)")
                #expect(result.dataIn == expected.1, "\(comment)")
            case 11, 12:
                let code = UInt8.random(in: 0...1, using: &random)
                let count = Int.random(in: -6...6, using: &random)
                #expect(text(fixture.space(code, count)) == model.space(code, count), "\(comment)")
            case 13:
                let object = Int.random(in: 0...model.objects.count + 1, using: &random)
                #expect(text(fixture.locate(UInt64(object))) == model.locate(object), "\(comment)")
            case 14:
                blockLength = [0, 1, 64, 100].randomElement(using: &random)!
                #expect(text(fixture.setBlockLength(blockLength)) == "good", "\(comment)")
            default:
                // Out of the drive and in again: what was written is there, and the position is the beginning.
                #expect(fixture.remove() == .removed(nil), "\(comment)")
                #expect(fixture.insert(TapeFixture.barcode) == nil, "\(comment)")
                fixture.port.clearUnitAttentions()
                model.position = 0
                model.isFenced = false
            }
            #expect(fixture.position == UInt64(model.position), "\(comment)")
        }
    }
}
