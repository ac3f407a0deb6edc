import Foundation
import Resources
import Testing

private struct Part: Record {
    var address = ""
    init() {}
    var line: String { "at \(address)" }
    static let fields = [Field<Part>("address", \.address, .text(.any("text")), .required, help: "Where.")]
}

/// A kind with a field of each type.
private struct Sample: Record {
    enum Word: String, FieldWord { case one, two }

    var name = ""
    var size: Int64 = 0
    var count = 3
    var isQuick = false
    var word = Word.one
    var names: [String] = []
    var units: [Int: Int] = [:]
    var wait = 0
    var parts: [Part] = []
    var secret: Secret?
    var groups: [Int]?
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
        Field("units", \.units, .map(.number(0...20), .count(0...9), maximumCount: 2), help: "Units."),
        Field("wait", \.wait, .seconds(1...60), help: "How long."),
        Field("parts", \.parts, .list(Part.type, maximumCount: 2), help: "Parts."),
        Field("secret", \.secret, .secret(2...4), isSecret: true, help: "A secret."),
        Field(
            "groups", \.groups, .list(.count(1...9), maximumCount: 3), change: .always, absence: "all",
            option: "group", help: "Groups."),
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
        #expect(sample.names == ["A1"] && sample.units == [0: 1])
        #expect(sample.loss == LossSummary(since: nil, reason: "r"))
        #expect(Sample.from(sample.json) == sample)
    }

    @Test("secrets, seeds and what is absent are not in answers")
    func encoding() throws {
        let sample = try Sample(["name": "a", "secret": "eHl6", "seed": "y"], of: "a sample")
        #expect(sample.secret == Secret(Array("xyz".utf8)) && sample.seed == "y")
        #expect(!"\(sample)".contains("120"))
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
            (["name": "a", "units": ["0": 10]], "units.0"), (["name": "a", "units": ["21": 1]], "units"),
            (["name": "a", "units": ["x": 1]], "units"), (["name": "a", "wait": 0], "wait"),
            (["name": "a", "secret": "x"], "secret"), (["name": "a", "secret": "eA=="], "secret"),
            (["name": .null], "name"),
            (["name": "a", "parts": [[:]]], "parts.address"),
            (["name": "a", "loss": ["reasons": "r"]], "loss.reasons"),
            (["name": "a", "loss": ["reason": "r", "since": "today"]], "loss.since"),
        ] as [([String: JSONValue], String)])
    func refusals(members: [String: JSONValue], field: String) {
        let error = #expect(throws: ManagementError.self) { try Sample(members, of: "a sample") }
        #expect(error?.code == .invalid && error?.field == field, "\(String(describing: error))")
    }

    @Test(
        "a number that is not whole, or too large, is told what is possible",
        arguments: [
            ("size", 512.5, "size 512.5 is not possible; give a whole number from 512 to 4096"),
            ("size", 1e30, "size 1e+30 is not possible; give a whole number from 512 to 4096"),
            ("count", 1.5, "count 1.5 is not possible; give a whole number from 1 to 9"),
            ("wait", -0.5, "wait -0.5 is not possible; give a whole number from 1 to 60"),
        ])
    func fractions(field: String, number: Double, sentence: String) {
        let error = #expect(throws: ManagementError.self) {
            try Sample(["name": "a", field: .number(number)], of: "a sample")
        }
        #expect(error == ManagementError(.invalid, sentence, field: field))
    }

    @Test("a field that there is not is told all names that there are, also those that the record does not describe")
    func unknown() {
        let error = #expect(throws: ManagementError.self) {
            try LossSummary(["reasons": "r"], of: "a loss", besides: ["content"])
        }
        #expect(error?.message == "a loss has no field 'reasons'; it has content, since, reason")
    }

    @Test("a change keeps to what may be changed")
    func changes() throws {
        let sample = try Sample(["name": "a", "size": 1024], of: "a sample")
        let changed = try sample.changed(["size": 2048, "isQuick": true, "name": "a"], of: "sample 'a'")
        #expect(changed.size == 2048 && changed.isQuick && changed.count == 3)
        let grouped = try changed.changed(["groups": [1], "count": 5], of: "sample 'a'")
        #expect(grouped.groups == [1] && grouped.count == 5)
        #expect(try grouped.changed(["groups": .null, "count": .null, "isQuick": true], of: "sample 'a'") == changed)
        for members: [String: JSONValue] in [
            ["size": 512], ["name": "b"], ["name": .null], ["seed": "s"], ["nothing": 1],
        ] {
            #expect(throws: ManagementError.self) { try sample.changed(members, of: "sample 'a'") }
        }
    }

    @Test("words of a command line become values, and values words")
    func words() throws {
        let fields = Dictionary(Sample.descriptions.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, word, value) in [
            ("size", "1KiB", 1024), ("count", "4", 4), ("isQuick", "yes", true), ("word", "two", "two"),
            ("names", "A1,A2", ["A1", "A2"]), ("wait", "5", 5),
        ] as [(String, String, JSONValue)] {
            #expect(try fields[name]?.type.parsed(word, field: name) == value)
        }
        for (name, word) in [("size", "x"), ("size", "1"), ("count", "ten"), ("isQuick", "perhaps"), ("names", "A1,")] {
            #expect(throws: ManagementError.self) { try fields[name]?.type.parsed(word, field: name) }
        }
        #expect(fields["isQuick"]?.optionName == "quick" && fields["groups"]?.optionName == "group")
        #expect(fields["groups"]?.shown(.null) == "all" && fields["groups"]?.shown([1, 2]) == "1, 2")
        #expect(fields["parts"]?.type.isWritable == false && fields["units"]?.type.isWritable == true)
        #expect(fields["size"]?.type.shown(1024) == "1 KiB")
        #expect(fields["wait"]?.type.shown(5) == "5 s")
        #expect(fields["units"]?.type.shown(["10": 1, "9": 2]) == "9=2, 10=1")
        #expect(fields["parts"]?.type.shown([["address": "a"], ["address": "b"]]) == "at a, at b")
    }

    @Test("things are named by names, by numbers, or not at all")
    func naming() throws {
        #expect(try Naming.number(1...9).checked("7") == "7")
        for text in ["", "0", "10", "x", "-1"] {
            #expect(throws: ManagementError.self) { try Naming.number(1...9).checked(text) }
        }
        #expect(["10", "9"].sorted(by: Naming.number(1...20).precedes) == ["9", "10"])
        #expect(["10", "9"].sorted(by: Naming.name(.portal).precedes) == ["10", "9"])
        #expect(try Naming.single("x").checked("x") == "x" && Naming.single("x").onlyName == "x")
        #expect(throws: ManagementError.self) { try Naming.single("x").checked("y") }
    }

    @Test("OpenAPI knows what is required and that nothing else is taken")
    func schema() {
        let schema = Sample.descriptions.schema
        #expect(schema["required"] == ["name"])
        #expect(schema["additionalProperties"] == false)
        #expect(schema["properties"]?["name"]?["type"] == "string")
        #expect(schema["properties"]?["size"]?["anyOf"]?.elements?[0]["maximum"] == 4096)
        #expect(schema["properties"]?["size"]?["anyOf"]?.elements?[1] == ["type": "null"])
        #expect(Sample.descriptions.schemaOfAnswer["properties"]?["size"]?["maximum"] == 4096)
        #expect(schema["properties"]?["secret"]?["writeOnly"] == true)
        #expect(Sample.descriptions.schemaOfAnswer["properties"]?["seed"] == nil)
        let change = Sample.descriptions.schemaOfChange
        #expect(change["required"] == nil && change["properties"]?["name"] == nil)
        #expect(change["properties"]?["groups"]?["anyOf"]?.elements?.count == 2)
    }

    @Test("JSON keeps whole numbers whole")
    func numbers() throws {
        let text = #"{"a": 9223372036854775807, "b": 1.5, "c": [null, true, "x"], "d": {}}"#
        let value = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        #expect(value == ["a": .integer(.max), "b": .number(1.5), "c": [.null, true, "x"], "d": [:]])
        #expect(try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value)) == value)
    }
}
