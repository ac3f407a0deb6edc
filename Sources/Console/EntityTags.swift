import HTTPTypes
import Hummingbird
import Resources

/// Entity tags (RFC 9110 section 8.8.3) that are generations: `"17"`. They are of what is stored of a thing; what is
/// observed of it, its status, may differ between two answers with the same tag.
enum EntityTags {
    /// The tag of a thing in an answer; nil when it has no generation.
    static func tag(of thing: JSONValue) -> String? {
        thing["generation"].flatMap(Int64.from).map { "\"\($0)\"" }
    }

    /// The generations that `If-Match` lets a change be made of; nil when any will do.
    ///
    /// - Throws: `ManagementError.Code.invalid` when the field is no list of entity tags.
    static func expected(by request: Request) throws(ManagementError) -> Set<Int64>? {
        guard let tags = try tags(request, .ifMatch) else { return nil }
        // Compared strongly: a weak tag is that of no thing here.
        return Set(tags.filter { !$0.isWeak }.compactMap { Int64($0.text) })
    }

    /// Whether `If-None-Match` says that the requester has this state of the thing already.
    ///
    /// - Throws: `ManagementError.Code.invalid` when the field is no list of entity tags.
    static func isKnown(_ thing: JSONValue, by request: Request) throws(ManagementError) -> Bool {
        guard request.headers[.ifNoneMatch] != nil else { return false }
        guard let tags = try tags(request, .ifNoneMatch) else { return true }
        return tags.contains { "\"\($0.text)\"" == tag(of: thing) }
    }

    private struct Tag {
        let text: String
        let isWeak: Bool
    }

    /// The tags in a field of the request; nil when there is no such field, or it is `*`.
    private static func tags(_ request: Request, _ name: HTTPField.Name) throws(ManagementError) -> [Tag]? {
        guard let field = request.headers[name]?.trimmed, field != "*" else { return nil }
        var tags: [Tag] = []
        // What is between quotes may have commas, but those of no thing here do.
        for element in field.split(separator: ",").map({ String($0).trimmed }) where !element.isEmpty {
            let isWeak = element.hasPrefix("W/")
            let quoted = isWeak ? element.dropFirst(2) : element[...]
            guard quoted.count >= 2, quoted.hasPrefix("\""), quoted.hasSuffix("\"") else {
                throw ManagementError(
                    .invalid,
                    "\(name.rawName) is '\(field)', which is no list of entity tags; write \"17\" with the "
                        + "quotation marks, or *")
            }
            tags.append(Tag(text: String(quoted.dropFirst().dropLast()), isWeak: isWeak))
        }
        return tags
    }
}

extension String {
    /// Without spaces and tabs around it.
    fileprivate var trimmed: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
