import Catalog
import Management
import Resources

/// Who asks, and for what that may be.
struct Caller: Sendable {
    /// What is recorded as the actor of events.
    let actor: EventActor
    let role: Role
    /// Refuses when it may not ask for anything any more, for its token is gone or has expired.
    let check: @Sendable () throws(ManagementError) -> Void

    /// The name of the token that it has; nil when it needs none.
    var token: String? { if case .token(let name) = actor { name } else { nil } }

    /// Whose request the present task answers.
    @TaskLocal static var current: Caller?

    /// Refuses fields in the object `members` that need a higher role than the present caller has.
    static func check(_ members: JSONValue?, _ fields: [FieldDescription]) throws(ManagementError) {
        guard case .object(let members)? = members else { return }
        for field in fields where members[field.name] != nil {
            guard let needed = field.role, (current.map { $0.role < needed } ?? true) else { continue }
            throw Self.refusal("give the field '\(field.name)'", needed: needed)
        }
    }

    /// What says that the present caller may not do `deed`.
    static func refusal(_ deed: String, needed: Role) -> ManagementError {
        let own = current.map { "; this is \($0.role.aName)'s" } ?? ""
        return ManagementError(.forbidden, "to \(deed) takes the role of \(needed.aName)\(own)")
    }
}
