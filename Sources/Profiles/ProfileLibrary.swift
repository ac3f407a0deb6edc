public import Foundation

/// A profile as people see it, whatever its kind.
public struct ProfileEntry: Sendable {
    public enum Kind: String, Sendable, Hashable {
        case drive
        case library
    }
    public let kind: Kind
    /// The name that selects it.
    public let name: String
    /// One line for people.
    public let description: String
    public let vendor: String
    public let product: String
    public let revision: String
    /// The file that it was read from; nil inside the program.
    public let path: String?
    /// What stands in the file.
    public let content: Data
}

/// All profiles: those inside the program, and those in folders of the user.
///
/// The files are read when the library is made; nothing is read later.
public struct ProfileLibrary: Sendable {
    /// The most bytes of a profile file.
    public static let maximumFileLength = 1 << 20
    /// The most files of a folder that are read.
    public static let maximumFileCount = 1024

    /// Why files of the user's folders are not used. A profile of which the name at least can be read does not exist
    /// then, also when the program has one of that name.
    public private(set) var problems: [ProfileError] = []

    private struct Key: Hashable {
        let kind: ProfileEntry.Kind
        let name: String
    }
    private var drives: [String: DriveProfile] = [:]
    private var libraries: [String: LibraryProfile] = [:]
    private var found: [Key: ProfileEntry] = [:]
    private var broken: [Key: ProfileError] = [:]

    /// The profiles inside the program, and those of the files `*.json` in `folders` that exist. A file replaces a
    /// profile of the same name inside the program or in a folder further ahead.
    ///
    /// - Throws: `ProfileError` about a profile inside the program; what is wrong in a folder is one of the `problems`.
    public init(folders: [String] = []) throws(ProfileError) {
        for (file, content) in BuiltInProfiles.all { try add(Data(content), file: file, path: nil) }
        for folder in folders { addFiles(of: folder) }
    }

    private mutating func addFiles(of folder: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        var files = names.filter { $0.hasSuffix(".json") && !$0.hasPrefix(".") }.sorted()
        if files.count > Self.maximumFileCount {
            problems.append(
                ProfileError(file: folder, "has more than \(Self.maximumFileCount) profiles; the others are not read"))
            files.removeSubrange(Self.maximumFileCount...)
        }
        for file in files {
            let path = folder + "/" + file
            do throws(ProfileError) {
                let content = try Self.content(of: path)
                if let key = Self.key(of: content), let first = found[key]?.path, first.hasPrefix(folder + "/") {
                    throw ProfileError(file: path, field: "name", "is that of \(first) too, which counts")
                }
                do throws(ProfileError) {
                    try add(content, file: path, path: path)
                } catch {
                    if let key = Self.key(of: content) { broken[key] = error }
                    throw error
                }
            } catch {
                problems.append(error)
            }
        }
    }

    /// The bytes of a profile's file.
    public static func content(of path: String) throws(ProfileError) -> Data {
        let url = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: url.path) else {
            throw ProfileError(file: path, "does not exist, or its folder cannot be read")
        }
        // Reading from a pipe would wait.
        guard attributes[.type] as? FileAttributeType == .typeRegular else {
            throw ProfileError(file: path, "is no regular file")
        }
        guard let size = attributes[.size] as? Int, size <= maximumFileLength else {
            throw ProfileError(file: path, "is longer than \(maximumFileLength) bytes")
        }
        guard let content = try? Data(contentsOf: url) else { throw ProfileError(file: path, "cannot be read") }
        return content
    }

    /// What `content` would be as the profile file `file`, if nothing is wrong with it.
    public static func check(_ content: Data, file: String) throws(ProfileError) -> ProfileEntry {
        try decode(content, file: file, path: nil).entry
    }

    // MARK: Looking up

    public func drive(named name: String) throws(ProfileError) -> DriveProfile {
        if let error = broken[Key(kind: .drive, name: name)] { throw error }
        guard let profile = drives[name] else { throw unknown(name, kind: "drive", known: driveNames) }
        return profile
    }

    public func library(named name: String) throws(ProfileError) -> LibraryProfile {
        if let error = broken[Key(kind: .library, name: name)] { throw error }
        guard let profile = libraries[name] else { throw unknown(name, kind: "library", known: libraryNames) }
        return profile
    }

    /// The profiles that can be used, libraries first, by name.
    public var entries: [ProfileEntry] {
        found.filter { broken[$0.key] == nil }.values.sorted {
            ($0.kind == .drive ? 1 : 0, $0.name) < ($1.kind == .drive ? 1 : 0, $1.name)
        }
    }

    /// The names of all profiles, sorted.
    public var names: [String] { entries.map(\.name).sorted() }
    /// The names of the drive profiles, sorted.
    public var driveNames: [String] { entries.filter { $0.kind == .drive }.map(\.name) }
    /// The names of the library profiles, sorted.
    public var libraryNames: [String] { entries.filter { $0.kind == .library }.map(\.name) }

    private func unknown(_ name: String, kind: String, known: [String]) -> ProfileError {
        ProfileError(
            file: name, "is not the name of a \(kind) profile; there are: \(known.joined(separator: ", "))",
            isUnknownName: true)
    }

    // MARK: Reading

    private mutating func add(_ content: Data, file: String, path: String?) throws(ProfileError) {
        let (profile, entry) = try Self.decode(content, file: file, path: path)
        switch profile {
        case .drive(let profile): drives[profile.name] = profile
        case .library(let profile): libraries[profile.name] = profile
        }
        let key = Key(kind: entry.kind, name: entry.name)
        found[key] = entry
        broken[key] = nil
    }

    private static func decode(
        _ content: Data, file: String, path: String?
    ) throws(ProfileError) -> (profile: AnyProfile, entry: ProfileEntry) {
        guard content.count <= maximumFileLength else {
            throw ProfileError(file: file, "is longer than \(maximumFileLength) bytes")
        }
        do {
            let profile = try JSONDecoder().decode(AnyProfile.self, from: content)
            return (profile, profile.entry(path, content))
        } catch let error as FieldError {
            throw ProfileError(file: file, field: error.field, error.problem)
        } catch let error as DecodingError {
            throw profileError(error, file: file)
        } catch {
            throw ProfileError(file: file, "cannot be decoded")
        }
    }

    /// Which profile a file is about that may have faults elsewhere; nil when it does not say so.
    private static func key(of content: Data) -> Key? {
        struct Head: Decodable {
            let kind: String
            let name: String
        }
        guard let head = try? JSONDecoder().decode(Head.self, from: content),
            let kind = ProfileEntry.Kind(rawValue: head.kind)
        else { return nil }
        return Key(kind: kind, name: head.name)
    }

    private static func profileError(_ error: DecodingError, file: String) -> ProfileError {
        switch error {
        case .typeMismatch(let type, let context):
            ProfileError(file: file, field: FieldError.text(context.codingPath), "must be \(describe(type))")
        case .valueNotFound(_, let context):
            ProfileError(file: file, field: FieldError.text(context.codingPath), "must not be null")
        case .keyNotFound(let key, let context):
            ProfileError(file: file, field: FieldError.text(context.codingPath + [key]), "is missing")
        case .dataCorrupted(let context) where context.codingPath.isEmpty:
            ProfileError(file: file, "is not JSON")
        case .dataCorrupted(let context):
            ProfileError(file: file, field: FieldError.text(context.codingPath), "has a value that is not allowed")
        @unknown default: ProfileError(file: file, "cannot be decoded")
        }
    }

    private static func describe(_ type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Bool.Type: "true or false"
        case is Int.Type, is UInt32.Type: "a whole number"
        case is [String].Type: "a list of strings"
        case is [String: Any].Type: "an object"
        default: "a value of another kind"
        }
    }
}

/// A profile of either kind, as its `kind` field says.
private enum AnyProfile: Decodable {
    case drive(DriveProfile)
    case library(LibraryProfile)

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: FieldName.self)
        let kind = FieldName(stringValue: "kind")
        switch try container.decode(String.self, forKey: kind) {
        case "drive": self = .drive(try DriveProfile(from: decoder))
        case "library": self = .library(try LibraryProfile(from: decoder))
        case let other:
            throw FieldError(path: [kind], problem: "must be \"drive\" or \"library\", not \"\(other)\"")
        }
    }

    func entry(_ path: String?, _ content: Data) -> ProfileEntry {
        switch self {
        case .drive(let profile):
            ProfileEntry(
                kind: .drive, name: profile.name, description: profile.description, vendor: profile.vendor,
                product: profile.product, revision: profile.revision, path: path, content: content)
        case .library(let profile):
            ProfileEntry(
                kind: .library, name: profile.name, description: profile.description, vendor: profile.vendor,
                product: profile.product, revision: profile.revision, path: path, content: content)
        }
    }
}
