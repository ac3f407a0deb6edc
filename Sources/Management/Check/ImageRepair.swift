import Media
public import Resources

/// What a repair of an image of several disks has found and done: a sentence each, without a full stop.
public struct ImageRepair: Sendable {
    /// What was wrong, and is not any more.
    public var mended: [String] = []
    /// What is wrong still.
    public var unmended: [String] = []

    public init() {}

    init(_ report: FamilyRepairReport) {
        mended = report.mended
        unmended = report.unmended
    }
}

extension LocalDevices {
    public func repair(image path: String) throws(ManagementError) -> ImageRepair {
        let file: FamilyFile
        do {
            file = try families.acquire(path) { () throws(ManagementError) in try imageKeys.key(ofImage: path) }
        } catch DiskImageError.family(_, .damaged) {
            return try repairUnopened(path)
        } catch {
            throw Self.refusal(error, "image \(path)")
        }
        defer { families.release(path) }
        do throws(FamilyError) {
            return ImageRepair(try file.repair())
        } catch {
            throw Self.refusal(error, "image \(path)")
        }
    }

    /// What cannot be opened, nobody has open.
    private func repairUnopened(_ path: String) throws(ManagementError) -> ImageRepair {
        let key = try imageKeys.key(ofImage: path)
        do throws(DiskImageError) {
            var repair = ImageRepair(try FamilyFile.repair(path: path, userKey: key))
            if repair.unmended.isEmpty, !repair.mended.isEmpty {
                repair.mended.append("the next start of the daemon opens it again")
            }
            return repair
        } catch {
            throw Self.refusal(error, "image \(path)")
        }
    }
}
