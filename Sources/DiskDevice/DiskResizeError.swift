public import Media

/// Why a disk keeps its size.
public enum DiskResizeError: Error, Equatable, CustomStringConvertible {
    /// The new size is below the present one.
    case smaller(capacity: Int64)
    /// The image could not be resized.
    case image(DiskImageError)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .smaller(let capacity): "a disk cannot become smaller than it is (\(capacity) bytes)"
        case .image(let error): error.description
        }
    }
}
