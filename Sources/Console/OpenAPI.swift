import Management
import Resources

/// The OpenAPI 3.1 document of the API, from the tables of the kinds.
enum OpenAPI {
    static func document(_ kinds: [KindDescription]) -> JSONValue {
        var paths: [String: JSONValue] = [:]
        var schemas: [String: JSONValue] = ["Problem": problem]
        for kind in kinds {
            let name = typeName(kind.singular)
            schemas[name + "Spec"] = kind.spec.filter { !$0.isSecret }.schemaOfAnswer
            schemas[name + "Status"] = kind.status.schemaOfAnswer
            schemas[name + "Creation"] = kind.spec.schema
            schemas[name] = [
                "type": "object", "required": ["name", "spec", "status"],
                "properties": [
                    "name": ["type": "string"], "spec": reference(name + "Spec"), "status": reference(name + "Status"),
                ],
            ]
            paths["/v1/\(kind.plural)"] = .object(collection(kind))
            paths["/v1/\(kind.plural)/{name}"] = .object(single(kind))
            for action in kind.actions {
                for isOne in [true, false] where action.subject.isAsked(ofOne: isOne) {
                    let path = isOne ? "/{name}" : ""
                    paths["/v1/\(kind.plural)\(path)/actions/\(action.name)"] =
                        .object(perform(kind, action, ofOne: isOne))
                }
            }
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Carousel", "version": .text(Controller.version),
                "description": "The control plane of a Carousel daemon, on a Unix socket in its state folder.",
            ],
            "paths": .object(paths.filter { $0.value != [:] }), "components": ["schemas": .object(schemas)],
        ]
    }

    // MARK: Paths

    private static func collection(_ kind: KindDescription) -> [String: JSONValue] {
        let name = typeName(kind.singular)
        var operations: [String: JSONValue] = [:]
        if kind.verbs.contains(.list) {
            operations["get"] = operation(
                "list\(typeName(kind.plural))", "A page of the \(kind.plural), by name.",
                parameters: [
                    query("after", "The name that the page begins behind.", ["type": "string"]),
                    query("of", "Only parts of this thing.", ["type": "string"]),
                    query(
                        "last", "Only so many of the last ones.",
                        ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Page.maximumLength))]),
                    query(
                        "limit", "How many at most.",
                        ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Page.maximumLength))]),
                ],
                answer: (
                    "200",
                    [
                        "type": "object", "required": ["items"],
                        "properties": [
                            "items": ["type": "array", "items": reference(name)], "next": ["type": "string"],
                        ],
                    ]
                ))
        }
        if kind.verbs.contains(.create) {
            operations["post"] = operation(
                "create\(name)", "Makes \(kind.aSingular).",
                body: [
                    "type": "object", "required": kind.naming.onlyName == nil ? ["name"] : [],
                    "additionalProperties": false,
                    "properties": ["name": ["type": "string"], "spec": reference(name + "Creation")],
                ], answer: ("201", reference(name)))
        }
        return operations
    }

    private static func single(_ kind: KindDescription) -> [String: JSONValue] {
        let name = typeName(kind.singular)
        var operations: [String: JSONValue] = [:]
        if kind.verbs.contains(.show) {
            operations["get"] = operation(
                "show\(name)", "Shows \(kind.aSingular).", parameters: [nameParameter], answer: ("200", reference(name))
            )
        }
        if kind.verbs.contains(.set) {
            var properties: [String: JSONValue] = ["spec": kind.spec.schemaOfChange]
            if kind.wideningVerbs.contains(.set) { properties["open"] = open }
            operations["patch"] = operation(
                "change\(name)", "Changes fields of the spec of \(kind.aSingular); the others stay.",
                parameters: [nameParameter],
                body: ["type": "object", "additionalProperties": false, "properties": .object(properties)],
                answer: ("200", reference(name)))
        }
        if kind.verbs.contains(.delete) {
            operations["delete"] = operation(
                "delete\(name)", "Deletes \(kind.aSingular).",
                parameters: [nameParameter]
                    + (kind.wideningVerbs.contains(.delete) ? [query("open", FieldDescription.openHelp, open)] : []),
                answer: ("204", nil))
        }
        return operations
    }

    private static func perform(
        _ kind: KindDescription, _ action: ActionDescription, ofOne isOne: Bool
    ) -> [String: JSONValue] {
        let words = typeName(action.name)
        let noun = typeName(isOne ? kind.singular : kind.plural)
        return [
            "post": operation(
                words.prefix(1).lowercased() + words.dropFirst() + noun, action.help,
                parameters: isOne ? [nameParameter] : [], body: action.arguments.schema,
                answer: ("200", ["type": "object"]))
        ]
    }

    private static func operation(
        _ identifier: String, _ summary: String, parameters: [JSONValue] = [], body: JSONValue? = nil,
        answer: (status: String, schema: JSONValue?)
    ) -> JSONValue {
        var success: [String: JSONValue] = ["description": "Done."]
        if let schema = answer.schema { success["content"] = ["application/json": ["schema": schema]] }
        var operation: [String: JSONValue] = [
            "operationId": .text(identifier), "summary": .text(summary),
            "responses": .object([
                answer.status: .object(success),
                "default": [
                    "description": "Refused.",
                    "content": ["application/problem+json": ["schema": reference("Problem")]],
                ],
            ]),
        ]
        if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
        if let body { operation["requestBody"] = ["content": ["application/json": ["schema": body]]] }
        return .object(operation)
    }

    // MARK: Parts

    private static let open: JSONValue = ["type": "boolean", "default": false]

    private static func typeName(_ words: String) -> String {
        words.split { $0 == " " || $0 == "-" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    private static func reference(_ name: String) -> JSONValue { ["$ref": .text("#/components/schemas/\(name)")] }

    private static func query(_ name: String, _ description: String, _ schema: JSONValue) -> JSONValue {
        ["name": .text(name), "in": "query", "description": .text(description), "schema": schema]
    }

    private static let nameParameter: JSONValue = [
        "name": "name", "in": "path", "required": true, "schema": ["type": "string"],
    ]

    /// RFC 9457.
    private static let problem: JSONValue = [
        "type": "object", "required": ["type", "title", "status", "detail", "code"],
        "properties": [
            "type": ["type": "string"], "title": ["type": "string"], "status": ["type": "integer"],
            "detail": ["type": "string", "description": "What is wrong, where, and what to do."],
            "code": ["enum": .array(ManagementError.Code.allCases.map { .text($0.rawValue) })],
            "field": ["type": "string", "description": "The field that is wrong."],
        ],
    ]
}
