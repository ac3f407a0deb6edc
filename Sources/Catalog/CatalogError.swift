/// Why the catalog refused.
public enum CatalogError: Error, Equatable, Sendable {
    /// The file was written by a version of Carousel with a newer schema; nothing was changed.
    case newerVersion(found: Int, supported: Int)
    /// The file is no SQLite database, or one of another program; nothing was changed.
    case notACatalog
    /// What is in the file contradicts its schema; nothing was changed.
    case damaged(String)
    /// A new catalog would be made, and the caller does not want one, for this reason; nothing was changed.
    case unwanted(String)
    /// The files were removed or replaced while they are open; nothing was changed.
    case displaced
    /// A row that the change needs is not there, or one is in its way; nothing was changed.
    case conflict(String)
    /// The file system has no room for the change; nothing was changed.
    case full(String)
    /// SQLite failed: a failing file system, a damaged file.
    case failed(String)
}

extension CatalogError: CustomStringConvertible {
    /// One clause, without the file's path: the caller knows it.
    public var description: String {
        switch self {
        case .newerVersion(let found, let supported):
            "it has schema version \(found), and this Carousel knows versions up to \(supported)"
        case .notACatalog: "it is not a Carousel catalog"
        case .damaged(let reason): reason
        case .unwanted(let reason): reason
        case .displaced: "its files were removed or replaced while they are open"
        case .conflict(let reason): reason
        case .full(let reason): reason
        case .failed(let reason): reason
        }
    }
}
