/// Why a profile cannot be used: one sentence that names the file, the field and what is wrong with it.
public struct ProfileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file's name, or the profile's when it was looked up.
    public let file: String
    /// The path of the field, such as `densities[0].code`; nil when it is about the whole file.
    public let field: String?
    /// What is wrong, as the end of a sentence.
    public let problem: String

    /// Whether there is no profile of the name that was looked up.
    public let isUnknownName: Bool

    init(file: String, field: String? = nil, _ problem: String, isUnknownName: Bool = false) {
        self.isUnknownName = isUnknownName
        self.file = file
        self.field = field
        self.problem = problem
    }

    /// `FILE: FIELD PROBLEM`, as a part of another sentence.
    public var sentence: String {
        guard let field, !field.isEmpty else { return "\(file): \(problem)" }
        return "\(file): \(field) \(problem)"
    }

    /// `FILE: FIELD PROBLEM.`
    public var description: String { sentence + "." }
}
