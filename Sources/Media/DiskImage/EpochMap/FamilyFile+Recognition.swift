internal import Bytes
internal import Encryption
public import Platform

extension FamilyFile {
    /// Whether the file at `path` holds a disk with snapshots, damaged or not, of any version. Of an encrypted one its
    /// key file says so.
    public static func isFamily(_ path: String) throws(SystemError) -> Bool {
        guard [.regular, .blockDevice].contains(try FileStatus.of(path).kind) else { return false }
        // A pipe that has come into its place meanwhile would wait.
        return try isFamily(try File.open(path: path, .nonBlocking))
    }

    /// The same of an open file.
    public static func isFamily(_ file: File) throws(SystemError) -> Bool {
        for copy in 0..<EpochFormat.superblockCopies {
            var bytes = [UInt8](repeating: 0, count: 8)
            let offset = EpochFormat.offset(ofUnit: EpochSuperblock.unit(ofCopy: copy))
            let result = bytes.modifyBytes { file.read(into: &$0, offset: offset, mode: .blocking) }
            if case .failed(let code) = result { throw SystemError(code: code, operation: "read", path: file.path) }
            if case .done(8) = result, bytes.rawSpan.loadBE64(at: 0) == EpochFormat.superblockMagic { return true }
        }
        guard let mark = try file.note(.encryption) else { return false }
        return ImageKeyFile.content(ofImage: file.path, mark: mark) == .family
    }
}
