import ArgumentParser
import Management

/// `carousel licenses`
struct Licenses: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the licence of Carousel and the notices of what it contains.",
        discussion: "It needs no daemon.")

    func run() { Output.print(Self.text) }

    /// The whole text.
    static var text: String {
        let rows = ThirdParty.all.map { part in
            [
                part.name, part.version.map { "\($0) or later" } ?? (part.linkage == .loaded ? "the system's" : ""),
                part.license.rawValue,
                "Copyright \(part.copyright)".replacing("Copyright its", with: "Its"),
            ]
        }
        let loaded = ThirdParty.all.filter { $0.linkage == .loaded }.map(\.name).joined(separator: ", ")
        var sections = [
            "Carousel \(Controller.version) is under the Apache License, version 2.0, whose text is below.",
            "It contains what others have written, and loads \(loaded):",
            Output.table(["NAME", "VERSION", "LICENCE", "COPYRIGHT"], rows, empty: ""),
            "Notices of these packages:", ThirdParty.notices,
        ]
        for (name, text) in ThirdParty.licenseTexts { sections += ["=== \(name)", text] }
        return sections.joined(separator: "\n\n")
    }
}
