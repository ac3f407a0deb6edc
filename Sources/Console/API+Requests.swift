import HTTPTypes
import Hummingbird
import Management
import Resources

// How something is asked for, and what became of it.
extension API {
    private static let prefer = HTTPField.Name("Prefer")
    private static let preferenceApplied = HTTPField.Name("Preference-Applied")
    /// The longest that one can prefer to wait, in seconds.
    private static let longestWait = 3600

    /// The parameters and preferences of a request that changes something.
    static func options(
        of request: Request, _ verb: Verb, _ kind: KindDescription
    ) throws(ManagementError) -> RequestOptions {
        var options = RequestOptions(patience: patience(of: request))
        if verb != .create { options.generations = try EntityTags.expected(by: request) }
        for (key, value) in try parameters(of: request) {
            switch key {
            case "dryRun": options.isDryRun = try FieldType.flag.parsed(String(value), field: "dryRun") == true
            case "open" where verb == .delete && kind.wideningVerbs.contains(.delete):
                options.mayWiden = try FieldType.flag.parsed(String(value), field: "open") == true
            default:
                throw ManagementError(
                    .invalid, "\(verb.rawValue) of \(kind.plural) has no parameter '\(key)'", field: String(key))
            }
        }
        return options
    }

    /// The parameters of a request; refused when one is given twice, for nobody knows which is meant.
    static func parameters(of request: Request) throws(ManagementError) -> [(key: Substring, value: Substring)] {
        let parameters = request.uri.queryParameters.map { (key: $0.key, value: $0.value) }
        var keys: Set<Substring> = []
        for (key, _) in parameters where !keys.insert(key).inserted {
            throw ManagementError(
                .invalid, "the parameter '\(key)' is given twice; give it once", field: String(key))
        }
        return parameters
    }

    /// Refuses parameters where there are none: whoever says `dryRun` must not be misunderstood.
    static func checkHasNoParameters(_ request: Request) throws(ManagementError) {
        guard let (key, _) = request.uri.queryParameters.first else { return }
        throw ManagementError(
            .invalid, "\(request.method.rawValue) \(request.uri.path) has no parameter '\(key)'", field: String(key))
    }

    /// How long the request prefers to wait for a job (RFC 7240 section 4.3); `wait` alone means to its end.
    static func patience(of request: Request) -> Patience {
        guard let prefer, let header = request.headers[prefer] else { return .none }
        for preference in header.split(separator: ",") {
            // Parameters behind a semicolon are none of what is known here; there may be nothing before it.
            let parts = preference.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1)
            func trimmed(_ text: Substring) -> Substring { text.trimmingPrefix { $0 == " " }.prefix { $0 != " " } }
            guard let name = parts.first, trimmed(name).lowercased() == "wait" else { continue }
            guard parts.count == 2 else { return .unlimited }
            // What cannot be understood is not preferred, says the standard.
            let digits = trimmed(parts[1]).filter { $0 != "\"" }
            guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let seconds = Int(digits)
            else { continue }
            return .seconds(min(seconds, longestWait))
        }
        return .none
    }

    /// The answer that says what became of a request; `status` where it is done.
    static func response(
        to outcome: RequestOutcome, _ status: HTTPResponse.Status, _ patience: Patience = .none
    ) throws -> Response {
        var response: Response
        switch outcome {
        case .done(let thing?): response = try Self.response(status, thing)
        case .done(nil): response = Response(status: status)
        case .possible(let thing): response = try Self.response(.ok, thing)
        case .started(let job):
            response = try Self.response(.accepted, job)
            response.headers[.location] = "/v1/\(DaemonJob.description.plural)/\(job["name"]?.text ?? "")"
        }
        if patience != .none, case .done = outcome, let preferenceApplied {
            response.headers[preferenceApplied] = "wait"
        }
        return response
    }
}
