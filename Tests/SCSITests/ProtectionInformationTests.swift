import Bytes
import Testing

@testable import SCSI

@Suite("Protection information")
struct ProtectionInformationTests {
    private let data = (0..<512).map { UInt8(truncatingIfNeeded: $0 * 7) }

    private func information(application: UInt16 = 0x1234, reference: UInt32 = 77) -> ProtectionInformation {
        ProtectionInformation(
            blockGuard: CRC16T10.checksum(data.rawSpan), applicationTag: application, referenceTag: reference)
    }

    @Test("The 8 bytes are guard, application tag and reference tag")
    func bytes() {
        let information = ProtectionInformation(
            blockGuard: 0x0102, applicationTag: 0x0304, referenceTag: 0x0506_0708)
        #expect(information.word == 0x0102_0304_0506_0708)
        #expect(ProtectionInformation(word: information.word) == information)
        #expect(ProtectionInformation.unchecked.word == .max)
    }

    /// What the tables for RDPROTECT, WRPROTECT and VRPROTECT have for each code: what is checked of the medium, of the
    /// medium where it is compared, of the Data-Out, and what is compared.
    private static let tables: [(UInt8, ProtectionChecks, ProtectionChecks, ProtectionChecks, ProtectionChecks)] = [
        (0, .all, .all, [], []), (1, .all, [], .all, .all),
        (
            2, [.applicationTag, .referenceTag], [], [.applicationTag, .referenceTag], [.applicationTag, .referenceTag]
        ),
        (3, [], [], [], .all), (4, .blockGuard, [], .blockGuard, .all), (5, .all, [], .all, .all),
    ]

    @Test("Each code of the protect fields checks what its tables say, with every field wrong, for each type")
    func tables() {
        for (code, medium, compared, sent, comparison) in Self.tables {
            let field = ProtectField(code: code)
            #expect(field.transfers == (code != 0) && !field.isReserved)
            #expect(field.checksOfMedium == medium && field.checksOfComparedMedium == compared)
            #expect(field.checksOfDataOut == sent && field.compared == comparison)
        }
        #expect(ProtectField(code: 6).isReserved && ProtectField(code: 7).isReserved)
        let checks = Self.tables.map(\.1) + [.applicationTag, .referenceTag]
        for type in ProtectionType.allCases {
            for checks in checks { walk(type, checks) }
        }
    }

    private func walk(_ type: ProtectionType, _ checks: ProtectionChecks) {
        // The third block of those that begin with the tag 75.
        let first: UInt32 = type == .type3 ? 77 : 75
        let expected = ExpectedTags(referenceTag: first, applicationTag: 0x1234, applicationTagMask: 0xFF0F)
        func wrong(_ information: ProtectionInformation, _ expected: ExpectedTags) -> ProtectionField? {
            information.wrongField(data.rawSpan, type, checks, expected, index: 2)
        }
        #expect(wrong(information(), expected) == nil)
        // The mask leaves bits out.
        #expect(wrong(information(application: 0x12F4), expected) == nil)
        var all = information(application: 0x1334, reference: 78)
        all.blockGuard ^= 1
        let fields: [(ProtectionField, ProtectionChecks)] = [
            (.blockGuard, .blockGuard), (.applicationTag, .applicationTag), (.referenceTag, .referenceTag),
        ]
        // The first in this order, of those that are checked.
        #expect(wrong(all, expected) == fields.first { checks.contains($0.1) }?.0)
        #expect(
            wrong(information(application: 0x1334), expected)
                == (checks.contains(.applicationTag) ? .applicationTag : nil))
        #expect(wrong(information(reference: 78), expected) == (checks.contains(.referenceTag) ? .referenceTag : nil))
        // What nobody knows is not checked.
        #expect(wrong(information(application: 0x1334, reference: 78), ExpectedTags()) == nil)
        // The escapes.
        all.applicationTag = .max
        #expect((wrong(all, expected) == nil) == (type != .type3 || checks.isEmpty))
        all.referenceTag = .max
        #expect(wrong(all, expected) == nil)
    }

    @Test("What is made for a block has its guard, an escape, and with type 1 its address")
    func generated() {
        for type in ProtectionType.allCases {
            let made = ProtectionInformation(generatedFor: data.rawSpan, type, logicalBlock: 0x1_0000_0005)
            #expect(made.blockGuard == CRC16T10.checksum(data.rawSpan) && made.applicationTag == .max)
            #expect(made.referenceTag == (type == .type1 ? 5 : .max))
            #expect(made.isUnchecked(type))
        }
        let tags = ExpectedTags(referenceTag: .max)
        #expect(tags.advanced(by: 2, .type1).referenceTag == 1)
        #expect(tags.advanced(by: 2, .type3).referenceTag == .max)
    }

    @Test("A check that fails has a code of its own")
    func codes() {
        #expect(
            ProtectionField.allCases.map(\.checkFailed) == [
                AdditionalSenseCode(0x10, 1), AdditionalSenseCode(0x10, 2), AdditionalSenseCode(0x10, 3),
            ])
    }
}
