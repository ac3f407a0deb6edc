import Bytes
import Catalog
import Encryption
import Platform
import Resources

import enum Media.ImageKeyFile
import class Media.RawDiskImage

/// Looks at the image of a disk: its length, whether the host marks a loss on it, and whether all that has storage can
/// be read. The disk may be served meanwhile.
enum ImageCheck {
    /// How many bytes are read at a time.
    static let pieceLength = 1 << 20
    /// The most places of an image that are named because they cannot be read; then the check of the image ends.
    static let unreadableLimit = 10

    /// What is wrong with the image of `disk` at `path`. `loss` is what is said of a loss of the disk that runs.
    static func findings(
        of disk: DiskRecord, path: String, loss: String?, _ observer: @Sendable (Int64) -> Bool
    ) -> [Finding] {
        func finding(_ severity: Finding.Severity, _ sentence: String) -> Finding {
            Finding(.disk, disk.name, severity, sentence)
        }
        let file: File
        let length: Int64
        do throws(SystemError) {
            // Opening a pipe would wait.
            guard [.regular, .blockDevice].contains(try FileStatus.of(path).kind) else {
                return [finding(.error, "its image \(path) is neither a regular file nor a block device")]
            }
            file = try File.open(path: path)
            length = try file.size()
        } catch {
            return [
                finding(
                    .error,
                    error.code == Errno.noSuchFile
                        ? "its image \(path) is missing" : "its image \(path) cannot be opened: \(error.reason)")
            ]
        }
        var findings: [Finding] = []
        if disk.node != nil {
            // How long it is, it says itself.
        } else if length < disk.size {
            findings.append(
                finding(.error, "its image \(path) is truncated, with \(length) of \(disk.size) bytes"))
        } else if length > disk.size {
            findings.append(
                length % Int64(disk.blockSize) == 0
                    ? finding(.note, "its image \(path) has grown to \(length) bytes; the next start makes it as large")
                    : finding(.error, "its image \(path) has \(length) bytes, which are not whole blocks"))
        }
        if let (severity, sentence) = protectionProblem(of: disk, path: path) {
            findings.append(finding(severity, sentence))
        }
        if disk.spec.isEncrypted,
            let problem = ImageKeyFile.problem(
                ofImage: path, content: disk.node == nil ? .blocks : .family, blockSize: disk.blockSize)
        {
            findings.append(finding(problem.isUsable ? .note : .error, "\(problem.error)"))
        }
        if let loss {
            findings.append(finding(.error, loss))
        } else if file.notedLoss != nil {
            findings.append(finding(.error, "its image \(path) is marked: written data were lost"))
        }
        return findings + unreadable(file, path, length, observer).map { finding(.error, $0) }
    }

    /// What is wrong with the protection information of `disk`, whose image is at `path`; nil for nothing.
    private static func protectionProblem(of disk: DiskRecord, path: String) -> (Finding.Severity, String)? {
        let file = "its protection information \(RawDiskImage.protectionPath(ofImage: path))"
        let isOwn = RawDiskImage.hasOwnProtection(image: path)
        guard let type = disk.spec.protectionType else {
            return isOwn == true
                ? (
                    .error,
                    "\(file) is there, and the catalog says that there is none: a format operation was broken off; "
                        + "start the daemon again, and format the disk"
                ) : nil
        }
        if isOwn == false { return (.error, "\(file) is another image's, or an older one") }
        do {
            guard let found = try RawDiskImage.protection(ofImage: path) else { return (.error, "\(file) is missing") }
            guard found.type == type, found.blockSize == disk.blockSize else {
                return (.error, "\(file) is of another type or block size than the disk")
            }
            let blocks = UInt64(disk.size) / UInt64(disk.blockSize)
            guard found.blocks >= blocks else {
                return (.error, "\(file) is of \(found.blocks) blocks only, and the disk has \(blocks)")
            }
            // It grows before the image does, and stays longer when the image cannot.
            guard found.blocks == blocks else {
                return (.note, "\(file) is of \(found.blocks) blocks, more than the \(blocks) of the disk")
            }
            return nil
        } catch {
            if case .protection(_, let reason) = error { return (.error, "\(file) \(reason)") }
            return (.error, "\(file) cannot be used: \(error)")
        }
    }

    /// Reads all that has storage; a sentence for each piece that cannot be read.
    private static func unreadable(
        _ file: File, _ path: String, _ length: Int64, _ observer: @Sendable (Int64) -> Bool
    ) -> [String] {
        var sentences: [String] = []
        var buffer = [UInt8](repeating: 0, count: pieceLength)
        var offset: Int64 = 0
        while offset < length {
            guard let start = file.nextAllocated(from: offset), start < length else {
                _ = observer(length - offset)
                break
            }
            guard observer(start - offset) else { break }
            let end = min(start + Int64(pieceLength), length)
            let result = buffer.modifyBytes { file.read(into: &$0, fileOffset: start) }
            if case .failed(let code) = result {
                guard sentences.count < unreadableLimit else {
                    sentences.append("and more of \(path); the rest was not read")
                    break
                }
                let reason = SystemError(code: code, operation: "read", path: path).reason
                sentences.append("bytes \(start) to \(end - 1) of its image \(path) cannot be read: \(reason)")
            }
            guard observer(end - start) else { break }
            offset = end
        }
        return sentences
    }
}
