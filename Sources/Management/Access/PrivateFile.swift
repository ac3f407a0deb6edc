import Foundation
import Resources

/// Files of the state folder that nobody but the daemon's user may read.
enum PrivateFile {
    /// Refuses a file at `path` that others may read, and what is no file.
    ///
    /// - Parameters:
    ///   - content: What is in it, for the sentence: `CHAP secrets`.
    ///   - renewal: What to do when others may have read it: `set new secrets`.
    static func check(_ path: String, content: String, renewal: String) throws(ManagementError) {
        // Of the name itself: a symbolic link could point where others write.
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
            attributes[.type] as? FileAttributeType == .typeRegular,
            let mode = attributes[.posixPermissions] as? NSNumber
        else { throw ManagementError(.damaged, "\(path) must be a regular file; put the \(content) back there") }
        guard mode.intValue & 0o077 == 0 else {
            let text = String(mode.intValue & 0o777, radix: 8)
            throw ManagementError(
                .damaged,
                "others may read the \(content) in \(path), which has mode \(text); "
                    + "run 'chmod 600 \(path)' and \(renewal)")
        }
    }
}
