import HTTPTypes
import Management
import Resources

// What comes from no table of a kind.
extension OpenAPI {
    /// A method at a path.
    struct Other: Sendable {
        /// In lower case.
        let method: String
        let path: String
        let identifier: String
        let summary: String
        var body: JSONValue?
        /// The status of an answer that is done.
        var status = "200"
        /// Whether a job may go on with it.
        var isJob = false
        var contentType = "application/json"
    }

    /// All that the router has beside the kinds.
    static let others: [Other] = [
        Other(method: "get", path: "/v1/status", identifier: "showStatus", summary: "The state of the daemon."),
        Other(
            method: "get", path: "/v1/openapi.json", identifier: "showDescription",
            summary: "This description of the API."),
        Other(
            method: "get", path: "/v1/statistics", identifier: "showStatistics",
            summary: "What devices, sessions, targets and reactors have counted."),
        Other(
            method: "get", path: "/metrics", identifier: "showMetrics",
            summary: "The same in the text format of Prometheus.", contentType: "text/plain"),
        Other(method: "get", path: "/v1/profiles", identifier: "listProfiles", summary: "The profiles that are known."),
        Other(
            method: "post", path: "/v1/profiles", identifier: "addProfile",
            summary: "Adds a profile to the folder of profiles.", body: ProfileAddition.descriptions.schema,
            status: "201"),
        Other(
            method: "get", path: "/v1/profiles/{name}", identifier: "showProfile", summary: "Shows a profile."),
        Other(
            method: "get", path: "/v1/check", identifier: "showCheck", summary: "What the last check has found."),
        Other(
            method: "post", path: "/v1/check", identifier: "check",
            summary: "Looks at the catalog and at media; mends indexes, and images of named disks, if told to.",
            body: CheckRequest.descriptions.schema, isJob: true),
        Other(
            method: "post", path: "/v1/adopt/disk", identifier: "adoptDisk",
            summary: "Makes a disk of an image that the catalog does not know.", body: DiskAdoption.descriptions.schema,
            status: "201"),
        Other(
            method: "post", path: "/v1/adopt/library", identifier: "adoptLibrary",
            summary: "Makes a library of a folder of cartridges that the catalog does not know.",
            body: LibraryAdoption.descriptions.schema, status: "201"),
        Other(
            method: "post", path: "/v1/libraries/{name}/adopt", identifier: "adoptCartridge",
            summary: "Takes a cartridge up into a library that the catalog does not know.",
            body: CartridgeAdoption.descriptions.schema, status: "201"),
        Other(
            method: "get", path: "/v1/configuration", identifier: "exportConfiguration",
            summary: "Everything that a configuration describes, without secrets."),
        Other(
            method: "post", path: "/v1/configuration/compare", identifier: "compareConfiguration",
            summary: "What 'apply' would change.", body: configuration),
        Other(
            method: "post", path: "/v1/configuration/apply", identifier: "applyConfiguration",
            summary: "Makes of everything what a configuration says, or changes nothing.", body: configuration,
            isJob: true),
        Other(
            method: "post", path: "/v1/backup", identifier: "backUp", summary: "Copies all that the daemon keeps.",
            body: BackupRequest.descriptions.schema, isJob: true),
    ]

    /// The fields of a request, and the configuration itself beside them.
    private static var configuration: JSONValue {
        guard case .object(var schema) = ConfigurationRequest.Options.descriptions.schema,
            case .object(var properties)? = schema["properties"]
        else { return [:] }
        properties[ConfigurationRequest.contentName] = [
            "type": "object", "description": "As GET /v1/configuration gives it.",
        ]
        schema["properties"] = .object(properties)
        schema["required"] = [.text(ConfigurationRequest.contentName)]
        return .object(schema)
    }

    static func operation(_ other: Other, _ kinds: [KindDescription]) -> JSONValue {
        let path = other.path.replacing("{name}", with: "x")
        let method: HTTPRequest.Method = other.method == "get" ? .get : .post
        let byPlural = Dictionary(kinds.map { ($0.plural, $0) }, uniquingKeysWith: { first, _ in first })
        let parameters = (other.path.contains("{name}") ? [nameParameter] : []) + (other.isJob ? [prefer] : [])
        return operation(
            other.identifier, Admission.role(for: method, path, byPlural), other.summary, parameters: parameters,
            body: other.body,
            answer: (other.status, other.contentType == "application/json" ? [:] : ["type": "string"]),
            others: other.isJob ? ["202": job] : [:], contentType: other.contentType)
    }
}
