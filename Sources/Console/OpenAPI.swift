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
            var properties: [String: JSONValue] = [
                "name": ["type": "string"], "spec": reference(name + "Spec"), "status": reference(name + "Status"),
            ]
            if kind.hasGenerations { properties["generation"] = generation }
            schemas[name] = [
                "type": "object", "required": ["name", "spec", "status"], "properties": .object(properties),
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
        for route in others {
            let members: [String: JSONValue] =
                if case .object(let members)? = paths[route.path] { members } else { [:] }
            paths[route.path] = .object(members.merging([route.method: operation(route, kinds)]) { first, _ in first })
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Carousel", "version": .text(Controller.version),
                "description": """
                The control plane of a Carousel daemon: on a Unix socket in its state folder, and encrypted on a \
                network where it was told to. The role that an operation or a field needs is its x-role.
                """,
            ],
            "paths": .object(paths.filter { $0.value != [:] }),
            // Through the Unix socket, the user that has connected will do.
            "security": [[:], ["token": []]],
            "components": [
                "schemas": .object(schemas), "securitySchemes": ["token": ["type": "http", "scheme": "bearer"]],
            ],
        ]
    }

    // MARK: Paths

    private static func collection(_ kind: KindDescription) -> [String: JSONValue] {
        let name = typeName(kind.singular)
        var operations: [String: JSONValue] = [:]
        if kind.verbs.contains(.list) {
            operations["get"] = operation(
                "list\(typeName(kind.plural))", kind.role(for: .list), "A page of the \(kind.plural), by name.",
                parameters: [
                    query("after", "The name that the page begins behind.", ["type": "string"]),
                    query("of", "Only parts of this thing.", ["type": "string"]),
                    query(
                        "last", "Only so many of the last ones.",
                        ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Page.maximumLength))]),
                    query(
                        "limit", "How many at most.",
                        ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Page.maximumLength))]),
                ] + filters(kind),
                answer: (
                    "200",
                    [
                        "type": "object", "required": ["items"],
                        "properties": [
                            "items": ["type": "array", "items": reference(name)], "next": ["type": "string"],
                        ],
                    ]
                ), isStream: kind.isFollowed)
        }
        if kind.verbs.contains(.create) {
            operations["post"] = operation(
                "create\(name)", kind.role(for: .create), "Makes \(kind.aSingular).",
                parameters: [dryRun] + (kind.jobVerbs.contains(.create) ? [prefer] : []),
                body: [
                    "type": "object", "required": kind.naming.onlyName == nil ? ["name"] : [],
                    "additionalProperties": false,
                    "properties": ["name": ["type": "string"], "spec": reference(name + "Creation")],
                ], answer: ("201", reference(name)), isTagged: kind.hasGenerations,
                others: others(
                    kind, .create,
                    [
                        "type": "object", "required": ["name", "spec"],
                        "properties": ["name": ["type": "string"], "spec": reference(name + "Spec")],
                    ]))
        }
        return operations
    }

    private static func single(_ kind: KindDescription) -> [String: JSONValue] {
        let name = typeName(kind.singular)
        var operations: [String: JSONValue] = [:]
        if kind.verbs.contains(.show) {
            operations["get"] = operation(
                "show\(name)", kind.role(for: .show), "Shows \(kind.aSingular).",
                parameters: [nameParameter] + (kind.hasGenerations ? [ifNoneMatch] : []),
                answer: ("200", reference(name)), isTagged: kind.hasGenerations)
        }
        if kind.verbs.contains(.set) {
            var properties: [String: JSONValue] = ["spec": kind.spec.schemaOfChange]
            if kind.wideningVerbs.contains(.set) { properties["open"] = open }
            operations["patch"] = operation(
                "change\(name)", kind.role(for: .set),
                "Changes fields of the spec of \(kind.aSingular); the others stay.",
                parameters: [nameParameter, dryRun] + (kind.hasGenerations ? [ifMatch] : []),
                body: ["type": "object", "additionalProperties": false, "properties": .object(properties)],
                answer: ("200", reference(name)), isTagged: kind.hasGenerations)
        }
        if kind.verbs.contains(.delete) {
            operations["delete"] = operation(
                "delete\(name)", kind.role(for: .delete), "Deletes \(kind.aSingular).",
                parameters: [nameParameter, dryRun] + (kind.hasGenerations ? [ifMatch] : [])
                    + (kind.jobVerbs.contains(.delete) ? [prefer] : [])
                    + (kind.wideningVerbs.contains(.delete) ? [query("open", FieldDescription.openHelp, open)] : []),
                answer: ("204", nil), others: others(kind, .delete, reference(name)))
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
                words.prefix(1).lowercased() + words.dropFirst() + noun, kind.role(for: action), action.help,
                parameters: isOne ? [nameParameter] + (kind.hasGenerations ? [ifMatch] : []) : [],
                body: action.arguments.schema,
                answer: ("200", ["type": "object"]))
        ]
    }

    static func operation(
        _ identifier: String, _ role: Role, _ summary: String, parameters: [JSONValue] = [], body: JSONValue? = nil,
        answer: (status: String, schema: JSONValue?), isTagged: Bool = false, others: [String: JSONValue] = [:],
        isStream: Bool = false, contentType: String = "application/json"
    ) -> JSONValue {
        var success: [String: JSONValue] = ["description": "Done."]
        if let schema = answer.schema {
            var content: [String: JSONValue] = [contentType: ["schema": schema]]
            if isStream { content["text/event-stream"] = ["schema": ["type": "string"]] }
            success["content"] = .object(content)
        }
        if isTagged { success["headers"] = ["ETag": entityTag] }
        let refusal: JSONValue = ["application/problem+json": ["schema": reference("Problem")]]
        var responses: [String: JSONValue] = [
            answer.status: .object(success), "default": ["description": "Refused.", "content": refusal],
        ]
        if parameters.contains(ifMatch) {
            responses["412"] = ["description": "The thing has another generation.", "content": refusal]
        }
        if parameters.contains(ifNoneMatch) {
            responses["304"] = ["description": "The thing has that generation.", "headers": ["ETag": entityTag]]
        }
        var operation: [String: JSONValue] = [
            "operationId": .text(identifier), "summary": .text(summary), "x-role": role.json,
            "responses": .object(responses.merging(others) { first, _ in first }),
        ]
        if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
        if let body {
            let isRequired = body["required"]?.elements?.isEmpty == false
            operation["requestBody"] = [
                "required": .bool(isRequired), "content": ["application/json": ["schema": body]],
            ]
        }
        return .object(operation)
    }

    /// The answers of a verb besides the usual one: to a dry run, and where it is a job.
    private static func others(
        _ kind: KindDescription, _ verb: Verb, _ possible: JSONValue
    ) -> [String: JSONValue] {
        var others: [String: JSONValue] = [
            "200": [
                "description": "It was a dry run, and would be done.",
                "content": ["application/json": ["schema": possible]],
            ]
        ]
        if kind.jobVerbs.contains(verb) {
            others["202"] = job
        }
        return others
    }

    /// The answer where a job goes on with what was asked for.
    static var job: JSONValue {
        [
            "description": "This job goes on with it.",
            "headers": ["Location": ["description": "The job.", "schema": ["type": "string"]]],
            "content": ["application/json": ["schema": reference(typeName(DaemonJob.description.singular))]],
        ]
    }

    private static func filters(_ kind: KindDescription) -> [JSONValue] {
        let follow: [JSONValue] =
            kind.isFollowed
            ? [
                query(
                    "follow", "Server-sent events: those behind 'after', then what comes.", ["type": "boolean"]),
                [
                    "name": "Last-Event-ID", "in": "header",
                    "description": "Where to go on, before 'after'.", "schema": ["type": "string"],
                ],
            ] : []
        let space: [JSONValue] =
            kind.hasSpace
            ? [
                query(
                    "space", "Whether to wait until it is known how much space they take, for some seconds at most.",
                    ["type": "boolean"])
            ] : []
        return kind.filters.map { name in
            query(name, "Only those with this \(name).", ["type": "string"])
        } + follow + space
    }

    // MARK: Parts

    private static let dryRun = query(
        "dryRun", "Whether to check everything and change nothing.", ["type": "boolean", "default": false])

    static let prefer: JSONValue = [
        "name": "Prefer", "in": "header", "schema": ["type": "string"],
        "description": "RFC 7240: 'wait' has the answer wait for the end of the job, 'wait=N' for N seconds.",
    ]

    private static let open: JSONValue = ["type": "boolean", "default": false]

    static func typeName(_ words: String) -> String {
        words.split { $0 == " " || $0 == "-" }.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    static func reference(_ name: String) -> JSONValue { ["$ref": .text("#/components/schemas/\(name)")] }

    static func query(_ name: String, _ description: String, _ schema: JSONValue) -> JSONValue {
        ["name": .text(name), "in": "query", "description": .text(description), "schema": schema]
    }

    private static let generation: JSONValue = [
        "type": "integer",
        "description": "Which state of what is stored of the thing this is: each change gives it a higher one.",
    ]

    private static let entityTag: JSONValue = [
        "description": "The generation between quotation marks. The status may change without it.",
        "schema": ["type": "string"],
    ]

    /// RFC 9110 section 13.1.1.
    private static let ifMatch: JSONValue = [
        "name": "If-Match", "in": "header",
        "description": "The ETags one of which the thing is to have; it is not changed otherwise.",
        "schema": ["type": "string"],
    ]

    /// RFC 9110 section 13.1.2.
    private static let ifNoneMatch: JSONValue = [
        "name": "If-None-Match", "in": "header",
        "description": "The ETags with which the requester has the thing already.", "schema": ["type": "string"],
    ]

    static let nameParameter: JSONValue = [
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
            "generation": [
                "type": "integer", "description": "The generation that the thing has, where another was expected.",
            ],
        ],
    ]
}
