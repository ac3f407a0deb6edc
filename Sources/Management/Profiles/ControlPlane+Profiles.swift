import Catalog
import Foundation
import Logging
import Profiles
import Resources

extension ControlPlane {
    /// The profiles that can be used, libraries first; their files are read again.
    func profileSummaries() throws(ManagementError) -> [ProfileSummary] {
        try profiles.reload()
        return try summaries(of: profiles.current.entries)
    }

    /// The profile `name` with what it decides.
    func profile(_ name: String) throws(ManagementError) -> ProfileDetail {
        try profiles.reload()
        let profiles = profiles.current
        guard let entry = profiles.entries.first(where: { $0.name == name }) else {
            throw ManagementError(
                .notFound, "there is no profile '\(name)'; there are: \(profiles.names.joined(separator: ", "))")
        }
        return ProfileDetail(
            profile: try summaries(of: [entry])[0],
            densities: entry.kind == .drive ? (try? profiles.drive(named: name)).map(Self.densities) ?? [] : [],
            elements: entry.kind == .library ? (try? profiles.library(named: name)).map(Self.elements) ?? [] : [],
            content: String(decoding: entry.content, as: UTF8.self))
    }

    /// Puts a profile into the state folder, if nothing is wrong with it.
    @discardableResult
    func addProfile(_ request: ProfileAddition) throws(ManagementError) -> ProfileSummary {
        let content = Data(request.content.utf8)
        let entry: ProfileEntry
        do throws(ProfileError) {
            entry = try ProfileLibrary.check(content, file: request.file)
        } catch {
            throw ManagementError(.invalid, error.sentence)
        }
        try profiles.reload()
        let path = try place(of: entry, replaces: request.replaces)
        try folder.createFolder(folder.profilesPath)
        try folder.replaceFile(path, with: [UInt8](content))
        try profiles.reload()
        logger.notice("profile added", metadata: ["profile": "\(entry.name)", "path": "\(path)"])
        guard let added = profiles.current.entries.first(where: { $0.name == entry.name && $0.kind == entry.kind })
        else { throw ManagementError(.internal, "profile '\(entry.name)' was added, but is not found") }
        return try summaries(of: [added])[0]
    }

    /// Where the file of a new profile goes.
    private func place(of entry: ProfileEntry, replaces: Bool) throws(ManagementError) -> String {
        let path = folder.profilesPath + "/" + entry.name + ".json"
        for other in profiles.current.entries {
            if other.name == entry.name {
                guard other.kind == entry.kind else {
                    throw ManagementError(
                        .conflict,
                        "'\(entry.name)' is the name of a \(other.kind.rawValue) profile already; choose another")
                }
                if let file = other.path, (file as NSString).deletingLastPathComponent != folder.profilesPath {
                    throw ManagementError(
                        .conflict, "profile '\(entry.name)' comes from \(file), which would count more; change that")
                }
                guard replaces else {
                    throw ManagementError(
                        .conflict,
                        "profile '\(entry.name)' exists already; choose another name, or say --replace, which changes "
                            + "what its libraries are at the next start")
                }
                if let file = other.path { return file }
            } else if other.path == path {
                throw ManagementError(
                    .conflict, "\(path) holds profile '\(other.name)'; give that file another name first")
            }
        }
        guard replaces || !folder.exists(path) else {
            throw ManagementError(.conflict, "\(path) exists already; remove it, or say --replace")
        }
        return path
    }

    private func summaries(of entries: [ProfileEntry]) throws(ManagementError) -> [ProfileSummary] {
        let libraries = try query { () throws(CatalogError) in try catalog.libraries() }
        return entries.map { entry in
            let users = libraries.filter { library in
                entry.kind == .library
                    ? library.profile == entry.name : library.drives.contains { $0.profile == entry.name }
            }
            return ProfileSummary(entry, libraries: users.map(\.name))
        }
    }

    private static func densities(of profile: DriveProfile) -> [DensitySummary] {
        profile.densities.map { density in
            DensitySummary(
                code: "0x" + String(density.code, radix: 16, uppercase: true), description: density.description,
                capacity: Int64(density.capacityMegabytes) * 1_000_000, barcodeSuffixes: density.barcodeSuffixes,
                wormBarcodeSuffixes: density.wormBarcodeSuffixes, isWritable: density.isWritable,
                isDefault: density.isDefault)
        }
    }

    private static func elements(of profile: LibraryProfile) -> [ElementRangeSummary] {
        [
            ("slot", profile.storage), ("mail", profile.importExport), ("drive", profile.dataTransfer),
            ("robot", profile.mediumTransport),
        ].map { kind, range in
            let digits = String(range.firstAddress, radix: 16, uppercase: true)
            return ElementRangeSummary(
                kind: kind, firstAddress: "0x" + String(repeating: "0", count: 4 - digits.count) + digits,
                maximumCount: range.maximumCount)
        }
    }
}
