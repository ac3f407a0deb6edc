import Console
import Foundation
import Testing

@testable import carousel

@Suite("Licences of what the program contains")
struct LicensesTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Packages that the build fetches because those that are linked name them, of which nothing is linked; or only
    /// with the trait `TLS`.
    private static let notLinked = Set([
        "async-http-client", "swift-algorithms", "swift-asn1", "swift-certificates", "swift-configuration",
        "swift-crypto", "swift-http-structured-headers", "swift-nio-http2", "swift-nio-transport-services",
        "swift-numerics",
    ]).union(NetworkAccess.isAvailable ? [] : ["swift-nio-ssl"])

    private struct Resolved: Decodable {
        struct Pin: Decodable {
            struct State: Decodable { let version: String }

            let identity: String
            let state: State
        }

        let pins: [Pin]
    }

    private static func pins() throws -> [Resolved.Pin] {
        let file = root.appending(path: "Package.resolved")
        return try JSONDecoder().decode(Resolved.self, from: try Data(contentsOf: file)).pins
    }

    /// The parts that are packages, by their identity.
    private static let packages = Dictionary(uniqueKeysWithValues: ThirdParty.all.map { ($0.name.lowercased(), $0) })

    @Test("every package of the manifest is named")
    func manifest() throws {
        let text = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
        var count = 0
        for line in text.split(separator: "\n") where line.contains(".package(url: \"") {
            let url = try #require(line.split(separator: "\"").dropFirst().first)
            let name = try #require(url.split(separator: "/").last)
            count += 1
            #expect(Self.packages[name.lowercased()] != nil || Self.notLinked.contains(name.lowercased()), "\(name)")
        }
        #expect(count >= 7)
    }

    @Test("every package that the build resolves is named, with a version that is not newer, or known not to be linked")
    func resolved() throws {
        let pins = try Self.pins()
        #expect(pins.count > 20)
        for pin in pins where !Self.notLinked.contains(pin.identity) {
            let part = try #require(Self.packages[pin.identity], "\(pin.identity)")
            let version = try #require(part.version, "\(pin.identity)")
            let order = version.compare(pin.state.version, options: .numeric)
            #expect(order != .orderedDescending, "\(pin.identity) is \(pin.state.version), the notice says \(version)")
        }
        for (name, part) in Self.packages where part.linkage == .contained && !name.contains(" ") {
            #expect(pins.contains { $0.identity == name }, "\(name) is no package of the build")
        }
    }

    @Test("what is printed has every part, its copyright, and each text once")
    func text() {
        let text = Licenses.text
        for part in ThirdParty.all {
            #expect(text.contains(part.name), "\(part.name)")
            #expect(text.lowercased().contains(part.copyright.lowercased()), "\(part.name)")
        }
        for phrase in [
            "Apache License\n                           Version 2.0", "TERMS AND CONDITIONS FOR USE",
            "Runtime Library Exception",
            "UNICODE LICENSE V3", "MIT License", "BSD 3-Clause License", "heavily influenced by Netty",
        ] {
            #expect(text.components(separatedBy: phrase).count == 2, "\(phrase)")
        }
    }

    @Test("LICENSE is the licence that the program prints")
    func license() throws {
        let file = try String(contentsOf: Self.root.appending(path: "LICENSE"), encoding: .utf8)
        #expect(ThirdParty.licenseTexts.first?.text == file)
    }
}
