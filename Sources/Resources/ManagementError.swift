/// Why the control plane refused or failed, in one sentence for a person.
public struct ManagementError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of refusal it is; the API and the exit codes of the command line follow from it.
    public enum Code: String, Codable, Sendable, CaseIterable {
        /// The request makes no sense: a bad name, size, barcode, element or number.
        case invalid
        /// What it names does not exist.
        case notFound
        /// It cannot be done as things stand: the name is taken, the slot is full.
        case conflict
        /// It was changed since the requester has looked at it.
        case outdated
        /// Somebody uses what it would change: an initiator is logged in.
        case inUse
        /// An image, a cartridge or the catalog is missing, too short or of another version.
        case damaged
        /// The system refused: no space, no permission, the port is taken.
        case system
        /// Who asks has not shown who that is.
        case unauthenticated
        /// Who asks may not do that.
        case forbidden
        /// A defect of Carousel.
        case `internal`
    }

    /// What kind of refusal it is.
    public let code: Code
    /// What is wrong, where, and what to do; without a full stop.
    public let message: String
    /// The field of the request that is wrong, with those that it is in before it: `spec.size`; nil when it is none, or
    /// not one alone.
    public let field: String?
    /// The generation that the thing has now, where another was expected.
    public let generation: Int64?

    public init(_ code: Code, _ message: String, field: String? = nil, generation: Int64? = nil) {
        self.code = code
        self.message = message
        self.field = field
        self.generation = generation
    }

    /// The same about the field `name`, if it is about none yet.
    public func about(_ name: String) -> ManagementError {
        ManagementError(code, message, field: field ?? name, generation: generation)
    }

    /// The sentence.
    public var description: String { message }
}
