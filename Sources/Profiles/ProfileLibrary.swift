internal import Foundation

/// All profiles: those inside the program, and those in the user's folder.
///
/// The files are read when the library is made; nothing is read later.
public struct ProfileLibrary: Sendable {
    /// The most bytes of a profile file.
    public static let maximumFileLength = 1 << 20

    private var drives: [String: DriveProfile] = [:]
    private var libraries: [String: LibraryProfile] = [:]

    /// The profiles inside the program, and those of the files `*.json` in `folder` if it exists. A file of the folder
    /// replaces a profile of the same name inside the program.
    public init(folder: String? = nil) throws(ProfileError) {
        for (file, content) in BuiltInProfiles.all { try add(Data(content), file: file) }
        guard let folder else { return }
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        for file in files.sorted() where file.hasSuffix(".json") {
            let path = folder + "/" + file
            let content: Data
            do {
                content = try Data(contentsOf: URL(fileURLWithPath: path))
            } catch {
                throw ProfileError(file: path, "cannot be read")
            }
            try add(content, file: path)
        }
    }

    public func drive(named name: String) throws(ProfileError) -> DriveProfile {
        guard let profile = drives[name] else { throw unknown(name, kind: "drive", known: driveNames) }
        return profile
    }

    public func library(named name: String) throws(ProfileError) -> LibraryProfile {
        guard let profile = libraries[name] else { throw unknown(name, kind: "library", known: libraryNames) }
        return profile
    }

    /// The names of all profiles, sorted.
    public var names: [String] { (driveNames + libraryNames).sorted() }
    /// The names of the drive profiles, sorted.
    public var driveNames: [String] { drives.keys.sorted() }
    /// The names of the library profiles, sorted.
    public var libraryNames: [String] { libraries.keys.sorted() }

    private func unknown(_ name: String, kind: String, known: [String]) -> ProfileError {
        ProfileError(file: name, "is not the name of a \(kind) profile; there are: \(known.joined(separator: ", "))")
    }

    mutating func add(_ content: Data, file: String) throws(ProfileError) {
        guard content.count <= Self.maximumFileLength else {
            throw ProfileError(file: file, "is longer than \(Self.maximumFileLength) bytes")
        }
        do {
            switch try JSONDecoder().decode(AnyProfile.self, from: content) {
            case .drive(let profile): drives[profile.name] = profile
            case .library(let profile): libraries[profile.name] = profile
            }
        } catch let error as FieldError {
            throw ProfileError(file: file, field: error.field, error.problem)
        } catch let error as DecodingError {
            throw Self.profileError(error, file: file)
        } catch {
            throw ProfileError(file: file, "cannot be decoded")
        }
    }

    private static func profileError(_ error: DecodingError, file: String) -> ProfileError {
        switch error {
        case .typeMismatch(let type, let context):
            ProfileError(file: file, field: FieldError.text(context.codingPath), "must be \(Self.describe(type))")
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
}
