import Foundation
import Testing

@testable import Profiles

@Suite("Profiles")
struct ProfileLibraryTests {
    @Test("The built-in list names every file of Media/profiles")
    func builtInListIsComplete() throws {
        let folder = URL(filePath: #filePath).appending(path: "../../../Media/profiles").standardizedFileURL
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".json") }
        #expect(BuiltInProfiles.all.map(\.file) == files.sorted())
        for (file, content) in BuiltInProfiles.all {
            #expect(try Data(contentsOf: folder.appending(path: file)) == Data(content))
        }
    }

    @Test("The LTO-8 drive")
    func ultrium8() throws {
        let drive = try ProfileLibrary().drive(named: "ibm-ult3580-td8")
        #expect(drive.vendor == "IBM" && drive.product == "ULT3580-TD8")
        #expect(drive.blockLimits.maximum == 16_777_215 && drive.blockLimits.minimum == 1)
        #expect(drive.defaultDensity.code == 0x5E && drive.defaultDensity.capacityMegabytes == 12_000_000)
        #expect(drive.densities.map(\.code) == [0x5C, 0x5D, 0x5E])
        #expect(drive.timeout(.erase) == 54896 && drive.timeout(.other) == 60)
    }

    @Test(
        "A label decides what an LTO-8 drive takes the cartridge for",
        arguments: [
            ("V00001L8", "5E 12000000"), ("V00001L7", "5C 6000000"), ("V00001M8", "5D 9000000"),
            ("V00001LY", "5E 12000000 WORM"), ("V00001LX", "5C 6000000 WORM"), ("TAPE01", "5E 12000000"),
            ("CLN001L8", "cleaning"), ("CLNU01L1", "cleaning"), ("CLNU01CU", "cleaning"), ("V00001L6", "unusable"),
            ("V00001L9", "unusable"), ("V00001LA", "unusable"), ("V00001LT", "unusable"), ("V00001LU", "unusable"),
            ("V00001LV", "unusable"), ("V00001LW", "unusable"), ("V00001LZ", "unusable"),
        ])
    func labels(_ barcode: String, _ expected: String) throws {
        let kind =
            switch try ProfileLibrary().drive(named: "ibm-ult3580-td8").medium(barcode: barcode) {
            case .data(let density, let isWORM):
                "\(String(density.code, radix: 16, uppercase: true)) \(density.capacityMegabytes)"
                    + (isWORM ? " WORM" : "")
            case .cleaning: "cleaning"
            case .unusable: "unusable"
            }
        #expect(kind == expected)
    }

    @Test("The TS3500-like library")
    func library3584() throws {
        let library = try ProfileLibrary().library(named: "ibm-03584l32")
        #expect(library.product == "03584L32")
        #expect(library.mediumTransport.firstAddress == 1)
        #expect(library.dataTransfer.firstAddress == 0x101)
        #expect(library.importExport.firstAddress == 0x300)
        #expect(library.storage.firstAddress == 0x400)
        #expect(library.problem(withBarcode: "V00001L8") == nil)
        #expect(library.problem(withBarcode: "V0") == "must have 6 to 8 characters")
        #expect(library.problem(withBarcode: "v00001L8") == "must consist of the letters A to Z and digits")
    }

    @Test("Early warning is a part of the capacity, within its limits")
    func earlyWarning() throws {
        let warning = try ProfileLibrary().drive(named: "ibm-ult3580-td8").earlyWarning
        #expect(warning.bytes(capacity: 1 << 20) == 1 << 18)
        #expect(warning.bytes(capacity: 64 << 20) == 1 << 20)
        #expect(warning.bytes(capacity: 100_000_000_000) == 500_000_000)
        #expect(warning.bytes(capacity: 12_000_000_000_000) == 5_368_709_120)
    }

    @Test("Names that are not there")
    func unknownNames() throws {
        let profiles = try ProfileLibrary()
        #expect(profiles.names == ["ibm-03584l32", "ibm-ult3580-td8"])
        let error = #expect(throws: ProfileError.self) { _ = try profiles.drive(named: "ibm-03584l32") }
        #expect(
            error?.description == "ibm-03584l32: is not the name of a drive profile; there are: ibm-ult3580-td8.")
        #expect(throws: ProfileError.self) { _ = try profiles.library(named: "x") }
    }

    @Test(
        "A wrong file is refused with one sentence about the field",
        arguments: [
            (#""vendor": "IBM""#, #""vendor": """#, "vendor must have 1 to 8 characters, not 0."),
            (#""vendor": "IBM""#, #""vendor": 7"#, "vendor must be a string."),
            (#""vendor": "IBM","#, "", "vendor is missing."),
            (#""kind": "drive""#, #""kind": "disk""#, #"kind must be "drive" or "library", not "disk"."#),
            (#""code": "0x5D""#, #""code": "0x5E""#, "densities must not have a code twice."),
            (
                #""code": "0x5C""#, #""code": "5C""#,
                #"densities[0].code must be a hexadecimal number such as "0x1D", not "5C"."#
            ),
            (#""tracks": 5376"#, #""tracks": 70000"#, "densities[1].tracks must be from 1 to 65535, not 70000."),
            (#", "isDefault": true"#, "", "densities must have exactly one that is the default."),
            (
                #""changeable": "80 00 00000000"#, #""changeable": "80 00 000000"#,
                "modePages[3].changeable must be as long as values: 14 bytes, not 13."
            ),
            (
                #""values": "0000 0000"#, #""values": "000 0000"#,
                "modePages[1].values must be pairs of hexadecimal digits."
            ),
            (
                #""page": "0xB0""#, #""page": "0x83""#,
                "vitalProductData[0].page must not be 0x80 or 0x83, which are made from the device's identity."
            ),
            (#""erase": 54896"#, #""erased": 54896"#, "timeoutsSeconds.erased is not a field that profiles have."),
            (#""revision""#, #""reversion""#, "reversion is not a field that profiles have."),
            (#""minimum": 1,"#, #""minimum": 0,"#, "blockLimits.minimum must be from 1 to 65535, not 0."),
            (
                #"["LY"]"#, #"["L8"]"#, "densities must not have a barcode suffix twice, nor one that is refused."
            ),
            (
                #""0x7C""#, #""7C""#,
                #"densities[0].wormMediumType must be a hexadecimal number such as "0x1D", not "7C"."#
            ),
            (#"["M8"]"#, #"["m8"]"#, "densities[1].barcodeSuffixes must each have 2 of the letters A to Z and digits."),
            (#"["CLN"]"#, #"[""]"#, "cleaningBarcodePrefixes must each have 1 to 30 of the letters A to Z and digits."),
            (#""kind""#, "", "is not JSON."),
        ])
    func wrongDrive(_ old: String, _ new: String, _ sentence: String) throws {
        let text = String(decoding: PackageResources.ibm_ult3580_td8_json, as: UTF8.self)
        #expect(text.contains(old))
        let changed = text.replacingOccurrences(of: old, with: new)
        let error = #expect(throws: ProfileError.self) {
            _ = try ProfileLibrary.check(Data(changed.utf8), file: "a.json")
        }
        #expect(error?.description == "a.json: \(sentence)")
    }

    @Test("Element addresses that overlap are refused")
    func wrongLibrary() throws {
        let text = String(decoding: PackageResources.ibm_03584l32_json, as: UTF8.self)
        let changed = text.replacingOccurrences(of: "0x0400", with: "0x03FE")
        let error = #expect(throws: ProfileError.self) {
            _ = try ProfileLibrary.check(Data(changed.utf8), file: "b.json")
        }
        #expect(error?.description == "b.json: storage must not overlap the addresses of importExport.")
    }
}
