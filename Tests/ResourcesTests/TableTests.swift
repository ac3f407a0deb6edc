import Foundation
import Resources
import Testing

/// A kind with a field of each type.
private struct Sample: Record {
    enum Word: String, FieldWord { case one, two }

    var name = ""
    var size: Int64 = 0
    var count = 3
    var isQuick = false
    var word = Word.one
    var names: [String] = []
    var units: [String: Int] = [:]
    var secret: String?
    var seed: String?
    var loss: LossSummary?

    init() {}

    static let fields: [Field<Sample>] = [
        Field("name", \.name, .text(.name(of: "sample")), .required, help: "The name."),
        Field("size", \.size, .size(512...4096), change: .growing, help: "The size."),
        Field("count", \.count, .count(1...9), .withDefault(3), change: .always, help: "How many."),
        Field("isQuick", \.isQuick, .flag, change: .always, help: "Whether it is quick."),
        Field("word", \.word, Word.type, help: "The word."),
        Field("names", \.names, .list(.text(.barcode), maximumCount: 2), help: "Names."),
        Field("units", \.units, .map(.any("n"), .count(0...9), maximumCount: 2), help: "Units."),
        Field("secret", \.secret, .text(.any("text")), isSecret: true, help: "A secret."),
        Field("seed", \.seed, .text(.any("text")), change: .onlyAtCreation, help: "A seed."),
        Field("loss", \.loss, LossSummary.type, help: "A loss."),
    ]
}

@Suite("Tables of fields")
struct TableTests {
    @Test("a record is made of an object, with defaults for what is not given")
    func decoding() throws {
        let sample = try Sample(
            ["name": "a", "size": 512, "names": ["A1"], "units": ["0": 1], "word": "two", "loss": ["reason": "r"]],
            of: "a sample")
        #expect(sample.name == "a" && sample.size == 512 && sample.count == 3 && sample.word == .two)
        #expect(sample.names == ["A1"] && sample.units == ["0": 1])
        #expect(sample.loss == LossSummary(since: nil, reason: "r"))
        #expect(Sample.from(sample.json) == sample)
    }

    @Test("secrets, seeds and what is absent are not in answers")
    func encoding() throws {
        let sample = try Sample(["name": "a", "secret": "x", "seed": "y"], of: "a sample")
        #expect(sample.secret == "x" && sample.seed == "y")
        guard case .object(let members) = sample.json else { throw ManagementError(.internal, "no object") }
        #expect(members["secret"] == nil && members["seed"] == nil && members["loss"] == nil)
    }

    @Test(
        "what a field cannot be is refused with its name",
        arguments: [
            (["nam": "a"], "nam"), ([:], "name"), (["name": 1], "name"), (["name": "A"], "name"),
            (["name": "a", "size": 1], "size"), (["name": "a", "size": 4097], "size"),
            (["name": "a", "size": .integer(.min)], "size"), (["name": "a", "size": .number(512.5)], "size"),
            (["name": "a", "size": "512"], "size"), (["name": "a", "size": true], "size"),
            (["name": "a", "count": 0], "count"), (["name": "a", "isQuick": 1], "isQuick"),
            (["name": "a", "word": "three"], "word"), (["name": "a", "names": "A1"], "names"),
            (["name": "a", "names": ["A1", "A2", "A3"]], "names"), (["name": "a", "names": ["a"]], "names"),
            (["name": "a", "units": ["0": 10]], "units.0"), (["name": "a", "loss": ["reasons": "r"]], "loss.reasons"),
            (["name": "a", "loss": ["reason": "r", "since": "today"]], "loss.since"),
        ] as [([String: JSONValue], String)])
    func refusals(members: [String: JSONValue], field: String) {
        let error = #expect(throws: ManagementError.self) { try Sample(members, of: "a sample") }
        #expect(error?.code == .invalid && error?.field == field, "\(String(describing: error))")
    }

    @Test("a change keeps to what may be changed")
    func changes() throws {
        let sample = try Sample(["name": "a", "size": 1024], of: "a sample")
        let changed = try sample.changed(["size": 2048, "isQuick": true, "name": "a"], of: "sample 'a'")
        #expect(changed.size == 2048 && changed.isQuick && changed.count == 3)
        for members: [String: JSONValue] in [["size": 512], ["name": "b"], ["seed": "s"], ["nothing": 1]] {
            #expect(throws: ManagementError.self) { try sample.changed(members, of: "sample 'a'") }
        }
    }

    @Test("words of a command line become values, and values words")
    func words() throws {
        let fields = Dictionary(Sample.descriptions.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, word, value) in [
            ("size", "1KiB", 1024), ("count", "4", 4), ("isQuick", "yes", true), ("word", "two", "two"),
            ("names", "A1,A2", ["A1", "A2"]),
        ] as [(String, String, JSONValue)] {
            #expect(try fields[name]?.type.parsed(word, field: name) == value)
        }
        for (name, word) in [("size", "x"), ("size", "1"), ("count", "ten"), ("isQuick", "perhaps"), ("names", "A1,")] {
            #expect(throws: ManagementError.self) { try fields[name]?.type.parsed(word, field: name) }
        }
        #expect(fields["isQuick"]?.optionName == "is-quick")
        #expect(fields["size"]?.type.shown(1024) == "1 KiB")
    }

    @Test("OpenAPI knows what is required and that nothing else is taken")
    func schema() {
        let schema = Sample.descriptions.schema
        #expect(schema["required"] == ["name"])
        #expect(schema["additionalProperties"] == false)
        #expect(schema["properties"]?["size"]?["maximum"] == 4096)
        #expect(schema["properties"]?["secret"]?["writeOnly"] == true)
        #expect(Sample.descriptions.schemaOfAnswer["properties"]?["seed"] == nil)
    }

    @Test("JSON keeps whole numbers whole")
    func numbers() throws {
        let text = #"{"a": 9223372036854775807, "b": 1.5, "c": [null, true, "x"], "d": {}}"#
        let value = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        #expect(value == ["a": .integer(.max), "b": .number(1.5), "c": [.null, true, "x"], "d": [:]])
        #expect(try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value)) == value)
    }
}
