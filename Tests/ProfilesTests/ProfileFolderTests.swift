import Foundation
import Testing

@testable import Profiles

@Suite("Profiles from folders")
final class ProfileFolderTests {
    private let folder = URL.temporaryDirectory.appending(path: "profiles-\(UUID().uuidString)")
    private let drive = String(decoding: PackageResources.ibm_ult3580_td8_json, as: UTF8.self)

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Writes the LTO-8 drive's profile with `old` replaced by `new`.
    private func write(_ file: String, _ old: String, _ new: String, to subfolder: String = "") throws {
        #expect(drive.contains(old))
        let place = subfolder.isEmpty ? folder : folder.appending(path: subfolder)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        try Data(drive.replacingOccurrences(of: old, with: new).utf8).write(to: place.appending(path: file))
    }

    @Test("A folder adds and replaces; a later one counts more")
    func folders() throws {
        try write("mine.json", "ibm-ult3580-td8", "my-drive")
        try write("newer.json", "N9M1", "KAH1")
        try Data("no".utf8).write(to: folder.appending(path: "notes.txt"))
        let profiles = try ProfileLibrary(folders: [folder.path, folder.path + "/none"])
        #expect(profiles.problems.isEmpty)
        #expect(profiles.driveNames == ["ibm-ult3580-td8", "my-drive"])
        #expect(try profiles.drive(named: "ibm-ult3580-td8").revision == "KAH1")
        #expect(profiles.entries.map(\.name) == ["ibm-03584l32", "ibm-ult3580-td8", "my-drive"])
        #expect(profiles.entries.map { $0.path == nil } == [true, false, false])
        try write("x.json", "N9M1", "LAST", to: "second")
        let both = try ProfileLibrary(folders: [folder.path, folder.path + "/second"])
        #expect(try both.drive(named: "ibm-ult3580-td8").revision == "LAST")
    }

    @Test("A file with a fault is a problem, its profile is not there, and everything else is")
    func faults() throws {
        try write("a.json", #""revision""#, #""reversion""#)
        try Data("{".utf8).write(to: folder.appending(path: "b.json"))
        try write("c.json", "ibm-ult3580-td8", "my-drive")
        try write("d.json", "ibm-ult3580-td8", "my-drive")
        try Data(count: ProfileLibrary.maximumFileLength + 1).write(to: folder.appending(path: "e.json"))
        try FileManager.default.createDirectory(
            at: folder.appending(path: "f.json"), withIntermediateDirectories: false)
        let profiles = try ProfileLibrary(folders: [folder.path])
        #expect(
            profiles.problems.map { $0.sentence.replacingOccurrences(of: folder.path + "/", with: "") } == [
                "a.json: reversion is not a field that profiles have", "b.json: is not JSON",
                "d.json: name is that of c.json too, which counts", "e.json: is longer than 1048576 bytes",
                "f.json: is no regular file",
            ])
        // The one inside the program does not stand in for the user's.
        let error = #expect(throws: ProfileError.self) { _ = try profiles.drive(named: "ibm-ult3580-td8") }
        #expect(error?.field == "reversion" && error?.isUnknownName == false)
        #expect(profiles.names == ["ibm-03584l32", "my-drive"])
        // In a later folder it is whole again.
        try write("a.json", "N9M1", "GOOD", to: "second")
        let both = try ProfileLibrary(folders: [folder.path, folder.path + "/second"])
        #expect(try both.drive(named: "ibm-ult3580-td8").revision == "GOOD")
    }

    @Test("No more files are read than the limit says")
    func manyFiles() throws {
        for number in 0...ProfileLibrary.maximumFileCount {
            try Data("{}".utf8).write(to: folder.appending(path: "\(number).json"))
        }
        let problems = try ProfileLibrary(folders: [folder.path]).problems
        #expect(problems.count == ProfileLibrary.maximumFileCount + 1)
        #expect(problems[0].problem.contains("more than \(ProfileLibrary.maximumFileCount) profiles"))
    }
}

@Suite("Templates in profiles")
struct ProfileTemplateTests {
    private func library(_ template: String) throws -> ProfilePersonality {
        let text = String(decoding: PackageResources.ibm_03584l32_json, as: UTF8.self)
        let old = "'13' {serial:12} '00' 00000000"
        #expect(text.contains(old))
        let changed = text.replacingOccurrences(of: old, with: template)
            .replacingOccurrences(
                of: #""vitalProductData": []"#,
                with: #""vitalProductData": [{ "page": "0xC1", "content": "\#(template)" }]"#)
        let folder = URL.temporaryDirectory.appending(path: "profile-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(changed.utf8).write(to: folder.appending(path: "a.json"))
        let profiles = try ProfileLibrary(folders: [folder.path])
        if let problem = profiles.problems.first { throw problem }
        return try profiles.library(named: "ibm-03584l32").personality(serialNumber: "13B0123456")
    }

    @Test(
        "Places are filled with what the device is",
        arguments: [
            ("00 fF '1 3'", "00ff312033"), ("{serial:10}", "31334230313233343536"),
            ("{serial:12}", "303031334230313233343536"), ("{firstStorage:4}", "30343030"),
            ("{firstStorage:6} 01", "30303034303001"), ("{vendor:9}", "49424d202020202020"),
            ("{product:16}", "30333538344c33322020202020202020"), ("{revision:4}", "44393430"), ("", ""),
        ])
    func places(_ template: String, _ expected: String) throws {
        let page = try #require(try library(template).vitalProductData(page: 0xC1))
        #expect(page.map { String(UInt16($0) + 0x100, radix: 16).dropFirst() }.joined() == expected)
    }

    @Test(
        "What is no template is refused with one sentence",
        arguments: [
            ("0", "must be pairs of hexadecimal digits, 'text' and places such as {serial:12}"),
            ("'a", "must end its text with \"'\""), ("'ä'", "must be printable ASCII between quotes"),
            ("{serial:12", "must end its place with \"}\""),
            (
                "{name:4}",
                "has a place \"name\", which there is not; there are: serial, firstStorage, vendor, product, revision"
            ),
            ("{serial}", "must say how long the place is, as in {serial:10}: 10 to 64 characters"),
            ("{serial:9}", "must say how long the place is, as in {serial:10}: 10 to 64 characters"),
            ("{serial:21}", "must have at most 20 bytes, not 21"),
        ])
    func refusals(_ template: String, _ problem: String) throws {
        let error = #expect(throws: ProfileError.self) { _ = try library(template) }
        #expect(error?.problem == problem)
        #expect(error?.field == "inquiryVendorSpecific")
    }

    @Test("A unit serial number is text with the serial number in it, and a drive has no storage elements")
    func unitSerialNumbers() throws {
        let drive = String(decoding: PackageResources.ibm_ult3580_td8_json, as: UTF8.self)
        let refused = [
            (
                #""unitSerialNumber": "'A'","#,
                "unitSerialNumber must have a place {serial:10}, so that no two are the same"
            ),
            (#""unitSerialNumber": "{serial:10} 00","#, "unitSerialNumber must be printable ASCII"),
            (
                #""inquiryVendorSpecific": "{firstStorage:4}","#,
                "inquiryVendorSpecific must not have a place {firstStorage}: a drive has no storage elements"
            ),
        ]
        for (field, sentence) in refused {
            let changed = drive.replacingOccurrences(of: #""revision""#, with: field + #" "revision""#)
            let error = #expect(throws: ProfileError.self) {
                _ = try ProfileLibrary.check(Data(changed.utf8), file: "a.json")
            }
            #expect(error?.sentence == "a.json: " + sentence)
        }
        let profiles = try ProfileLibrary()
        #expect(
            try profiles.drive(named: "ibm-ult3580-td8").personality(serialNumber: "S123456789").unitSerialNumber
                == "S123456789")
    }
}
