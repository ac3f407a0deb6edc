import Foundation
import Platform
import Profiles
public import Resources

/// The profiles of a daemon: those inside the program, those of its state folder, and those of one more folder, which
/// count most. Any thread.
///
/// The files are read when the daemon starts, when a profile cannot be found or used, and when profiles are listed or
/// added. A device that runs keeps the profile that it was started with.
final class ProfileStore: Sendable {
    /// Where they are; those of a later folder count more.
    let folders: [String]
    private let library: Lock<ProfileLibrary>

    init(folders: [String]) throws(ManagementError) {
        self.folders = folders
        library = Lock(try Self.read(folders))
    }

    private static func read(_ folders: [String]) throws(ManagementError) -> ProfileLibrary {
        do {
            return try ProfileLibrary(folders: folders)
        } catch {
            throw ManagementError(.internal, "a profile inside the program is wrong: \(error)")
        }
    }

    /// The profiles as they were read last.
    var current: ProfileLibrary { library.withLock { $0 } }

    /// Reads the folders again.
    func reload() throws(ManagementError) {
        let profiles = try Self.read(folders)
        library.withLock { $0 = profiles }
    }

    /// Why files of the folders are not used, one sentence each.
    var problems: [String] { current.problems.map(\.sentence) }

    func drive(named name: String) throws(ManagementError) -> DriveProfile {
        try find(name, .drive) { profiles throws(ProfileError) in try profiles.drive(named: name) }
    }

    func library(named name: String) throws(ManagementError) -> LibraryProfile {
        try find(name, .library) { profiles throws(ProfileError) in try profiles.library(named: name) }
    }

    private func find<Profile>(
        _ name: String, _ kind: ProfileEntry.Kind, _ body: (ProfileLibrary) throws(ProfileError) -> Profile
    ) throws(ManagementError) -> Profile {
        if let profile = try? body(current) { return profile }
        try reload()
        do {
            return try body(current)
        } catch {
            let known = kind == .drive ? current.driveNames : current.libraryNames
            throw ManagementError(
                .invalid,
                error.isUnknownName
                    ? "there is no \(kind.rawValue) profile '\(name)'; choose one of: \(known.joined(separator: ", "))"
                    : "\(kind.rawValue) profile '\(name)' cannot be used: \(error.sentence)")
        }
    }
}

/// A profile's file that no daemon has yet.
public enum ProfileFile {
    /// What the file at `path` holds, if it is a profile without a fault.
    public static func check(path: String) throws(ManagementError) -> ProfileSummary {
        do throws(ProfileError) {
            return ProfileSummary(try ProfileLibrary.check(try ProfileLibrary.content(of: path), file: path))
        } catch {
            throw ManagementError(.damaged, error.sentence)
        }
    }

    /// The text of the file at `path`, for `ProfileAddition`.
    public static func text(path: String) throws(ManagementError) -> String {
        do throws(ProfileError) {
            return String(decoding: try ProfileLibrary.content(of: path), as: UTF8.self)
        } catch {
            throw ManagementError(.damaged, error.sentence)
        }
    }
}
